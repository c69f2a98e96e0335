//! What users and devices are, or were, called.
//!
//! Live ones have their names in the state. Those that were removed keep the name they came with, so that the log can
//! still say who did something. Equal on every device that has the same events and keys.

use std::collections::{BTreeMap, BTreeSet};

use mesh_ledger::event::attributes::{Attributes, Opened};
use mesh_ledger::event::{Act, Event};
use mesh_ledger::ids::{DeviceId, UserId};
use mesh_ledger::past::Reading;
use mesh_ledger::state::State;

/// See the module.
pub struct Names {
    devices: BTreeMap<DeviceId, (UserId, String)>,
    users: BTreeMap<UserId, String>,
}

impl Names {
    /// Reads the names out of a network.
    pub fn of(reading: Reading<'_>) -> Self {
        let Reading {
            graph,
            opened,
            fold,
            ..
        } = reading;
        let mut names = Self {
            devices: BTreeMap::new(),
            users: BTreeMap::new(),
        };
        for idx in &fold.order {
            let counts = fold
                .verdicts
                .get(idx.0 as usize)
                .is_some_and(mesh_ledger::verdict::Verdict::counts);
            if !graph.kind(*idx).certifies() {
                continue;
            }
            let opened = opened.of(graph, *idx);
            if let Some((device, user, host)) = arrival(&graph.event(*idx), &opened) {
                let known = names.devices.contains_key(&device);
                // A void admission names somebody only as long as no better one does.
                if counts || !known {
                    names.devices.insert(device, (user, host.clone()));
                }
                if counts || !names.users.contains_key(&user) {
                    names.users.entry(user).or_insert(host);
                }
            }
        }
        names.overlay(&fold.state);
        names
    }

    fn overlay(&mut self, state: &State) {
        for device in state.devices.values() {
            self.devices
                .insert(device.id, (device.user, device.host.to_string()));
        }
        for member in state.members.values() {
            self.users.insert(member.user, member.name.to_string());
        }
    }

    /// A device's name, or the start of its key.
    pub fn device(&self, device: &DeviceId) -> String {
        self.devices
            .get(device)
            .map_or_else(|| device.short(), |(_, name)| name.clone())
    }

    /// A user's name, or the start of its key.
    pub fn user(&self, user: &UserId) -> String {
        self.users
            .get(user)
            .cloned()
            .unwrap_or_else(|| user.short())
    }

    /// Whose device it is, as far as was ever said.
    pub fn user_of(&self, device: &DeviceId) -> Option<UserId> {
        self.devices.get(device).map(|(user, _)| *user)
    }

    /// Every name there is or was.
    pub fn all(&self) -> Vec<String> {
        let devices = self.devices.values().map(|(_, name)| name);
        let names: BTreeSet<&String> = self.users.values().chain(devices).collect();
        names.into_iter().cloned().collect()
    }

    /// The users and devices that are or were called so, or whose key begins so.
    pub fn find(&self, text: &str) -> Vec<(UserId, Option<DeviceId>)> {
        let users = self
            .users
            .iter()
            .filter(|(user, name)| name.as_str() == text || is_prefix(text, &user.to_string()));
        let users = users.map(|(user, _)| (*user, None));
        let devices = self.devices.iter();
        let devices = devices.filter(|(device, (_, name))| {
            name.as_str() == text || is_prefix(text, &device.to_string())
        });
        users
            .chain(devices.map(|(device, (user, _))| (*user, Some(*device))))
            .collect()
    }
}

/// Whether `text` is long enough a start of `id` to name it.
pub fn is_prefix(text: &str, id: &str) -> bool {
    text.len() >= 4 && text.is_ascii() && id.starts_with(&text.to_ascii_lowercase())
}

fn arrival(event: &Event, opened: &Opened) -> Option<(DeviceId, UserId, String)> {
    let Opened::Open(attributes) = opened else {
        return None;
    };
    match (event.act(), attributes) {
        (Act::Genesis(act), Attributes::Founding(a)) => {
            Some((act.device, act.owner, a.joining.host.to_string()))
        }
        (Act::Admit(act), Attributes::Joining(a)) => {
            Some((act.device, act.user, a.host.to_string()))
        }
        (Act::DeviceAdd(act), Attributes::Joining(a)) => {
            Some((act.device, act.user, a.host.to_string()))
        }
        _ => None,
    }
}

//! `mesh member rename`, `set-ip` and `tag`; `mesh get`, `set` and `unset`.

use std::net::Ipv4Addr;

use mesh_control::call::{MemberRename, MemberSetAddress, MemberTag, SettingWrite};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{Consequences, SettingView};
use mesh_core::settings::Setting;
use mesh_ledger::event::Act;
use mesh_ledger::event::attributes::{Attributes, MAX_WRITES, Write};
use mesh_ledger::ids::{DeviceId, NetworkId, UserId};
use mesh_ledger::state::{Device, State};
use mesh_ledger::text::Label;

use super::members::note;
use super::{Signed, event_ref, label};
use crate::node::{Net, Node};

/// What a person may mean by a name.
enum Named {
    User(UserId),
    Device(DeviceId),
}

impl Node {
    pub(super) fn member_rename(&mut self, call: &MemberRename) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let id = net.id;
        let new = label(&call.new)?;
        let state = net.state();
        let (name, writes) = match self.named(net, &call.name)? {
            Named::User(user) => {
                let Some(member) = state.members.get(&user) else {
                    return Err(self.no_member(net, &call.name));
                };
                free(state, &new, user)?;
                let mut writes = Vec::new();
                if member.name != new {
                    writes.push(Write::Name {
                        user,
                        name: new.clone(),
                    });
                }
                // The name that people type is the device's too where there is one that is called so.
                let devices = member.devices.iter().filter_map(|id| state.devices.get(id));
                if let [device] = devices.collect::<Vec<&Device>>()[..]
                    && device.host == member.name
                {
                    writes.push(Write::Host {
                        device: device.id,
                        host: new.clone(),
                    });
                }
                (member.name.to_string(), writes)
            }
            Named::Device(device) => {
                let Some(device) = state.devices.get(&device) else {
                    return Err(self.no_member(net, &call.name));
                };
                free(state, &new, device.user)?;
                if let Some(other) = state
                    .host(new.as_str())
                    .filter(|other| other.id != device.id)
                {
                    return Err(taken(&new, &format!("the device {}", other.host)));
                }
                let write = Write::Host {
                    device: device.id,
                    host: new.clone(),
                };
                let writes = (device.host != new).then_some(write);
                (
                    format!("{}.{}", device.host, net.name()),
                    writes.into_iter().collect(),
                )
            }
        };
        if writes.is_empty() {
            let error = format!("{name} is called {new} already");
            return Err(Error::new(Code::Conflict, error).hint("mesh member ls"));
        }
        self.registers(id, name, writes, call.wait_ms)
    }

    pub(super) fn member_set_address(&mut self, call: &MemberSetAddress) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let id = net.id;
        let Some(device) = self.find_device(net, &call.name) else {
            return Err(self.no_member(net, &call.name));
        };
        let state = net.state();
        let address: Ipv4Addr = call.address.parse().map_err(|_| {
            let shown: String = call.address.chars().take(60).collect();
            Error::new(Code::Usage, format!("{shown:?} is no IPv4 address"))
        })?;
        if let Some(subnet) = state
            .subnet
            .filter(|subnet| subnet.index(address).is_none())
        {
            let error = format!("{address} is no address for a host in {subnet}");
            return Err(Error::new(Code::Usage, error).hint("mesh networks"));
        }
        let name = state
            .devices
            .get(&device)
            .map_or_else(|| device.short(), |device| device.host.to_string());
        let mut devices = state.devices.values();
        if let Some(holder) = devices.find(|device| device.v4 == Some(address)) {
            let error = if holder.id == device {
                format!("{name} has the address {address} already")
            } else {
                let owner = state.members.get(&holder.user);
                let owner = owner.map_or_else(|| holder.user.short(), |m| m.name.to_string());
                let host = &holder.host;
                let of = if *host.as_str() == *owner {
                    String::new()
                } else {
                    format!(", a device of {owner}")
                };
                format!("{address} is the address of {host}{of}")
            };
            return Err(Error::new(Code::Conflict, error).hint("mesh member ls"));
        }
        let write = Write::Address { device, address };
        self.registers(id, name, vec![write], call.wait_ms)
    }

    pub(super) fn member_tag(&mut self, call: &MemberTag) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let id = net.id;
        let user = self.find_user(net, &call.name)?;
        let Some(member) = net.state().members.get(&user) else {
            return Err(self.no_member(net, &call.name));
        };
        let name = member.name.to_string();
        let mut writes = Vec::new();
        for (tags, set) in [(&call.add, true), (&call.remove, false)] {
            for tag in tags {
                let tag = label(tag.strip_prefix("tag:").unwrap_or(tag))?;
                let write = Write::Tag { user, tag, set };
                if let Write::Tag { tag, .. } = &write
                    && member.tags.contains(tag) != set
                    && !writes.contains(&write)
                {
                    writes.push(write);
                }
            }
        }
        if writes.is_empty() {
            let error = format!("that changes no tag of {name}");
            return Err(Error::new(Code::Conflict, error).hint(format!("mesh member show {name}")));
        }
        if writes.len() > MAX_WRITES {
            let error = format!("at most {MAX_WRITES} tags at a time");
            return Err(Error::new(Code::Usage, error));
        }
        self.registers(id, name, writes, call.wait_ms)
    }

    pub(super) fn settings(&self, name: Option<&str>) -> Result<Reply, Error> {
        let net = self.net(name)?;
        let settings = Setting::ALL.map(|setting| view(net.state(), setting));
        Ok(Reply::Settings(reply::Settings {
            network: net.name(),
            settings: settings.to_vec(),
        }))
    }

    pub(super) fn setting_write(&mut self, call: &SettingWrite) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let (id, network) = (net.id, net.name());
        let Some(setting) = Setting::of(&call.key) else {
            let shown: String = call.key.chars().take(60).collect();
            let error = format!("there is no setting {shown:?}");
            return Err(Error::new(Code::NotFound, error).hint("mesh get"));
        };
        let key = label(setting.key())?;
        if let Some(value) = &call.value {
            setting
                .check(value)
                .map_err(|error| Error::new(Code::Usage, error.to_string()).hint("mesh get"))?;
        }
        let value = call.value.as_deref().map(note).transpose()?;
        if net.state().settings.get(&key) == value.as_ref() {
            let error = match &value {
                Some(value) => format!("{key} is {value} already"),
                None => format!("{key} has its default already"),
            };
            return Err(Error::new(Code::Conflict, error).hint("mesh get"));
        }
        let writes = vec![Write::Setting { key, value }];
        let event = self.author(id, Act::Private, Some(Attributes::Writes(writes)))?;
        let setting = view(self.net_of(&id)?.state(), setting);
        Ok(Signed {
            network: id,
            event,
            wait_ms: call.wait_ms,
            finish: Box::new(move |spread| {
                Reply::SettingWritten(reply::SettingWritten {
                    network,
                    setting,
                    event: event_ref(&event),
                    spread,
                })
            }),
        })
    }

    fn registers(
        &mut self,
        id: NetworkId,
        name: String,
        writes: Vec<Write>,
        wait_ms: Option<u64>,
    ) -> Result<Signed, Error> {
        let event = self.author(id, Act::Private, Some(Attributes::Writes(writes)))?;
        let network = self.net_of(&id)?.name();
        Ok(Signed {
            network: id,
            event,
            wait_ms,
            finish: Box::new(move |spread| {
                Reply::Signed(reply::Signed {
                    network,
                    name,
                    event: event_ref(&event),
                    spread,
                    acts_voided: 0,
                    consequences: Consequences::default(),
                })
            }),
        })
    }

    /// Bare NAME is a user, if one is called so; HOST and HOST.NETWORK is a device.
    fn named(&self, net: &Net, text: &str) -> Result<Named, Error> {
        let state = net.state();
        if let Some(host) = text.strip_suffix(&format!(".{}", net.name()))
            && let Some(device) = state.host(&host.to_ascii_lowercase())
        {
            return Ok(Named::Device(device.id));
        }
        let name = text.to_ascii_lowercase();
        if state.user(&name).is_none()
            && let Some(device) = state.host(&name)
        {
            return Ok(Named::Device(device.id));
        }
        self.find_user(net, text).map(Named::User)
    }
}

/// A name must not be another user's, nor that of another user's device: what people type would mean something else.
fn free(state: &State, new: &Label, user: UserId) -> Result<(), Error> {
    if let Some(other) = state.user(new.as_str()).filter(|other| other.user != user) {
        return Err(taken(new, &format!("the member {}", other.name)));
    }
    match state.host(new.as_str()).filter(|host| host.user != user) {
        Some(host) => {
            let owner = state.members.get(&host.user);
            let owner = owner.map_or_else(|| host.user.short(), |m| m.name.to_string());
            Err(taken(new, &format!("a device of {owner}")))
        }
        None => Ok(()),
    }
}

fn taken(new: &Label, by: &str) -> Error {
    Error::new(Code::Conflict, format!("{new} is the name of {by}")).hint("mesh member ls")
}

fn view(state: &State, setting: Setting) -> SettingView {
    let value = setting.value(state);
    SettingView {
        key: setting.key().to_owned(),
        value: value.to_owned(),
        default: setting.default().to_owned(),
        about: setting.about().to_owned(),
    }
}

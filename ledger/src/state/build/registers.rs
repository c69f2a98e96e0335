//! Registers: who may write which, and what a write does. Per register the last in order counts.

use std::collections::BTreeMap;

use super::{Approval, Build, Host, Shown};
use crate::authority::walk::Standing;
use crate::event::attributes::{Attributes, Opened, Write};
use crate::graph::Idx;
use crate::ids::{DeviceId, UserId};
use crate::verdict::Reason;

impl Build<'_> {
    /// Writes registers. The writes of one event stand or fall together.
    pub(super) fn private(&mut self, idx: Idx, standing: Standing) -> Result<(), Reason> {
        let writes = match self.opened(idx) {
            Opened::Pending => return Ok(()),
            Opened::Open(Attributes::Writes(writes)) => writes,
            _ => return Err(Reason::Unreadable),
        };
        for write in writes {
            self.permit(idx, standing, write)?;
        }
        for write in writes {
            self.write(idx, write);
        }
        Ok(())
    }

    fn permit(&self, idx: Idx, standing: Standing, write: &Write) -> Result<(), Reason> {
        let author = self.graph.event(idx).author();
        let user = self.cast.user_id(standing.user);
        let itself = |device: &DeviceId, verb| {
            if *device == author {
                Ok(())
            } else {
                Err(Reason::OnlyItself {
                    device: *device,
                    verb,
                })
            }
        };
        let own = |owner: Option<UserId>, what| {
            if standing.admin || owner == Some(user) {
                Ok(())
            } else {
                Err(Reason::OnlyOwn { what })
            }
        };
        let admin = || {
            if standing.admin {
                Ok(())
            } else {
                Err(Reason::NotAdmin { who: user.into() })
            }
        };
        match write {
            Write::Host { device, .. } => {
                own(self.devices.get(device).map(|host| host.user), "host name")
            }
            Write::Name { user: named, .. } => own(Some(*named), "name"),
            Write::WireGuard { device, .. } => itself(device, "sets its WireGuard key"),
            Write::Offer { device, .. } | Write::Narrow { device, .. } => itself(device, "offers"),
            Write::Address { address, .. } => {
                admin()?;
                match &self.addresses {
                    Some(addresses) if !addresses.contains(*address) => Err(Reason::OutsideSubnet),
                    _ => Ok(()),
                }
            }
            Write::Tag { .. }
            | Write::Setting { .. }
            | Write::Servers(_)
            | Write::Approval { .. } => admin(),
        }
    }

    fn write(&mut self, idx: Idx, write: &Write) {
        let event = self.graph.event(idx).id();
        match write {
            Write::Host { device, host } => {
                if let Some(shown) = shown(&mut self.devices, device) {
                    self.hosts.release(&shown.host);
                    shown.host = self.hosts.claim(host);
                }
            }
            Write::Address { device, address } => {
                if let (Some(shown), Some(addresses)) =
                    (shown(&mut self.devices, device), &mut self.addresses)
                {
                    if let Some(v4) = shown.v4 {
                        addresses.release(v4);
                    }
                    shown.v4 = addresses.claim(Some(*address));
                }
            }
            Write::WireGuard { device, key } => {
                if let Some(shown) = shown(&mut self.devices, device) {
                    shown.wireguard = Some(*key);
                }
            }
            Write::Name { user, name } => {
                if let Some(person) = self.people.get_mut(user) {
                    if let Some(name) = &person.name {
                        self.names.release(name);
                    }
                    let name = self.names.claim(name);
                    self.called.insert(*user, name.clone());
                    person.name = Some(name);
                }
            }
            Write::Tag { user, tag, set } => {
                if let Some(person) = self.people.get_mut(user) {
                    if *set {
                        person.tags.insert(tag.clone());
                    } else {
                        person.tags.remove(tag);
                    }
                }
            }
            Write::Setting { key, value } => {
                match value {
                    Some(value) => self.state.settings.insert(key.clone(), value.clone()),
                    None => self.state.settings.remove(key),
                };
            }
            Write::Servers(servers) => self.state.servers.clone_from(servers),
            Write::Approval {
                device,
                slot,
                offer,
                approved,
            } => {
                if self.devices.contains_key(device) {
                    let approval = Approval {
                        offer: *offer,
                        approved: *approved,
                    };
                    self.approvals.insert((*device, *slot), approval);
                }
            }
            Write::Offer {
                device,
                slot,
                offer,
            } => {
                let place = (*device, *slot);
                self.narrow.remove(&place);
                match offer {
                    Some(offer) if self.devices.contains_key(device) => {
                        self.offers.insert(place, (offer.clone(), event));
                    }
                    _ => {
                        self.offers.remove(&place);
                    }
                };
            }
            Write::Narrow {
                device,
                slot,
                offer,
            } => {
                let place = (*device, *slot);
                self.offers.remove(&place);
                if self.devices.contains_key(device) {
                    self.narrow.insert(place, (offer.clone(), event));
                }
            }
        }
    }
}

fn shown<'b>(
    devices: &'b mut BTreeMap<DeviceId, Host>,
    device: &DeviceId,
) -> Option<&'b mut Shown> {
    devices.get_mut(device)?.shown.as_mut()
}

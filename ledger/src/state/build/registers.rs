//! Registers: who may write which, and what a write does. Per register the last in order counts.

use super::Build;
use crate::authority::walk::Standing;
use crate::event::attributes::{Attributes, Opened, Write};
use crate::graph::Idx;
use crate::ids::{DeviceId, UserId};
use crate::state::book::{Approval, Book, Place, Shown};
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
            Write::Host { device, .. } => own(
                self.book.devices.get(device).map(|host| host.user),
                "host name",
            ),
            Write::Name { user: named, .. } => own(Some(*named), "name"),
            Write::WireGuard { device, .. } => itself(device, "sets its WireGuard key"),
            Write::Offer { device, .. } | Write::Narrow { device, .. } => itself(device, "offers"),
            Write::Address { address, .. } => {
                admin()?;
                match self.book.addresses() {
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
            Write::Host { device, host } => self.change(device, |book, shown| {
                book.release_host(&shown.host);
                shown.host = book.claim_host(host);
            }),
            Write::Address { device, address } => self.change(device, |book, shown| {
                if book.addresses().is_some() {
                    if let Some(v4) = shown.v4 {
                        book.release_address(v4);
                    }
                    shown.v4 = book.claim_address(Some(*address));
                }
            }),
            Write::WireGuard { device, key } => {
                self.change(device, |_, shown| shown.wireguard = Some(*key));
            }
            Write::Name { user, name } => {
                if let Some(mut person) = self.book.people.get(user).cloned() {
                    if let Some(name) = &person.name {
                        self.book.release_name(name);
                    }
                    person.name = Some(self.book.claim_name(*user, name));
                    self.book.set_person(*user, Some(person));
                }
            }
            Write::Tag { user, tag, set } => {
                if let Some(mut person) = self.book.people.get(user).cloned() {
                    let changed = if *set {
                        person.tags.insert(tag.clone())
                    } else {
                        person.tags.remove(tag)
                    };
                    if changed {
                        self.book.set_person(*user, Some(person));
                    }
                }
            }
            Write::Setting { key, value } => self.book.set_setting(key.clone(), value.clone()),
            Write::Servers(servers) => self.book.set_servers(servers.clone()),
            Write::Approval {
                device,
                slot,
                offer,
                approved,
            } => {
                if self.book.devices.contains_key(device) {
                    let approval = Approval {
                        offer: *offer,
                        approved: *approved,
                    };
                    self.book.set_approval((*device, *slot), Some(approval));
                }
            }
            Write::Offer {
                device,
                slot,
                offer,
            } => {
                let there = self.book.devices.contains_key(device);
                let offer = offer.as_ref().filter(|_| there);
                let place = (*device, *slot);
                self.clear(place);
                if let Some(offer) = offer {
                    self.book.set_offer(place, Some((offer.clone(), event)));
                }
            }
            Write::Narrow {
                device,
                slot,
                offer,
            } => {
                let place = (*device, *slot);
                self.clear(place);
                if self.book.devices.contains_key(device) {
                    self.book.set_narrow(place, Some((offer.clone(), event)));
                }
            }
        }
    }

    /// Takes away what stands in a slot.
    pub(super) fn clear(&mut self, place: Place) {
        if self.book.offers.contains_key(&place) {
            self.book.set_offer(place, None);
        }
        if self.book.narrow.contains_key(&place) {
            self.book.set_narrow(place, None);
        }
    }

    /// Changes what a device shows, if it shows something.
    fn change(&mut self, device: &DeviceId, change: impl FnOnce(&mut Book, &mut Shown)) {
        if let Some(mut host) = self.book.devices.get(device).cloned()
            && let Some(shown) = &mut host.shown
        {
            change(self.book, shown);
            self.book.set_device(*device, Some(host));
        }
    }
}

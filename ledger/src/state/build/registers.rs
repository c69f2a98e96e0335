//! Registers: who may write which, and what a write does. Per register the last in order counts.

use super::Build;
use crate::authority::walk::Standing;
use crate::event::attributes::{Attributes, MAX_NAMES, Opened, Write};
use crate::graph::Idx;
use crate::ids::{DeviceId, UserId};
use crate::state::book::{Approval, Book, Offered, Place, Shown};
use crate::timeline::Step;
use crate::verdict::Reason;

impl Build<'_, '_> {
    /// Writes registers. The writes of one event stand or fall together.
    pub(super) fn private(&mut self, idx: Idx, standing: Standing) -> Result<(), Reason> {
        let opened = self.opened(idx);
        let writes = match &*opened {
            Opened::Pending => return Ok(()),
            Opened::Open(Attributes::Writes(writes)) => writes,
            _ => return Err(Reason::Unreadable),
        };
        for write in writes {
            self.permit(idx, standing, write)?;
        }
        self.count_names(standing, writes)?;
        for write in writes {
            self.write(write);
        }
        Ok(())
    }

    fn permit(&mut self, idx: Idx, standing: Standing, write: &Write) -> Result<(), Reason> {
        let author = self.graph.author(idx);
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
                let home = self.book.homes.read(self.now, device);
                own(home.map(|home| home.user), "host name")
            }
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

    /// Counts the names that a user sets who is no admin.
    fn count_names(&mut self, standing: Standing, writes: &[Write]) -> Result<(), Reason> {
        let names = |write: &&Write| matches!(write, Write::Host { .. } | Write::Name { .. });
        let more = writes.iter().filter(names).count() as u32;
        if standing.admin || more == 0 {
            return Ok(());
        }
        let user = self.cast.user_id(standing.user);
        let named = &mut self.book.named;
        let count = more + named.read(self.now, &user).copied().unwrap_or(0);
        if count > MAX_NAMES {
            return Err(Reason::NamesUsedUp);
        }
        named.write(self.now, &user, Some(count));
        Ok(())
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Host { device, host } => self.change(device, |book, now, shown| {
                book.release_host(now, &shown.host);
                shown.host = book.claim_host(now, host);
            }),
            Write::Address { device, address } => self.change(device, |book, now, shown| {
                if book.addresses().is_some() {
                    if let Some(v4) = shown.v4 {
                        book.release_address(now, v4);
                    }
                    shown.v4 = book.claim_address(now, Some(*address));
                }
            }),
            Write::WireGuard { device, key } => {
                if self.book.shown.read(self.now, device).is_some() {
                    self.book.wireguard.write(self.now, device, Some(*key));
                }
            }
            Write::Name { user, name } => {
                if let Some(mut person) = self.book.people.read(self.now, user).cloned() {
                    if let Some(name) = &person.name {
                        self.book.release_name(self.now, name);
                    }
                    person.name = Some(self.book.claim_name(self.now, *user, name));
                    self.book.people.write(self.now, user, Some(person));
                }
            }
            Write::Tag { user, tag, set } => {
                if let Some(mut person) = self.book.people.read(self.now, user).cloned() {
                    let changed = if *set {
                        person.tags.insert(tag.clone())
                    } else {
                        person.tags.remove(tag)
                    };
                    if changed {
                        self.book.people.write(self.now, user, Some(person));
                    }
                }
            }
            Write::Setting { key, value } => {
                self.book.settings.write(self.now, key, value.clone());
            }
            Write::Servers(servers) => {
                let servers = Some(servers.clone());
                self.book.servers.write(self.now, &(), servers);
            }
            Write::Approval {
                device,
                slot,
                offer,
                approved,
            } => {
                if let Some(since) = self.since(device) {
                    let approval = Approval {
                        since,
                        offer: *offer,
                        approved: *approved,
                    };
                    let place = (*device, *slot);
                    self.book.approvals.write(self.now, &place, Some(approval));
                }
            }
            Write::Offer {
                device,
                slot,
                offer,
            } => {
                self.offer((*device, *slot), offer.is_some());
            }
            Write::Narrow { device, slot, .. } => self.offer((*device, *slot), true),
        }
    }

    /// Fills a slot with what this event offers in it, or empties it. A device that is not there has none.
    fn offer(&mut self, place: Place, offers: bool) {
        let since = self.since(&place.0).filter(|_| offers);
        let offered = since.map(|since| Offered { since });
        self.book.offers.write(self.now, &place, offered);
    }

    /// By which event a device came that is there.
    fn since(&mut self, device: &DeviceId) -> Option<Idx> {
        let home = self.book.homes.read(self.now, device);
        home.map(|home| home.since)
    }

    /// Changes what a device shows, if it shows something.
    fn change(
        &mut self,
        device: &DeviceId,
        change: impl FnOnce(&mut Book, &mut Step<'_>, &mut Shown),
    ) {
        if let Some(mut shown) = self.book.shown.read(self.now, device).cloned() {
            change(self.book, self.now, &mut shown);
            self.book.shown.write(self.now, device, Some(shown));
        }
    }
}

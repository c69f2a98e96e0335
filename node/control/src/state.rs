//! What a watching tool sees: the full [`State`] once, then [`Update`]s.
//!
//! The daemon publishes whole states; the server tells each watcher what changed since the state it was told last. So a
//! slow watcher misses states in between and never the last one, and costs no memory.

use serde::{Deserialize, Serialize};

use crate::view::{InviteView, NetworkStatus, OfferView, PeerReach, PeerView};

/// Asks to be told of changes until the connection ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Which network; absent, all.
    pub network: Option<String>,
}

/// Everything a watcher can see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// By name; ids are unique.
    pub networks: Vec<NetworkState>,
}

/// What a watcher can see of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkState {
    /// How it is doing, with its peers.
    pub status: NetworkStatus,
    /// The offers in force.
    pub offers: Vec<OfferView>,
    /// Its invites, without their tickets.
    pub invites: Vec<InviteView>,
}

/// One change. Networks are named by id, devices by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // Made and written one after the other.
pub enum Update {
    /// A network that is new, or whose status changed; `status.peers` is empty and to be left as it was.
    Status(NetworkStatus),
    /// A network is gone.
    NetworkGone {
        /// Its id.
        network: String,
    },
    /// A peer is new or changed.
    Peer {
        /// The network's id.
        network: String,
        /// The peer.
        peer: PeerView,
    },
    /// A peer is gone.
    PeerGone {
        /// The network's id.
        network: String,
        /// The device's key.
        device: String,
    },
    /// The offers of a network changed; these are all.
    Offers {
        /// The network's id.
        network: String,
        /// All that are in force.
        offers: Vec<OfferView>,
    },
    /// The invites of a network changed; these are all.
    Invites {
        /// The network's id.
        network: String,
        /// All there are.
        invites: Vec<InviteView>,
    },
}

impl State {
    /// What to tell a watcher who knows `self` so that it knows `new`.
    pub fn updates(&self, new: &Self) -> Vec<Update> {
        let mut updates = Vec::new();
        for old in &self.networks {
            if new.find(old.id()).is_none() {
                updates.push(Update::NetworkGone {
                    network: old.id().to_owned(),
                });
            }
        }
        for network in &new.networks {
            match self.find(network.id()) {
                Some(old) if old == network => {}
                Some(old) => old.updates(network, &mut updates),
                None => NetworkState::empty(network).updates(network, &mut updates),
            }
        }
        updates
    }

    /// Takes over a change.
    pub fn apply(&mut self, update: Update) {
        match update {
            Update::Status(status) => match self.find_mut(&status.network.id) {
                Some(network) => {
                    let peers = std::mem::take(&mut network.status.peers);
                    network.status = NetworkStatus { peers, ..status };
                }
                None => self.networks.push(NetworkState {
                    status,
                    offers: Vec::new(),
                    invites: Vec::new(),
                }),
            },
            Update::NetworkGone { network } => self.networks.retain(|known| known.id() != network),
            Update::Peer { network, peer } => {
                if let Some(network) = self.find_mut(&network) {
                    let peers = &mut network.status.peers;
                    peers.retain(|known| known.device != peer.device);
                    peers.push(peer);
                    peers.sort_by(|a, b| rank(a).cmp(&rank(b)));
                }
            }
            Update::PeerGone { network, device } => {
                if let Some(network) = self.find_mut(&network) {
                    network.status.peers.retain(|known| known.device != device);
                }
            }
            Update::Offers { network, offers } => {
                if let Some(network) = self.find_mut(&network) {
                    network.offers = offers;
                }
            }
            Update::Invites { network, invites } => {
                if let Some(network) = self.find_mut(&network) {
                    network.invites = invites;
                }
            }
        }
        self.networks
            .sort_by(|a, b| (a.name(), a.id()).cmp(&(b.name(), b.id())));
    }

    fn find(&self, id: &str) -> Option<&NetworkState> {
        self.networks.iter().find(|network| network.id() == id)
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut NetworkState> {
        self.networks.iter_mut().find(|network| network.id() == id)
    }
}

impl NetworkState {
    fn id(&self) -> &str {
        &self.status.network.id
    }

    fn name(&self) -> &str {
        &self.status.network.name
    }

    /// Whether a tool that typed `network` means this one.
    pub(crate) fn is_called(&self, network: &str) -> bool {
        self.name() == network || (network.len() >= 4 && self.id().starts_with(network))
    }

    /// What a watcher knows of a network it was never told of: as `of`, so that nothing but its status need be sent
    /// where the rest is empty.
    fn empty(of: &Self) -> Self {
        let mut status = of.status.clone();
        status.peers = Vec::new();
        status.network.id = String::new();
        Self {
            status,
            offers: Vec::new(),
            invites: Vec::new(),
        }
    }

    fn updates(&self, new: &Self, updates: &mut Vec<Update>) {
        let network = || new.id().to_owned();
        let head = |of: &NetworkStatus| NetworkStatus {
            peers: Vec::new(),
            ..of.clone()
        };
        if head(&self.status) != head(&new.status) {
            updates.push(Update::Status(head(&new.status)));
        }
        for old in &self.status.peers {
            if !new
                .status
                .peers
                .iter()
                .any(|peer| peer.device == old.device)
            {
                updates.push(Update::PeerGone {
                    network: network(),
                    device: old.device.clone(),
                });
            }
        }
        let known: std::collections::BTreeMap<&str, &PeerView> = self
            .status
            .peers
            .iter()
            .map(|peer| (peer.device.as_str(), peer))
            .collect();
        for peer in &new.status.peers {
            if known.get(peer.device.as_str()) != Some(&peer) {
                updates.push(Update::Peer {
                    network: network(),
                    peer: peer.clone(),
                });
            }
        }
        if self.offers != new.offers {
            updates.push(Update::Offers {
                network: network(),
                offers: new.offers.clone(),
            });
        }
        if self.invites != new.invites {
            updates.push(Update::Invites {
                network: network(),
                invites: new.invites.clone(),
            });
        }
    }
}

/// The order of peers: those online first, then by name.
fn rank(peer: &PeerView) -> (bool, &str, &str) {
    (peer.reach == PeerReach::Offline, &peer.name, &peer.device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::examples;

    #[test]
    fn a_watcher_that_applies_the_updates_knows_the_new_state() {
        let (empty, home) = (
            State::default(),
            State {
                networks: vec![examples::network_state()],
            },
        );
        let mut later = home.clone();
        for network in &mut later.networks {
            network.status.network.events += 1;
            network.status.peers.remove(0);
            if let Some(peer) = network.status.peers.first_mut() {
                peer.reach = PeerReach::Offline;
            }
            network.status.peers.sort_by(|a, b| rank(a).cmp(&rank(b)));
            network.offers.pop();
            network.invites.pop();
        }
        for (old, new) in [
            (&empty, &home),
            (&home, &later),
            (&later, &home),
            (&home, &empty),
        ] {
            let mut told = old.clone();
            let updates = old.updates(new);
            assert!(!updates.is_empty());
            for update in updates {
                told.apply(update);
            }
            assert_eq!(&told, new);
        }
    }

    #[test]
    fn nothing_is_told_when_nothing_changed() {
        let home = State {
            networks: vec![examples::network_state()],
        };
        assert_eq!(home.updates(&home), []);
    }
}

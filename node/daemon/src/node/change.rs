//! What follows from a change of a network's state, and taking a network up and down.
//!
//! *Deny first*: what the fold took away is gone from the packet path before anybody is told or anything else is done.

use std::sync::Arc;

use mesh_core::desired::{Desired, device_id, ended_offers};
use mesh_core::link::Frame;
use mesh_core::peer::PeerId;
use mesh_ledger::event::attributes::Write;
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::NetworkId;
use mesh_ledger::ticket::topic;
use mesh_ledger::wire::Sync;
use mesh_os::machine::{self, FirewallState};
use mesh_tunnel::{Config, Peer, Table, Tunnel};
use tracing::{info, warn};
use x25519_dalek::{PublicKey, StaticSecret};

use super::{Event, Net, Node};
use crate::clock::{now_ms, steady};
use crate::discovery::{MAX_TOPICS, TOPIC};
use crate::link::LinkId;

/// Why a network is not up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpError {
    /// This device was removed, or is not admitted.
    #[error("this device is not in the network any more")]
    NotAMember,
    /// The machine refused.
    #[error("{source}{}", causes(.source))]
    Machine {
        /// What it said.
        #[from]
        source: machine::MachineError,
    },
    /// No threads.
    #[error("the packet threads could not be started: {0}")]
    Threads(#[from] std::io::Error),
    /// Its settings.
    #[error(transparent)]
    Settings(#[from] crate::settings::SettingsError),
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl Node {
    /// Brings a network up, if it is not: interface, addresses, rules, packet threads, links.
    pub(crate) async fn bring_up(&mut self, id: NetworkId) -> Result<(), UpError> {
        let ports = self.outer_ports();
        let Some(net) = self.nets.get_mut(&id) else {
            return Ok(());
        };
        if net.applied.is_some() {
            return Ok(());
        }
        let result = Self::start(net, &self.machine, &self.events, ports).await;
        net.problem = result.as_ref().err().map(ToString::to_string);
        result?;
        if let (Some(ways), Some(tunnel)) = (&self.ways, net.tunnel.load().as_ref()) {
            net.attached = Some(ways.attach(tunnel));
        }
        info!(network = %net.name(), interface = net.applied.as_ref().map(machine::Applied::interface), "up");
        net.next_beacon = steady();
        self.serve_wg(id);
        self.settle(id).await;
        Ok(())
    }

    async fn start(
        net: &mut Net,
        machine: &machine::Options,
        events: &tokio::sync::mpsc::Sender<Event>,
        ports: std::collections::BTreeSet<u16>,
    ) -> Result<(), UpError> {
        let Some(mut wanted) = net.desired(now_ms()) else {
            return Err(UpError::NotAMember);
        };
        wanted.plan.rules.underlay = ports;
        // There is nobody to ask before the addresses are there.
        wanted.plan.resolver = None;
        let applied = machine::apply(&wanted.plan, machine).await?;
        let (id, events) = (net.id, events.clone());
        let config = Config {
            key: StaticSecret::from(*net.wireguard),
            mtu: wanted.plan.mtu,
            device: applied.tun().clone(),
            events: Arc::new(move |event| {
                // The packet threads do not wait; an event that finds the node's queue full comes again.
                let _ = events.try_send(Event::Tunnel(id, event));
            }),
        };
        match Tunnel::spawn(config) {
            Ok(tunnel) => net.tunnel.store(Some(Arc::new(tunnel))),
            Err(error) => {
                if let Err(undone) = applied.undo().await {
                    warn!("a failed start could not be taken back: {undone}");
                }
                return Err(error.into());
            }
        }
        net.applied = Some(applied);
        Ok(())
    }

    /// Takes a network down: links, packet threads, and all that was done to the machine.
    pub(crate) async fn take_down(&mut self, id: NetworkId) -> Result<(), UpError> {
        let Some(net) = self.nets.get_mut(&id) else {
            return Ok(());
        };
        net.wg = None;
        net.attached = None;
        net.linkless.clear();
        if let Some(ways) = &self.ways {
            ways.gone(id);
        }
        if let Some(tunnel) = net.tunnel.swap(None) {
            tokio::task::block_in_place(|| tunnel.stop());
        }
        let links: Vec<LinkId> = std::mem::take(&mut net.links).into_values().collect();
        let applied = net.applied.take();
        let dns = net.dns.take();
        net.dns_problem = None;
        for link in links {
            if let Some(linked) = self.links.remove(&link) {
                linked.link.send(Frame::Goodbye);
            }
        }
        self.links.retain(|_, linked| linked.network != id);
        if let Some(net) = self.nets.get_mut(&id) {
            net.dialler = mesh_core::dial::Dialler::new(self.me);
            net.settings.save()?;
            if let Err(error) = net.save_mirrors() {
                warn!("{error}");
            }
        }
        let mut undone = Ok(());
        if let Some(applied) = applied {
            undone = applied.undo().await;
            info!(network = %id, "down");
        }
        // Only now that nobody is sent to it.
        if let Some(dns) = dns {
            dns.stop().await;
        }
        self.publish_names();
        self.expect_callers();
        undone?;
        self.tell_addresses();
        self.use_servers().await;
        self.use_mirrors();
        self.announce_on_lan();
        Ok(())
    }

    /// The ledger of a network changed: makes everything follow. `from` is the link that the change came over.
    pub(crate) async fn changed(&mut self, id: NetworkId, from: Option<LinkId>) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        net.turns.note(net.ledger.graph(), net.ledger.fold());
        let removed = !net.is_member() && net.is_up();
        self.publish_table(id);
        self.expect_callers();
        self.witness_succession(id);
        self.tell_news(id, from);
        self.drop_removed(id);
        self.settle_acceptance(id);
        self.settle_code(id);
        if removed {
            // What its peers cut off already.
            if let Err(error) = self.take_down(id).await {
                warn!(network = %id, "{error}");
            }
            return;
        }
        self.settle(id).await;
    }

    /// Signs that this device has seen another owner: rivals are decided by what members have seen.
    fn witness_succession(&mut self, id: NetworkId) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let (owner, device) = (net.state().owner, net.my_device());
        if net.owner.replace(owner) == Some(owner) || !net.ledger.is_witness_wanted(&device) {
            return;
        }
        let written = net
            .ledger
            .author(&self.identity.device, Act::Merge, None, now_ms());
        if let Err(error) = written {
            warn!(network = %id, "cannot sign that the network has another owner: {error}");
        }
    }

    /// All that is not urgent after a change.
    async fn settle(&mut self, id: NetworkId) {
        let ports = self.outer_ports();
        self.settle_alias(id);
        self.publish_names();
        self.expect_callers();
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        net.plan_rotation(steady());
        let wanted = net.desired(now_ms());
        if let (Some(applied), Some(mut wanted)) = (&mut net.applied, wanted) {
            wanted.plan.rules.underlay = ports;
            Self::narrow_resolver(&mut wanted.plan, net.dns.as_ref());
            if let Err(error) = applied.update(&wanted.plan).await {
                warn!(network = %id, "{error}");
                net.problem = Some(error.to_string());
            }
            if let FirewallState::Absent(error) = applied.firewall() {
                warn!(network = %id, "the native firewall does not follow, the filter in the process holds: {error}");
            }
            net.want_links(steady());
        }
        self.answer_names(id, steady()).await;
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        net.forget_gone();
        self.publish_table(id);
        self.tell_addresses();
        self.use_servers().await;
        self.use_mirrors();
        self.announce_on_lan();
        self.ask_for_keys(id);
        self.exchange_offer_keys(id);
        self.set_own_key(id);
    }

    /// Gives the packet threads what counts now.
    pub(crate) fn publish_table(&mut self, id: NetworkId) {
        let ports = self.outer_ports();
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let Some(tunnel) = net.tunnel.load_full() else {
            return;
        };
        let table = match net.desired(now_ms()) {
            Some(Desired { plan, peers }) => Table {
                rules: mesh_core::plan::Ruleset {
                    underlay: ports,
                    ..plan.rules
                },
                peers: peers
                    .into_iter()
                    .map(|peer| {
                        let carrier = net.carrier(&peer.id, &self.links);
                        let key = PublicKey::from(peer.wireguard);
                        let preshared_key = None;
                        (
                            peer.id,
                            Peer {
                                key,
                                carrier,
                                preshared_key,
                            },
                        )
                    })
                    .collect(),
            },
            None => Table::default(),
        };
        // Whoever is gone is cut off before anything else.
        tunnel.publish(&table);
        self.tell_ways(id, &table);
        self.tell_forwarders(id);
    }

    /// Gives the packet threads what carries to one peer now: the rest of the table does not depend on links.
    pub(crate) fn publish_carrier(&mut self, id: NetworkId, peer: &PeerId) {
        if let Some(net) = self.nets.get_mut(&id)
            && let Some(tunnel) = net.tunnel.load_full()
        {
            tunnel.set_carrier(peer, net.carrier(peer, &self.links));
        }
        self.tell_forwarder(id, peer);
    }

    /// Sends what is new to every linked member but the one it came from.
    pub(crate) fn tell_news(&mut self, id: NetworkId, from: Option<LinkId>) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let news = net.take_news();
        if news.is_empty() {
            return;
        }
        let frames: Vec<Frame> = Sync::push(&news)
            .iter()
            .map(|message| Frame::Sync(message.encode()))
            .collect();
        for (link, linked) in self
            .links
            .iter()
            .filter(|(link, linked)| linked.network == id && Some(**link) != from && linked.member)
        {
            tracing::trace!(?link, events = news.len(), "pushes");
            for frame in &frames {
                linked.link.send(frame.clone());
            }
        }
        net.next_beacon = net
            .next_beacon
            .min(steady() + std::time::Duration::from_secs(1));
        self.tell_mirrors(id, &news);
    }

    /// Ends the links of devices that are no members any more. They still get what was queued, the removal included.
    fn drop_removed(&mut self, id: NetworkId) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let state = net.ledger.state();
        let gone: Vec<PeerId> = net
            .links
            .keys()
            .filter(|peer| !state.devices.contains_key(&device_id(peer)))
            .copied()
            .collect();
        for peer in gone {
            if let Some(link) = net.links.remove(&peer) {
                self.links.remove(&link);
            }
            info!(network = %id, ?peer, "cut off: removed");
        }
    }

    /// Announces on the LAN where this device is, and the topics of the invites that can be used.
    pub(crate) fn announce_on_lan(&mut self) {
        let now = now_ms();
        let Some(discovery) = &mut self.discovery else {
            return;
        };
        let code = self.sharing.as_ref().and_then(|sharing| sharing.topic(now));
        let up = self.nets.values().filter(|net| net.is_up());
        let topics = up
            .flat_map(|net| net.state().invites.values())
            .filter(|i| i.closed.is_none() && i.expires > now && i.used < i.max_uses)
            .filter_map(|invite| topic(&invite.contact).first_chunk::<TOPIC>().copied());
        // Somebody waits for the code at this moment: it comes first where there is no room for all.
        let topics = code.into_iter().chain(topics).take(MAX_TOPICS).collect();
        discovery.announce(self.endpoint.addresses(), topics);
    }

    /// Asks the linked members for keys that are missing.
    fn ask_for_keys(&self, id: NetworkId) {
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        for epoch in net.ledger.missing_keys() {
            for linked in self
                .links
                .values()
                .filter(|linked| linked.network == id && linked.member)
            {
                linked.link.send(Frame::KeyWanted(epoch));
            }
        }
    }

    /// The ledger must have the WireGuard key that this device uses: it has another after an interrupted join.
    fn set_own_key(&mut self, id: NetworkId) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let device = net.my_device();
        let mine = PublicKey::from(&StaticSecret::from(*net.wireguard)).to_bytes();
        let Some(own) = net.state().devices.get(&device) else {
            return;
        };
        if own.wireguard.is_some_and(|key| key.0 == mine) {
            return;
        }
        let write = Write::WireGuard {
            device,
            key: mesh_ledger::ids::WgKey(mine),
        };
        let written = net.ledger.author(
            &self.identity.device,
            Act::Private,
            Some(Attributes::Writes(vec![write])),
            now_ms(),
        );
        match written {
            Ok(_) => {
                self.tell_news(id, None);
            }
            Err(error) => warn!(network = %id, "cannot set this device's WireGuard key: {error}"),
        }
    }

    /// Withdraws own offers whose time is over: first for good in this device's own memory, then in the ledger.
    pub(crate) async fn end_offers(&mut self, id: NetworkId) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let device = net.my_device();
        let mut changed = false;
        for (slot, offer) in ended_offers(net.state(), &device, now_ms()) {
            if net.settings.ended().contains(&offer.to_string()) {
                continue;
            }
            if let Err(error) = net.settings.end(offer.to_string()) {
                warn!("{error}");
                continue;
            }
            changed = true;
            let write = Write::Offer {
                device,
                slot,
                offer: None,
            };
            if let Err(error) = net.ledger.author(
                &self.identity.device,
                Act::Private,
                Some(Attributes::Writes(vec![write])),
                now_ms(),
            ) {
                warn!(network = %id, "an offer has ended, and could not be withdrawn: {error}");
            }
        }
        if changed {
            self.changed(id, None).await;
        }
    }
}

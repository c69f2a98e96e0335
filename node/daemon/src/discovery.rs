//! Finding each other on a LAN: multicast DNS, with no server and no default route needed.
//!
//! What is announced is the device key, its addresses, and for each invite that can be used the first bytes of a topic,
//! which only a ticket's holder can tell from noise. Nothing that is heard is trusted: it says where to dial, and iroh
//! proves who answers there.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use data_encoding::BASE32_DNSSEC;
use mesh_core::peer::PeerId;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use swarm_discovery::{Discoverer, DropGuard, IpClass, Peer};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::endpoint::usable;

/// How much of a topic is announced.
pub(crate) const TOPIC: usize = 8;

const SERVICE: &str = "mesh-vpn";
const TOPICS: &str = "topics";
/// As many as fit into a TXT attribute of 255 bytes, behind `topics=`.
pub(crate) const MAX_TOPICS: usize = 14;
const MAX_ADDRESSES: usize = 16;
/// How often this device asks who is there, if nobody else has. One that has just come, or looks for somebody, finds the others
/// within about this time and they find it, for its question and its answer go to all.
const QUICK: Duration = Duration::from_secs(1);
/// The same while nothing is new: each datagram goes to every machine of the LAN, and wakes it.
const AT_REST: Duration = Duration::from_secs(6);
/// How long something is new.
const NEW: Duration = Duration::from_secs(30);
/// Answers a second, in all the LAN.
const RESPONSES: f32 = 2.5;
/// Seen devices that wait for the node; more are seen again.
const QUEUE: usize = 256;
/// After so many sightings the service begins anew. It forgets a name the later the more names there are, so that whoever
/// announces ever new ones would fill the memory.
const MAX_SIGHTINGS: usize = 20_000;

/// A device seen on the LAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Which.
    pub(crate) peer: PeerId,
    /// Where.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The topics it announces.
    pub(crate) topics: Vec<[u8; TOPIC]>,
}

/// The service. It ends when dropped.
pub(crate) struct Discovery {
    me: PeerId,
    tell: mpsc::Sender<Seen>,
    guard: DropGuard,
    cadence: Duration,
    /// How often somebody was seen since it began.
    sightings: Arc<AtomicUsize>,
    /// Until when something is new.
    new: Duration,
    announced: BTreeSet<SocketAddr>,
    interfaces: BTreeSet<Ipv4Addr>,
    topics: BTreeSet<[u8; TOPIC]>,
}

impl Discovery {
    /// Starts to listen, and to announce what [`Self::announce`] says. `None` if this machine has no way to.
    pub(crate) fn start(me: &PeerId, now: Duration) -> Option<(Self, mpsc::Receiver<Seen>)> {
        let (tell, seen) = mpsc::channel(QUEUE);
        let interfaces = multicast_interfaces(&BTreeSet::new());
        let sightings = Arc::default();
        let discoverer = discoverer(me, tell.clone(), QUICK, &interfaces, &sightings);
        let discovery = Self {
            me: *me,
            guard: spawn(discoverer)?,
            tell,
            cadence: QUICK,
            sightings,
            new: now + NEW,
            announced: BTreeSet::new(),
            interfaces,
            topics: BTreeSet::new(),
        };
        Some((discovery, seen))
    }

    /// Something is new: this device looks for another, or may be on another LAN.
    pub(crate) fn hurry(&mut self, now: Duration) {
        self.new = now + NEW;
        self.pace(now);
    }

    /// Asks as often as it is time for.
    pub(crate) fn pace(&mut self, now: Duration) {
        let cadence = if now < self.new { QUICK } else { AT_REST };
        let crowded = self.sightings.load(Ordering::Relaxed) >= MAX_SIGHTINGS;
        if cadence == self.cadence && !crowded {
            return;
        }
        let sightings = Arc::default();
        let tell = self.tell.clone();
        let mut anew = discoverer(&self.me, tell, cadence, &self.interfaces, &sightings);
        for address in &self.announced {
            anew = anew.with_addrs(address.port(), [address.ip()]);
        }
        let topics = (TOPICS.to_owned(), Some(words(&self.topics)));
        // If it cannot be had, the old one goes on, until the next change.
        self.cadence = cadence;
        if let Some(guard) = anew.with_txt_attributes([topics]).ok().and_then(spawn) {
            self.guard = guard;
            self.sightings = sightings;
        }
    }

    /// Uses the interfaces that there are now, but for those with an address of `inner`.
    pub(crate) fn use_interfaces(&mut self, inner: &BTreeSet<IpAddr>) {
        let interfaces = multicast_interfaces(inner);
        for new in interfaces.difference(&self.interfaces) {
            self.guard.add_interface_v4(*new);
        }
        for gone in self.interfaces.difference(&interfaces) {
            self.guard.remove_interface_v4(*gone);
        }
        self.interfaces = interfaces;
    }

    /// Announces this device at `addresses`, with as many `topics` as fit.
    pub(crate) fn announce(
        &mut self,
        addresses: impl IntoIterator<Item = SocketAddr>,
        topics: BTreeSet<[u8; TOPIC]>,
    ) {
        let addresses: BTreeSet<SocketAddr> = addresses.into_iter().take(MAX_ADDRESSES).collect();
        if addresses != self.announced {
            self.guard.remove_all();
            for address in &addresses {
                self.guard.add(address.port(), vec![address.ip()]);
            }
            self.announced = addresses;
        }
        let topics: BTreeSet<_> = topics.into_iter().take(MAX_TOPICS).collect();
        if topics != self.topics {
            if let Err(error) = self
                .guard
                .set_txt_attribute(TOPICS.to_owned(), Some(words(&topics)))
            {
                warn!("invites are not announced on the LAN: {error}");
            }
            self.topics = topics;
        }
    }
}

fn discoverer(
    me: &PeerId,
    tell: mpsc::Sender<Seen>,
    cadence: Duration,
    interfaces: &BTreeSet<Ipv4Addr>,
    sightings: &Arc<AtomicUsize>,
) -> Discoverer {
    let (me, sightings) = (*me, sightings.clone());
    Discoverer::new(SERVICE.to_owned(), BASE32_DNSSEC.encode(&me.0))
        .with_cadence(cadence)
        .with_response_rate(RESPONSES)
        .with_ip_class(IpClass::Auto)
        .with_multicast_interfaces_v4(interfaces.iter().copied().collect())
        .with_callback(move |name, peer| {
            sightings.fetch_add(1, Ordering::Relaxed);
            if let Some(seen) = read(name, peer).filter(|seen| seen.peer != me) {
                debug!(peer = ?seen.peer, addresses = ?seen.addresses, "seen on the LAN");
                // A full queue is no loss: it is seen again.
                let _ = tell.try_send(seen);
            }
        })
}

fn spawn(discoverer: Discoverer) -> Option<DropGuard> {
    let spawned = discoverer.spawn(&tokio::runtime::Handle::current());
    spawned
        .inspect_err(|error| warn!("no discovery on the LAN: {error}"))
        .ok()
}

/// The IPv4 addresses of this machine's interfaces that can multicast, but for `inner` ones.
fn multicast_interfaces(inner: &BTreeSet<IpAddr>) -> BTreeSet<Ipv4Addr> {
    let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_MULTICAST;
    getifaddrs()
        .into_iter()
        .flatten()
        .filter(|interface| {
            interface.flags.contains(wanted)
                && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
        })
        .filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
        .filter(|address| !inner.contains(&IpAddr::V4(*address)))
        .collect()
}

fn read(name: &str, peer: &Peer) -> Option<Seen> {
    let key = BASE32_DNSSEC
        .decode(name.to_ascii_lowercase().as_bytes())
        .ok()?;
    let peer_id = PeerId(key.try_into().ok()?);
    let addresses: Vec<SocketAddr> = peer
        .addrs()
        .iter()
        .map(|(ip, port)| SocketAddr::new(*ip, *port))
        .filter(|address| usable(address.ip()))
        .take(MAX_ADDRESSES)
        .collect();
    let words = peer.txt_attribute(TOPICS).flatten().unwrap_or_default();
    let topics = words
        .split(',')
        .filter_map(unhex)
        .take(MAX_TOPICS)
        .collect();
    (!addresses.is_empty()).then_some(Seen {
        peer: peer_id,
        addresses,
        topics,
    })
}

fn words(topics: &BTreeSet<[u8; TOPIC]>) -> String {
    let words: Vec<String> = topics.iter().map(hex).collect();
    words.join(",")
}

fn hex(topic: &[u8; TOPIC]) -> String {
    topic.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(word: &str) -> Option<[u8; TOPIC]> {
    if word.len() != 2 * TOPIC || !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(word, 16).ok().map(u64::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_reads_back_and_other_words_are_none() {
        let topic = [0, 1, 2, 0xfd, 0xfe, 0xff, 7, 8];
        assert_eq!(unhex(&hex(&topic)), Some(topic));
        for word in [
            "",
            "00",
            "zz01020304050607",
            "00010203040506071",
            "é0102030405060",
            "+001020304050607",
        ] {
            assert_eq!(unhex(word), None);
        }
    }

    #[test]
    fn the_most_topics_fit_into_their_attribute() {
        assert!(TOPICS.len() + 1 + MAX_TOPICS * (2 * TOPIC + 1) <= 255);
    }
}

//! The iroh endpoint: how this device reaches others and is reached.
//!
//! It contacts nobody but peers: no relay, no public DNS or DHT lookups, no port mapping. Others are found by the addresses in
//! tickets, by those remembered, and on the LAN by mDNS. What is announced there is the device key, its addresses, and
//! for each live invite a topic that only a ticket's holder can tell from noise.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use iroh::address_lookup::{AddrFilter, UserData};
use iroh::endpoint::{
    BindOpts, Connection, IdleTimeout, Incoming, NetReportConfig, PortmapperConfig,
    QuicTransportConfig, RelayMode, VarInt, presets,
};
use iroh::{EndpointAddr, EndpointId, SecretKey, TransportAddr};
use iroh_mdns_address_lookup::{DiscoveryEvent, MdnsAddressLookup};
use mesh_core::link::ALPN;
use mesh_core::peer::PeerId;
use tracing::{debug, warn};

/// The UDP port of control links, if it is free.
pub(crate) const DEFAULT_PORT: u16 = 51820;
/// How much of a topic is announced.
pub(crate) const TOPIC: usize = 8;

const SERVICE: &str = "mesh-vpn";
const MAX_TOPICS: usize = UserData::MAX_LENGTH / (2 * TOPIC + 1);
const IDLE: Duration = Duration::from_secs(12);
const KEEP_ALIVE: Duration = Duration::from_secs(4);
const DATAGRAM_BUFFER: usize = 512 << 10;
const DATAGRAM_RECEIVE_BUFFER: usize = 4 << 20;

/// The endpoint could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot open UDP port {port}: {why}")]
pub(crate) struct BindError {
    port: u16,
    why: String,
}

/// A device seen on the LAN.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Which.
    pub(crate) peer: PeerId,
    /// Where.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The topics it announces.
    pub(crate) topics: Vec<[u8; TOPIC]>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Endpoint {
    iroh: iroh::Endpoint,
    mdns: Option<MdnsAddressLookup>,
    /// Addresses of mesh interfaces: never a way to reach a peer, or a tunnel would run in itself.
    inner: Arc<ArcSwap<BTreeSet<IpAddr>>>,
}

impl Endpoint {
    /// Opens the sockets: on `port` if one is named, else on the default port or, if it is taken, on any.
    pub(crate) async fn bind(seed: &[u8; 32], port: Option<u16>) -> Result<Self, BindError> {
        let inner = Arc::new(ArcSwap::from_pointee(BTreeSet::new()));
        let iroh = match port {
            Some(port) => bind_on(seed, port, &inner).await?,
            None => match bind_on(seed, DEFAULT_PORT, &inner).await {
                Ok(iroh) => iroh,
                Err(error) => {
                    warn!("{error}; taking any free port");
                    bind_on(seed, 0, &inner).await?
                }
            },
        };
        let mdns = MdnsAddressLookup::builder()
            .service_name(SERVICE)
            .addr_filter(outer_only(&inner))
            .build(iroh.id());
        let mdns = match mdns {
            Ok(mdns) => {
                if let Ok(lookup) = iroh.address_lookup() {
                    lookup.add(mdns.clone());
                }
                Some(mdns)
            }
            Err(error) => {
                warn!("no discovery on the LAN: {error}");
                None
            }
        };
        Ok(Self { iroh, mdns, inner })
    }

    /// The UDP ports of the sockets: what leaves from them must never enter a tunnel.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        self.iroh
            .bound_sockets()
            .iter()
            .map(SocketAddr::port)
            .collect()
    }

    /// Where this device may be reached, as far as it knows.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let inner = self.inner.load();
        self.iroh
            .addr()
            .ip_addrs()
            .filter(|a| usable(a.ip()) && !inner.contains(&a.ip()))
            .copied()
            .collect()
    }

    /// Tells which addresses are those of mesh interfaces.
    pub(crate) fn set_inner(&self, inner: BTreeSet<IpAddr>) {
        self.inner.store(Arc::new(inner));
    }

    /// Announces these topics on the LAN, as many as fit.
    pub(crate) fn announce(&self, topics: &BTreeSet<[u8; TOPIC]>) {
        let words: Vec<String> = topics.iter().take(MAX_TOPICS).map(hex).collect();
        let data = UserData::try_from(words.join(","))
            .ok()
            .filter(|_| !words.is_empty());
        self.iroh.set_user_data_for_address_lookup(data);
    }

    /// The devices seen on the LAN from now on, and those seen already.
    pub(crate) async fn seen(&self) -> futures_util::stream::BoxStream<'static, Seen> {
        let Some(mdns) = &self.mdns else {
            return futures_util::stream::pending().boxed();
        };
        let inner = self.inner.clone();
        let events = mdns.subscribe().await;
        events
            .filter_map(move |event| {
                let seen = seen(&event, &inner.load());
                async move { seen }
            })
            .boxed()
    }

    /// Connects to a peer: at these addresses, and wherever the LAN says it is.
    pub(crate) async fn connect(
        &self,
        peer: &PeerId,
        addresses: &[SocketAddr],
    ) -> Result<Connection, String> {
        let id = EndpointId::from_bytes(&peer.0).map_err(|error| error.to_string())?;
        let inner = self.inner.load();
        let addresses = addresses
            .iter()
            .filter(|a| usable(a.ip()) && !inner.contains(&a.ip()))
            .copied();
        let address = EndpointAddr::from_parts(id, addresses.map(TransportAddr::Ip));
        self.iroh
            .connect(address, ALPN)
            .await
            .map_err(|error| error.to_string())
    }

    /// The next connection that somebody opens; `None` when the endpoint is closed.
    pub(crate) async fn accept(&self) -> Option<Incoming> {
        self.iroh.accept().await
    }

    /// The interfaces changed.
    pub(crate) async fn network_change(&self) {
        self.iroh.network_change().await;
    }

    /// Closes all connections and waits until the peers were told, for a moment.
    pub(crate) async fn close(&self) {
        // A peer that is gone never confirms.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.iroh.close()).await;
    }
}

async fn bind_on(
    seed: &[u8; 32],
    port: u16,
    inner: &Arc<ArcSwap<BTreeSet<IpAddr>>>,
) -> Result<iroh::Endpoint, BindError> {
    let failed = |why: String| BindError { port, why };
    let optional = BindOpts::default().set_is_required(false);
    let idle = IdleTimeout::try_from(IDLE).map_err(|error| failed(error.to_string()))?;
    let transport = QuicTransportConfig::builder()
        .initial_mtu(1400)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(KEEP_ALIVE)
        .default_path_max_idle_timeout(IDLE)
        .default_path_keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_send_buffer_size(DATAGRAM_BUFFER)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER))
        .build();
    iroh::Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(seed))
        .alpns(vec![ALPN.to_vec()])
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(NetReportConfig::minimal())
        .transport_config(transport)
        .addr_filter(outer_only(inner))
        .clear_ip_transports()
        .bind_addr(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        .map_err(|error| failed(error.to_string()))?
        .bind_addr_with_opts(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), optional)
        .map_err(|error| failed(error.to_string()))?
        .bind()
        .await
        .map_err(|error| failed(error.to_string()))
}

fn outer_only(inner: &Arc<ArcSwap<BTreeSet<IpAddr>>>) -> AddrFilter {
    let inner = inner.clone();
    AddrFilter::new(move |addresses| {
        let inner = inner.load();
        let outer =
            |a: &&TransportAddr| !matches!(a, TransportAddr::Ip(a) if inner.contains(&a.ip()));
        Cow::Owned(addresses.iter().filter(outer).cloned().collect())
    })
}

/// Whether a packet to that address can reach another machine.
fn usable(address: IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local)
}

fn seen(event: &DiscoveryEvent, inner: &BTreeSet<IpAddr>) -> Option<Seen> {
    let DiscoveryEvent::Discovered { endpoint_info, .. } = event else {
        return None;
    };
    let addresses = endpoint_info
        .ip_addrs()
        .filter(|a| usable(a.ip()) && !inner.contains(&a.ip()))
        .copied()
        .take(16)
        .collect();
    let words = endpoint_info
        .user_data()
        .map(|data| data.as_ref().to_owned())
        .unwrap_or_default();
    let topics = words
        .split(',')
        .filter_map(unhex)
        .take(MAX_TOPICS)
        .collect();
    let peer = PeerId(*endpoint_info.endpoint_id.as_bytes());
    debug!(?peer, ?addresses, "seen on the LAN");
    Some(Seen {
        peer,
        addresses,
        topics,
    })
}

fn hex(topic: &[u8; TOPIC]) -> String {
    topic.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(word: &str) -> Option<[u8; TOPIC]> {
    if word.len() != 2 * TOPIC || !word.is_ascii() {
        return None;
    }
    u64::from_str_radix(word, 16).ok().map(u64::to_be_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

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
        ] {
            assert_eq!(unhex(word), None);
        }
    }

    #[tokio::test]
    async fn two_endpoints_connect_at_an_address_that_is_told() {
        let (a, b) = tokio::join!(
            Endpoint::bind(&[1; 32], Some(0)),
            Endpoint::bind(&[2; 32], Some(0))
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        let peer = PeerId(*b.iroh.id().as_bytes());
        let port = *b.ports().iter().next().unwrap();
        let accept =
            tokio::spawn(async move { b.accept().await.unwrap().await.unwrap().remote_id() });
        let id = EndpointId::from_bytes(&peer.0).unwrap();
        let address =
            EndpointAddr::new(id).with_ip_addr(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let connection = a.iroh.connect(address, ALPN).await.unwrap();
        assert_eq!(accept.await.unwrap(), a.iroh.id());
        drop(connection);
    }
}

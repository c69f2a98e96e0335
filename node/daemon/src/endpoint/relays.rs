//! The relays that the endpoint may use: those of the servers of this device's networks, and how they are found and known.
//!
//! iroh names a relay by a URL, and both the certificate and the address are looked up by the URL's host. An address as host
//! is therefore written as a name that nobody but [`Names`] resolves: iroh takes no IPv6 address there, and a server that no
//! network names any more must not be contacted again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use iroh::dns::{BoxIter, DnsError, Resolver, TxtRecordData};
use iroh::{RelayConfig, RelayUrl};
use iroh_relay::RelayQuicConfig;
use mesh_ledger::ids::ServerKey;
use tracing::debug;

/// The relay and the address discovery of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RelayServer {
    /// Whom to expect there.
    pub(crate) key: ServerKey,
    /// A DNS name or an address.
    pub(crate) host: String,
    /// The relay's TCP port. Without a relay, nothing of it is used.
    pub(crate) relay: Option<u16>,
    /// The UDP port of address discovery.
    pub(crate) discovery: Option<u16>,
}

impl RelayServer {
    /// How iroh is to name it. `attempt` tells apart what iroh must take for different relays: see [`super::Endpoint::relay_retry`].
    fn url(&self, attempt: u32) -> Option<RelayUrl> {
        let port = self.relay?;
        format!("https://{}:{port}/{attempt}", url_host(&self.host))
            .parse()
            .ok()
    }
}

/// The host of a server as it stands in a relay's URL.
pub(super) fn url_host(host: &str) -> String {
    match host.parse() {
        Ok(IpAddr::V4(address)) => format!("ip{:08x}.invalid", address.to_bits()),
        Ok(IpAddr::V6(address)) => format!("ip{:032x}.invalid", address.to_bits()),
        Err(_) => host.to_ascii_lowercase(),
    }
}

/// iroh's pauses between attempts begin at 10 ms and double: until then, none is longer than this.
const FRESH: Duration = Duration::from_secs(2);

/// A relay that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relay {
    pub(super) server: RelayServer,
    pub(super) url: RelayUrl,
    attempt: u32,
    since: Instant,
}

impl Relay {
    pub(super) fn new(server: RelayServer, attempt: u32) -> Option<Self> {
        let url = server.url(attempt)?;
        Some(Self {
            server,
            url,
            attempt,
            since: Instant::now(),
        })
    }

    /// Whether it was set so lately that iroh, if it does not work yet, tries it again within a moment.
    pub(super) fn is_fresh(&self) -> bool {
        self.since.elapsed() < FRESH
    }

    /// The same under a name that iroh does not know yet.
    pub(super) fn renamed(&self) -> Option<Self> {
        Self::new(self.server.clone(), self.attempt.wrapping_add(1))
    }

    pub(super) fn config(&self) -> Arc<RelayConfig> {
        let discovery = self.server.discovery.map(RelayQuicConfig::new);
        Arc::new(RelayConfig::new(self.url.clone(), discovery))
    }
}

/// The relays that are set, by server; shared with the verifier of certificates and the resolver of names.
#[derive(Debug, Clone, Default)]
pub(super) struct Relays(Arc<ArcSwap<BTreeMap<ServerKey, Relay>>>);

impl Relays {
    pub(super) fn get(&self) -> Arc<BTreeMap<ServerKey, Relay>> {
        self.0.load_full()
    }

    pub(super) fn set(&self, relays: BTreeMap<ServerKey, Relay>) {
        self.0.store(Arc::new(relays));
    }

    /// The keys that a server at this host of a URL may have.
    pub(super) fn keys_at(&self, host: &str) -> BTreeSet<ServerKey> {
        let relays = self.0.load();
        let here = relays
            .values()
            .filter(|relay| url_host(&relay.server.host) == host);
        here.map(|relay| relay.server.key).collect()
    }

    /// The host behind one of a URL, if a server is there.
    fn host_of(&self, host: &str) -> Option<String> {
        let relays = self.0.load();
        let found = relays
            .values()
            .find(|relay| url_host(&relay.server.host) == host)?;
        Some(found.server.host.clone())
    }
}

/// Finds the addresses of the servers that are set, by the machine's own means, and of nobody else.
#[derive(Debug, Clone)]
pub(super) struct Names(pub(super) Relays);

type Found<T> = Pin<Box<dyn Future<Output = Result<BoxIter<T>, DnsError>> + Send>>;

impl Names {
    /// None for a name that is not found: iroh takes that for the failure it is.
    async fn addresses(self, host: String) -> Vec<IpAddr> {
        let Some(host) = self.0.host_of(&host.to_ascii_lowercase()) else {
            return Vec::new();
        };
        if let Ok(address) = host.parse() {
            return vec![address];
        }
        match tokio::net::lookup_host((host.as_str(), 0)).await {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(error) => {
                debug!("the server {host} is not found: {error}");
                Vec::new()
            }
        }
    }
}

impl Resolver for Names {
    fn lookup_ipv4(&self, host: String) -> Found<Ipv4Addr> {
        let found = self.clone().addresses(host);
        Box::pin(async move {
            let v4 = |address| match address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            };
            Ok(Box::new(found.await.into_iter().filter_map(v4)) as BoxIter<_>)
        })
    }

    fn lookup_ipv6(&self, host: String) -> Found<Ipv6Addr> {
        let found = self.clone().addresses(host);
        Box::pin(async move {
            let v6 = |address| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(address),
            };
            Ok(Box::new(found.await.into_iter().filter_map(v6)) as BoxIter<_>)
        })
    }

    fn lookup_txt(&self, _host: String) -> Found<TxtRecordData> {
        Box::pin(async { Ok(Box::new(std::iter::empty()) as BoxIter<_>) })
    }

    fn clear_cache(&self) {}

    fn reset(&self) -> Box<dyn Resolver> {
        Box::new(self.clone())
    }
}

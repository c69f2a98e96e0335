//! The relay and address discovery: iroh's own, for live devices of hosted networks, under a certificate of the server's key.
//!
//! The mirror is a client of the relay itself, so who is let through to it by TCP alone talks with the mirror too. That is what
//! those need whose network lets no UDP out: a joiner, a device whose own key uses the relay already, and one that brings a
//! network. They are let in by a [`Pass`], as guests.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use iroh::dns::{BoxIter, DnsError, DnsResolver, Resolver, TxtRecordData};
use iroh::tls::CaTlsConfig;
use iroh::{EndpointId, RelayConfig as RelayPlace};
use iroh_relay::server::{
    Access, AccessControl, CertConfig, ClientRateLimit, ClientRequest, ConnectionId, QuicConfig,
    RelayConfig, Server, ServerConfig, TlsConfig,
};
use mesh_ledger::ids::{DeviceId, InviteKey, NetworkId, ServerKey};
use mesh_ledger::mirror::Pass;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::hosted::Networks;

/// The least burst of a client, whatever its rate: the largest frame passes in one.
const BURST: NonZeroU32 = NonZeroU32::new(1 << 17).unwrap();
/// After how long a client is thrown out once more: one that was being let in the first time is caught then.
const AGAIN: Duration = Duration::from_secs(2);

/// How many joiners and how many founders there are at most at a time; of the joiners how many of one network, and how many with
/// one ticket.
const MAX_JOINERS: usize = 64;
const MAX_JOINERS_OF_NETWORK: usize = 16;
const MAX_JOINERS_OF_TICKET: usize = 8;
const MAX_FOUNDERS: usize = 16;
/// How many keys speak for devices at most at a time, and for one device.
const MAX_DEPUTIES: usize = 4096;
const MAX_DEPUTIES_OF_ONE: usize = 4;
/// How many connections one key has at most.
const MAX_OF_KEY: usize = 16;
/// How many passes are looked at at a time; each may make the server read a network from its disk.
const MAX_PASSES: usize = 4;
/// How often it is looked which guests have stayed long enough.
const LOOK: Duration = Duration::from_secs(5);
/// What the mirror calls its own relay.
const OWN_NAME: &str = "mesh-server.invalid";

/// Where the relay and discovery listen; none where one is switched off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    pub(crate) relay: Option<SocketAddr>,
    pub(crate) discovery: Option<SocketAddr>,
}

/// Who may use the relay.
pub(crate) struct Doorman {
    networks: std::sync::OnceLock<Arc<Networks>>,
    /// Everybody, though no networks are kept here.
    everybody: bool,
    /// The mirror's own key.
    mirror: ServerKey,
    clients: AtomicUsize,
    guests: Mutex<HashMap<ConnectionId, Guest>>,
    /// How many connections each key has.
    keys: Mutex<HashMap<EndpointId, usize>>,
    passes: Semaphore,
}

/// Who was let in by a pass.
#[derive(Debug, Clone, Copy)]
struct Guest {
    key: EndpointId,
    since: Instant,
    is: Is,
}

/// What a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    /// It holds this ticket.
    Joiner(NetworkId, InviteKey),
    /// It speaks for this live device.
    Deputy(DeviceId),
    /// It speaks for this device, which may have a network hosted, and is no live device of one yet.
    Founder(DeviceId),
}

impl std::fmt::Debug for Doorman {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Doorman")
    }
}

impl Doorman {
    pub(crate) fn new(everybody: bool, mirror: ServerKey) -> Self {
        Self {
            networks: std::sync::OnceLock::new(),
            everybody,
            mirror,
            clients: AtomicUsize::new(0),
            guests: Mutex::default(),
            keys: Mutex::default(),
            passes: Semaphore::new(MAX_PASSES),
        }
    }

    /// From now on the live devices of these networks are let in.
    pub(crate) fn know(&self, networks: Arc<Networks>) {
        // It is told once.
        let _ = self.networks.set(networks);
    }

    /// How many are connected, beside the mirror.
    pub(crate) fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    fn guests(&self) -> MutexGuard<'_, HashMap<ConnectionId, Guest>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<EndpointId, usize>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection of a key, if it may have one more.
    fn count(&self, key: EndpointId) -> bool {
        let mut keys = self.keys();
        let own = keys.get(&key).copied().unwrap_or_default();
        if own >= MAX_OF_KEY {
            return false;
        }
        keys.insert(key, own + 1);
        self.clients.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Lets a guest in, if there is room.
    async fn invite(&self, device: DeviceId, request: &ClientRequest) -> bool {
        let (Some(networks), Some(pass)) = (
            self.networks.get().cloned(),
            request.auth_token().as_deref().and_then(Pass::read),
        ) else {
            return false;
        };
        let is = match pass {
            Pass::Deputy(word) if networks.is_deputy(&device, &word) => Is::Deputy(word.device),
            Pass::Deputy(word) if networks.is_founder(&device, &word, None) => {
                Is::Founder(word.device)
            }
            Pass::Deputy(_) => return false,
            Pass::Founder(word, proof) => {
                if !networks.is_founder(&device, &word, Some(&proof)) {
                    return false;
                }
                Is::Founder(word.device)
            }
            Pass::Joiner(network, visit) => {
                // Who is not looked at now comes again soon.
                let Ok(_permit) = self.passes.try_acquire() else {
                    return false;
                };
                let is = Is::Joiner(network, visit.invite);
                let invited = move || networks.is_invited(&device, &network, &visit);
                match tokio::task::spawn_blocking(invited).await {
                    Ok(true) => is,
                    _ => return false,
                }
            }
        };
        let mut guests = self.guests();
        let room = has_room(guests.values().map(|guest| guest.is), is);
        if room {
            let guest = Guest {
                key: request.endpoint_id(),
                since: Instant::now(),
                is,
            };
            guests.insert(request.connection_id(), guest);
        }
        room
    }

    /// The guests whose time is over: joiners and founders who have been here for so long, and who speaks for a device that is
    /// live no more. A joiner who is a live device by now is no guest any more, and a founder a deputy.
    fn overstayed(&self, stay: Duration) -> Vec<(ConnectionId, EndpointId)> {
        let Some(networks) = self.networks.get() else {
            return Vec::new();
        };
        let mut guests = self.guests();
        guests.retain(|_, guest| {
            let joins = matches!(guest.is, Is::Joiner(..));
            !joins || !networks.is_live(&DeviceId(*guest.key.as_bytes()))
        });
        for guest in guests.values_mut() {
            if let Is::Founder(device) = guest.is
                && networks.is_live(&device)
            {
                guest.is = Is::Deputy(device);
            }
        }
        let over = guests.iter().filter(|(_, guest)| match guest.is {
            Is::Joiner(..) | Is::Founder(_) => guest.since.elapsed() >= stay,
            Is::Deputy(device) => !networks.is_live(&device),
        });
        over.map(|(connection, guest)| (*connection, guest.key))
            .collect()
    }
}

/// Whether there is room for one more beside these guests.
fn has_room(guests: impl Iterator<Item = Is>, is: Is) -> bool {
    let (mut same, mut alike, mut near) = (0, 0, 0);
    for other in guests {
        same += usize::from(other == is);
        match (other, is) {
            (Is::Joiner(theirs, _), Is::Joiner(network, _)) => {
                alike += 1;
                near += usize::from(theirs == network);
            }
            (Is::Deputy(_), Is::Deputy(_)) | (Is::Founder(_), Is::Founder(_)) => alike += 1,
            _ => {}
        }
    }
    match is {
        Is::Joiner(..) => {
            alike < MAX_JOINERS && near < MAX_JOINERS_OF_NETWORK && same < MAX_JOINERS_OF_TICKET
        }
        Is::Founder(_) => alike < MAX_FOUNDERS,
        Is::Deputy(_) => alike < MAX_DEPUTIES && same < MAX_DEPUTIES_OF_ONE,
    }
}

/// The access control of a shared doorman.
#[derive(Debug)]
struct Door(Arc<Doorman>);

impl AccessControl for Door {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let device = DeviceId(*request.endpoint_id().as_bytes());
        if device.0 == self.0.mirror.0 {
            return Access::Allow;
        }
        let live = |networks: &Arc<Networks>| networks.is_live(&device);
        if self.0.everybody
            || self.0.networks.get().is_some_and(live)
            || self.0.invite(device, request).await
        {
            if self.0.count(request.endpoint_id()) {
                return Access::Allow;
            }
            self.0.guests().remove(&request.connection_id());
            let reason = "this device has too many connections to the relay".to_owned();
            Access::Deny {
                reason: Some(reason),
            }
        } else {
            let reason = "only devices of networks hosted here may use this relay".to_owned();
            Access::Deny {
                reason: Some(reason),
            }
        }
    }

    fn on_disconnect(&self, device: EndpointId, connection: ConnectionId) {
        if *device.as_bytes() != self.0.mirror.0 {
            self.0.clients.fetch_sub(1, Ordering::Relaxed);
            self.0.guests().remove(&connection);
            let mut keys = self.0.keys();
            if let Some(count) = keys.get_mut(&device) {
                *count -= 1;
                if *count == 0 {
                    keys.remove(&device);
                }
            }
        }
    }
}

/// The server's certificate, and how it shows that it is its own.
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    tls: rustls::ServerConfig,
}

impl Certificate {
    /// Whom the mirror takes for its relay: who has this very certificate.
    pub(crate) fn trust(&self) -> CaTlsConfig {
        CaTlsConfig::custom_roots([self.der.clone()])
    }
}

/// Where the mirror finds its relay, which listens there.
pub(crate) fn own_place(listens: SocketAddr) -> Option<Arc<RelayPlace>> {
    let url = format!("https://{OWN_NAME}:{}/", listens.port());
    Some(Arc::new(RelayPlace::new(url.parse().ok()?, None)))
}

/// Finds nothing but the relay of this very machine.
#[derive(Debug, Clone)]
struct OwnName(IpAddr);

/// For the mirror: its relay listens at this address.
pub(crate) fn own_name(listens: IpAddr) -> DnsResolver {
    DnsResolver::custom(OwnName(match listens {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        one => one,
    }))
}

type Found<T> = Pin<Box<dyn Future<Output = Result<BoxIter<T>, DnsError>> + Send>>;

impl Resolver for OwnName {
    fn lookup_ipv4(&self, host: String) -> Found<Ipv4Addr> {
        let found = match self.0 {
            IpAddr::V4(address) if host == OWN_NAME => Some(address),
            _ => None,
        };
        Box::pin(async move { Ok(Box::new(found.into_iter()) as BoxIter<_>) })
    }

    fn lookup_ipv6(&self, host: String) -> Found<Ipv6Addr> {
        let found = match self.0 {
            IpAddr::V6(address) if host == OWN_NAME => Some(address),
            _ => None,
        };
        Box::pin(async move { Ok(Box::new(found.into_iter()) as BoxIter<_>) })
    }

    fn lookup_txt(&self, _host: String) -> Found<TxtRecordData> {
        Box::pin(async { Ok(Box::new(std::iter::empty()) as BoxIter<_>) })
    }

    fn clear_cache(&self) {}

    fn reset(&self) -> Box<dyn Resolver> {
        Box::new(self.clone())
    }
}

/// Starts what is switched on; none if nothing is.
pub(crate) async fn start(
    certificate: &Certificate,
    places: Places,
    doorman: Arc<Doorman>,
    rate: NonZeroU32,
) -> Result<Option<Server>, String> {
    if places.relay.is_none() && places.discovery.is_none() {
        return Ok(None);
    }
    let tls = &certificate.tls;
    let mut config = ServerConfig::default();
    if let Some(address) = places.relay {
        // The plain HTTP port that iroh wants beside TLS is for captive portals, which nobody asks here.
        let mut relay = RelayConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        let cert = CertConfig::Manual {
            server_config: tls.clone(),
        };
        relay.tls = Some(TlsConfig::new(address, cert));
        let mut limit = ClientRateLimit::new(rate);
        limit.max_burst_bytes = Some(rate.max(BURST));
        relay.limits.client_rx = Some(limit);
        relay.access = Arc::new(Door(doorman));
        config.relay = Some(relay);
    }
    if let Some(address) = places.discovery {
        let mut quic = QuicConfig::new(address);
        quic.server_config = Some(tls.clone());
        config.quic = Some(quic);
    }
    // iroh's error names the reason, not always the port.
    let started = Server::spawn(config).await.map_err(|error| {
        let at = |place: Option<SocketAddr>| place.map_or("off".to_owned(), |a| a.to_string());
        format!(
            "cannot start the relay (TCP {}) or address discovery (UDP {}): {}",
            at(places.relay),
            at(places.discovery),
            chain(&error),
        )
    })?;
    Ok(Some(started))
}

/// Ends the relay connections of a device, also of one that is just being let in.
pub(crate) async fn expel(server: &Server, networks: &Networks, device: DeviceId) {
    let (Some(service), Ok(id)) = (
        server.relay_service().cloned(),
        EndpointId::from_bytes(&device.0),
    ) else {
        return;
    };
    service.clients().disconnect(id, None);
    tokio::time::sleep(AGAIN).await;
    if !networks.is_live(&device) {
        service.clients().disconnect(id, None);
    }
}

/// Sends guests away whose time is over. A joiner that still waits for an answer comes again with a new pass, if its
/// invite is still good.
pub(crate) async fn see_off(server: &Server, doorman: &Doorman, stay: Duration) {
    let Some(service) = server.relay_service().cloned() else {
        return;
    };
    let mut ticks = tokio::time::interval(LOOK.min(stay));
    loop {
        ticks.tick().await;
        for (connection, key) in doorman.overstayed(stay) {
            service.clients().disconnect(key, Some(connection));
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// TLS 1.3 with a certificate that the server's own key signs for itself: clients know the key, and ask nobody else.
pub(crate) fn certificate(seed: &[u8; 32], host: &str) -> Result<Certificate, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot make the certificate: {error}");
    // RFC 8410: version 0, id-Ed25519, the seed as an octet string in an octet string.
    let mut pkcs8 = Zeroizing::new(vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ]);
    pkcs8.reserve_exact(seed.len());
    pkcs8.extend_from_slice(seed);
    let secret = PrivatePkcs8KeyDer::from(pkcs8.to_vec());
    let key =
        KeyPair::from_pkcs8_der_and_sign_algo(&secret, &PKCS_ED25519).map_err(|e| failed(&e))?;
    let mut params = CertificateParams::new(vec![host.to_owned(), OWN_NAME.to_owned()])
        .map_err(|e| failed(&e))?;
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "mesh-server");
    let certificate = params.self_signed(&key).map_err(|e| failed(&e))?;
    let der = certificate.der().clone();
    let provider = mesh_guard::provider();
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| failed(&e))?
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], PrivateKeyDer::Pkcs8(secret))
        .map_err(|e| failed(&e))?;
    Ok(Certificate { der, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ticket_and_one_network_leave_room_for_other_joiners() {
        let joiner =
            |network: u8, ticket: u8| Is::Joiner(NetworkId([network; 32]), InviteKey([ticket; 32]));
        let mut guests = Vec::new();
        let mut come = |is: Is| {
            let room = has_room(guests.iter().copied(), is);
            guests.extend(room.then_some(is));
            room
        };
        let of_ticket = (0..100).filter(|_| come(joiner(1, 1))).count();
        assert_eq!(of_ticket, MAX_JOINERS_OF_TICKET);
        let of_network = (2..100).filter(|ticket| come(joiner(1, *ticket))).count();
        assert_eq!(of_ticket + of_network, MAX_JOINERS_OF_NETWORK);
        assert!(come(joiner(2, 1)));
        let others = (3..100).filter(|network| come(joiner(*network, 1))).count();
        assert_eq!(MAX_JOINERS_OF_NETWORK + 1 + others, MAX_JOINERS);
        // Others have places of their own.
        let device = |n: u8| DeviceId([n; 32]);
        assert!(come(Is::Deputy(device(1))));
        let founders = (0..100).filter(|n| come(Is::Founder(device(*n)))).count();
        assert_eq!(founders, MAX_FOUNDERS);
        let deputies = (0..100).filter(|_| come(Is::Deputy(device(1)))).count();
        assert_eq!(1 + deputies, MAX_DEPUTIES_OF_ONE);
    }
}

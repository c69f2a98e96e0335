//! Connections to servers, each by a socket of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iroh::dns::DnsResolver;
use iroh::endpoint::{
    ConnectOptions, Connection, IdleTimeout, NetReportConfig, PortmapperConfig,
    QuicTransportConfig, RelayMode, VarInt, presets,
};
use iroh::{EndpointAddr, EndpointId, RelayConfig, SecretKey, TransportAddr};
use mesh_ledger::alpn::{Relation, When};
use mesh_ledger::ids::ServerKey;
use mesh_ledger::mirror::{Pass, Permit};

use super::Endpoint;
use super::deputy::Deputy;
use super::pin::Pin;
use super::relays::{Names, Relay, RelayServer, Relays};
use crate::clock::now_ms;

/// A server that is gone is noticed after so long.
const SERVER_IDLE: Duration = Duration::from_secs(9);
const SERVER_KEEP_ALIVE: Duration = Duration::from_secs(3);

/// As what a server's relay is entered.
#[derive(Clone, Copy)]
pub(crate) enum Bearer<'a> {
    /// As a joiner, with its pass.
    Joiner(&'a Pass),
    /// As this device: a live one, or one that brings a network, with the operator's permit.
    Device(Option<Permit>),
}

/// The sockets beside the main one, each for one server: they are closed with it.
#[derive(Clone, Default)]
pub(super) struct Beside(Arc<Mutex<BTreeMap<u64, iroh::Endpoint>>>);

/// Closes one of them when dropped.
struct Open {
    beside: Beside,
    number: u64,
}

impl Beside {
    fn add(&self, iroh: iroh::Endpoint) -> Open {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = all.last_key_value().map_or(0, |(last, _)| last + 1);
        all.insert(number, iroh);
        Open {
            beside: self.clone(),
            number,
        }
    }

    pub(super) fn take(&self) -> Vec<iroh::Endpoint> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all).into_values().collect()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut all = self.beside.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(iroh) = all.remove(&self.number) {
            tokio::spawn(async move { iroh.close().await });
        }
    }
}

impl Endpoint {
    /// Connects to a server's mirror: whoever answers has that key. A server may run on this very machine.
    pub(crate) async fn connect_server(
        &self,
        key: &ServerKey,
        addresses: &[SocketAddr],
    ) -> Result<Connection, String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let id = EndpointId::from_bytes(&key.0).map_err(|error| failed(&error))?;
        let inner = self.inner.load();
        let outer = addresses.iter().filter(|a| !inner.contains(&a.ip()));
        let address = EndpointAddr::from_parts(id, outer.copied().map(TransportAddr::Ip));
        // iroh tells whoever it is connected to all addresses of its sockets, those of mesh interfaces too, which a server must
        // not learn: this socket has but the address from which the server is reached.
        let source = addresses.iter().find_map(|to| source(*to, &inner));
        let source = source.ok_or("no way leads to the server")?;
        let own = iroh::Endpoint::builder(presets::Minimal)
            .crypto_provider(mesh_guard::provider())
            .secret_key(self.iroh.secret_key().clone())
            .relay_mode(RelayMode::Disabled)
            .clear_address_lookup()
            .portmapper_config(PortmapperConfig::Disabled)
            .net_report_config(NetReportConfig::minimal())
            .clear_ip_transports()
            .bind_addr(SocketAddr::new(source, 0))
            .map_err(|error| failed(&error))?
            .bind()
            .await
            .map_err(|error| failed(&error))?;
        self.beside(own, address).await
    }

    /// The same through the server's relay alone, for who gets no answer from the mirror by UDP. Unless the relay is known,
    /// it is taken to be at the same port, by TCP. Who is no joiner comes as a [`Deputy`] of this device: the main socket uses
    /// the relay with the device's key, and of two with one key it serves the last.
    pub(crate) async fn connect_server_by_tcp(
        &self,
        key: &ServerKey,
        (host, port): &(String, u16),
        bearer: Bearer<'_>,
    ) -> Result<(Connection, Option<Deputy>), String> {
        let known = self.relays.get().get(key).cloned();
        if matches!(bearer, Bearer::Joiner(_)) && known.is_some() {
            return Err("its relay is in use".to_owned());
        }
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let guessed = RelayServer {
            key: *key,
            host: host.clone(),
            relay: Some(*port),
            discovery: None,
        };
        let relay = known
            .or_else(|| Relay::new(guessed, 0))
            .ok_or("its address is no name of a relay")?;
        let device = self.iroh.secret_key();
        let deputy = || {
            let secret = SecretKey::generate();
            let deputy = Deputy::new(device, *key, &secret);
            let word = deputy.word();
            (secret, Some(deputy), word)
        };
        let (secret, deputy, pass) = match bearer {
            Bearer::Joiner(pass) => (device.clone(), None, pass.clone()),
            Bearer::Device(None) => {
                let (secret, deputy, word) = deputy();
                (secret, deputy, Pass::Deputy(word))
            }
            Bearer::Device(Some(permit)) => {
                let (secret, deputy, word) = deputy();
                let proof = permit.proof(&word);
                (secret, deputy, Pass::Founder(word, proof))
            }
        };
        let relays = Relays::default();
        relays.set([(*key, relay.clone())].into());
        let place = RelayConfig::new(relay.url.clone(), None).with_auth_token(pass.text());
        let mut probes = NetReportConfig::minimal();
        probes.https_probes = true;
        let own = iroh::Endpoint::builder(presets::Minimal)
            .crypto_provider(mesh_guard::provider())
            .secret_key(secret)
            .relay_mode(RelayMode::Custom(place.into()))
            .ca_tls_config(Pin::config(relays.clone()))
            .dns_resolver(DnsResolver::custom(Names(relays)))
            .clear_address_lookup()
            .portmapper_config(PortmapperConfig::Disabled)
            .net_report_config(probes)
            .clear_ip_transports()
            .bind()
            .await
            .map_err(|error| failed(&error))?;
        let id = EndpointId::from_bytes(&key.0).map_err(|error| failed(&error))?;
        let address = EndpointAddr::from_parts(id, [TransportAddr::Relay(relay.url)]);
        Ok((self.beside(own, address).await?, deputy))
    }

    /// Connects by sockets of its own, which are closed when the connection is.
    async fn beside(&self, own: iroh::Endpoint, to: EndpointAddr) -> Result<Connection, String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let idle = IdleTimeout::try_from(SERVER_IDLE).map_err(|error| failed(&error))?;
        let transport = QuicTransportConfig::builder()
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(SERVER_KEEP_ALIVE)
            .default_path_max_idle_timeout(SERVER_IDLE)
            .default_path_keep_alive_interval(SERVER_KEEP_ALIVE)
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .build();
        // A server's clock may be wrong, or this machine's.
        let relation = Relation::server(&ServerKey(*to.id.as_bytes()));
        let name = |when| relation.name(to.id.as_bytes(), when);
        let (now, any) = (name(When::at(now_ms())), name(When::Any));
        let options = ConnectOptions::new()
            .with_transport_config(transport)
            .with_additional_alpns(vec![any.to_vec()]);
        let open = self.beside.add(own.clone());
        let connecting = own
            .connect_with_opts(to, &now, options)
            .await
            .map_err(|error| failed(&error))?;
        let connection = connecting.await.map_err(|error| failed(&error))?;
        let watched = connection.clone();
        tokio::spawn(async move {
            watched.closed().await;
            drop(open);
        });
        Ok(connection)
    }
}

/// The address of this machine from which packets to `to` leave, unless that is one of a mesh interface.
fn source(to: SocketAddr, inner: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Nothing is sent: connecting asks the system for the route alone.
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!inner.contains(&source)).then_some(source)
}

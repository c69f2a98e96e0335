//! An iroh endpoint to be attacked: it accepts, echoes, and dials where it is told.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it talks with the test by its output, and a surprise is a failure of the test"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use iroh::endpoint::{
    Connection, IdleTimeout, PortmapperConfig, QuicTransportConfig, RelayMode, VarInt, presets,
};
use iroh::{Endpoint, EndpointAddr, EndpointId, TransportAddr};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let alpn = words.next().expect("the protocol's name");
    let guarded = words.next().is_some_and(|word| word == "guarded");
    // It is made to abort, and nobody reads its memory.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).unwrap();
    let endpoint = bind(&alpn, guarded).await;
    let sockets = endpoint.bound_sockets();
    let address = sockets.iter().find(|a| a.is_ipv4()).unwrap();
    println!("{} {address}", endpoint.id());
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            tokio::spawn(async move {
                if let Ok(connection) = incoming.await {
                    echo(connection).await;
                }
            });
        }
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let ["dial", id, address] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("unknown order {line}");
        };
        let id: EndpointId = id.parse().unwrap();
        let address: SocketAddr = address.parse().unwrap();
        let address = EndpointAddr::from_parts(id, [TransportAddr::Ip(address)]);
        let (endpoint, alpn) = (endpoint.clone(), alpn.clone());
        tokio::spawn(async move { endpoint.connect(address, alpn.as_bytes()).await });
    }
}

/// Binds as the daemon does, on loopback.
async fn bind(alpn: &str, guarded: bool) -> Endpoint {
    let transport = QuicTransportConfig::builder()
        .initial_mtu(1400)
        .max_idle_timeout(Some(
            IdleTimeout::try_from(Duration::from_secs(12)).unwrap(),
        ))
        .keep_alive_interval(Duration::from_secs(4))
        .default_path_max_idle_timeout(Duration::from_secs(4))
        .default_path_keep_alive_interval(Duration::from_secs(2))
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_send_buffer_size(512 << 10)
        .datagram_receive_buffer_size(Some(4 << 20))
        .build();
    let mut builder = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .clear_address_lookup()
        .transport_config(transport)
        .alpns(vec![alpn.as_bytes().to_vec()])
        .clear_ip_transports()
        .bind_addr((Ipv4Addr::LOCALHOST, 0))
        .unwrap();
    if guarded {
        builder = builder.crypto_provider(mesh_guard::provider());
    }
    builder.bind().await.unwrap()
}

/// Sends back what comes in streams, until the connection ends.
async fn echo(connection: Connection) {
    while let Ok((mut answer, mut question)) = connection.accept_bi().await {
        let Ok(text) = question.read_to_end(1024).await else {
            continue;
        };
        if answer.write_all(&text).await.is_ok() {
            // The other side has gone if this fails.
            let _ = answer.finish();
        }
    }
}

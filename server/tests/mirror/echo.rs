//! The echo: devices learn where they are seen, strangers learn nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mesh_ledger::mirror::{Echo, Role};
use tokio::net::UdpSocket;

use crate::client::{Device, Host, PATIENCE, host};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_welcomed_device_learns_from_two_ports_where_it_is_seen_and_a_stranger_nothing() {
    let server = Host::start().await;
    let (world, _) = World::new("alice");
    let (_, stream) = host(&server, &world).await;
    drop(stream);
    let device = Device::connect(&world.owner.device, server.place()).await;
    let (_stream, welcome) = device.welcome(world.network, Role::Member(None)).await;
    let echo = welcome.echo.unwrap();

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let own = socket.local_addr().unwrap();
    let stranger = Echo::mint(&[7; 32], echo.ports, 1);
    for (nonce, port) in echo.ports.into_iter().enumerate() {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // One after the other: had the first an answer, it would come first.
        socket.send_to(&stranger.ask(9), to).await.unwrap();
        socket.send_to(&[0xC3; 2000], to).await.unwrap();
        socket.send_to(&echo.ask(nonce as u64), to).await.unwrap();
        let mut answer = [0; 100];
        let heard = tokio::time::timeout(PATIENCE, socket.recv_from(&mut answer));
        let (length, from) = heard.await.unwrap().unwrap();
        assert_eq!(from, to);
        assert_eq!(echo.heard(&answer[..length], nonce as u64), Some(own));
    }
    // And nothing behind it.
    let mut more = [0; 100];
    let more = tokio::time::timeout(Duration::from_millis(200), socket.recv_from(&mut more));
    assert!(more.await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_live_device_is_told_no_echo_and_a_server_may_have_none() {
    let server = Host::start().await;
    let (world, _) = World::new("alice");
    let (_alice, _live) = host(&server, &world).await;
    let (other, _) = World::with_subnet("mallory", "10.9.0.0/24");
    let mallory = Device::connect(&other.owner.device, server.place()).await;
    let (_, welcome) = mallory.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.echo, None);

    let server = Host::with(|options| options.echo = mesh_server::Door::Off).await;
    let (_alice, _live) = host(&server, &world).await;
    let device = Device::connect(&world.owner.device, server.place()).await;
    let (_, welcome) = device.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.echo, None);
}

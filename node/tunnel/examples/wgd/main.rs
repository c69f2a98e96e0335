//! A WireGuard over mesh's packet path that is run by stock `wg` alone, without a network or a ledger: to show that the path
//! is WireGuard's. As root:
//!
//! ```text
//! wgd 7        # makes mesh7, which has no address and is down
//! wg set mesh7 private-key FILE listen-port 51820 peer KEY endpoint 192.0.2.1:51820 allowed-ips 10.0.0.2/32
//! ip address add 10.0.0.1/24 dev mesh7 && ip link set mesh7 up
//! ```
//!
//! All ports are open to all peers. The packet path knows a peer by its addresses, so a subnet of allowed addresses may have at
//! most 256 of them. It ends with its standard input.

#![allow(clippy::print_stdout, reason = "it is a program")]

mod device;

use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_core::plan::InterfaceName;
use mesh_os::tun::{self, Tun};
use mesh_os::uapi::Server;
use mesh_os::watch::Watch;
use mesh_tunnel::Event;
use tokio::sync::mpsc;

use device::Device;

/// Where `wg` looks for sockets.
const SOCKETS: &str = "/var/run/wireguard";
/// Keepalives are due to the second.
const TICK: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let number = words.next().and_then(|word| word.parse().ok());
    let number = number.ok_or("usage: wgd NUMBER")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tun = Tun::create(InterfaceName::Number(number), tun::Options::default())?;
    runtime.block_on(serve(Arc::new(tun)))
}

async fn serve(tun: Arc<Tun>) -> Result<(), Box<dyn Error>> {
    let name = tun.name().to_owned();
    let (events, mut heard) = mpsc::unbounded_channel();
    let device = Arc::new(Mutex::new(Device::new(tun, events)));
    let lock = || device.lock().unwrap_or_else(PoisonError::into_inner);
    let answers = device.clone();
    let _server = Server::start(Path::new(SOCKETS), &name, move |request| {
        let answer = answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answer(&request);
        std::future::ready(answer)
    })?;
    println!("{name} is up");
    let mut watch = Watch::open()?;
    let mut end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = ticks.tick() => lock().tick(),
            Some(_) = watch.next() => lock().publish(),
            Some(event) = heard.recv() => {
                if let Event::Heard(peer, from) = event {
                    lock().roam(&peer, from);
                }
            }
            _ = &mut end => return Ok(()),
        }
    }
}

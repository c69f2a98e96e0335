//! Nebula, of Debian's package: a mesh that is no WireGuard, with certificates of an authority and a firewall.

use std::fs;
use std::path::Path;

use crate::machine::Machine;
use crate::system::{self, Failure, Tool};

pub(super) const NEBULA: Tool = Tool {
    command: "nebula",
    package: "nebula",
};

const INTERFACE: &str = "nebula1";
const MTU: u16 = 1420;
const PORT: u16 = 4242;

/// Makes a nebula of both, with iperf3's port open, and returns bob's address in it.
pub(super) fn start(alice: &Machine, bob: &Machine) -> Result<String, Failure> {
    let folder = system::root().join("target/others/nebula");
    let made = fs::remove_dir_all(&folder).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    made.and_then(|()| fs::create_dir_all(&folder))
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    let at = folder.display();
    alice.run(&format!(
        "nebula-cert ca -name bench -out-crt {at}/ca.crt -out-key {at}/ca.key"
    ))?;
    for (machine, number, other) in [(alice, 1, 2), (bob, 2, 1)] {
        machine.run(&format!(
            "nebula-cert sign -ca-crt {at}/ca.crt -ca-key {at}/ca.key -name {number} -ip 10.98.0.{number}/24 \
             -out-crt {at}/{number}.crt -out-key {at}/{number}.key"
        ))?;
        let file = folder.join(format!("{number}.yml"));
        fs::write(&file, config(&folder, number, other))
            .map_err(|error| format!("{}: {error}", file.display()))?;
        machine.shell(&format!(
            "nebula -config {} >/dev/null 2>&1 &",
            file.display()
        ))?;
    }
    let tries =
        "for n in $(seq 50); do ping -n -c 1 -W 1 10.98.0.2 && exit; sleep 0.2; done; exit 1";
    alice.shell(tries)?;
    Ok("10.98.0.2".to_owned())
}

fn config(folder: &Path, number: u8, other: u8) -> String {
    let at = folder.display();
    format!(
        "pki: {{ca: {at}/ca.crt, cert: {at}/{number}.crt, key: {at}/{number}.key}}
static_host_map: {{'10.98.0.{other}': ['192.168.7.{other}:{PORT}']}}
lighthouse: {{am_lighthouse: false}}
listen: {{host: 0.0.0.0, port: {PORT}}}
tun: {{dev: {INTERFACE}, mtu: {MTU}}}
firewall:
  outbound: [{{port: any, proto: any, host: any}}]
  inbound:
    - {{port: any, proto: icmp, host: any}}
    - {{port: 5201, proto: tcp, host: any}}
    - {{port: 5201, proto: udp, host: any}}
"
    )
}

//! `cargo bench-vpn`: the tunnel beside Debian's wireguard-go, in one run, on two machines made of namespaces.
//!
//! The two take turns, so that whatever else the real machine does meets both; what counts is the ratio within a round,
//! and of the ratios the median. Both have their policy on. CPU time is that of the daemons at both ends, per gigabyte.

use serde_json::Value;

use crate::machine::Machine;
use crate::system::{self, Failure, IP, Tool};

const ROUNDS: usize = 5;
const SECONDS: &str = "5";

const IPERF: Tool = Tool {
    command: "iperf3",
    package: "iperf3",
};
const WG: Tool = Tool {
    command: "wg",
    package: "wireguard-tools",
};
const WIREGUARD_GO: Tool = Tool {
    command: "wireguard-go",
    package: "wireguard-go",
};

/// Builds the release programs and compares.
pub(crate) fn run() -> Result<(), Failure> {
    system::ensure(&[IP, IPERF, WG, WIREGUARD_GO])?;
    println!("building with optimisation");
    system::step(&mut system::cargo(&[
        "build",
        "--release",
        "--workspace",
        "--bins",
        "--locked",
    ]))?;
    let programs = system::programs()?.with_file_name("release");
    let switch = Machine::switch()?;
    let (alice, bob) = (
        Machine::new("alice", &programs)?,
        Machine::new("bob", &programs)?,
    );
    alice.plug(&switch, "192.168.7.1")?;
    bob.plug(&switch, "192.168.7.2")?;
    let mesh = Tunnel {
        name: "mesh",
        process: "meshd",
        address: start_mesh(&alice, &bob)?,
    };
    let other = Tunnel {
        name: "wireguard-go",
        process: "wireguard-go",
        address: start_wireguard(&alice, &bob)?,
    };
    bob.run("iperf3 --server --daemon")?;

    println!(
        "{:8}{:>16}{:>16}{:>10}{:>10}",
        "TCP", mesh.name, other.name, "ratio", "CPU/GB"
    );
    for streams in ["1", "4"] {
        let (mut speed, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let ours = mesh.measure(&alice, &bob, streams)?;
            let theirs = other.measure(&alice, &bob, streams)?;
            speed.push(ours.gigabits / theirs.gigabits);
            cpu.push(ours.cpu_per_gigabyte / theirs.cpu_per_gigabyte);
            println!(
                "×{streams:7}{:>9.2} Gbit/s{:>9.2} Gbit/s{:>10.2}{:>10.2}",
                ours.gigabits,
                theirs.gigabits,
                ours.gigabits / theirs.gigabits,
                ours.cpu_per_gigabyte / theirs.cpu_per_gigabyte
            );
        }
        println!(
            "×{streams:7}{:>42}{:>10.2}{:>10.2}",
            "median",
            median(speed),
            median(cpu)
        );
    }
    println!(
        "ratios are mesh to wireguard-go: more speed and less CPU time per gigabyte are better"
    );
    Ok(())
}

struct Tunnel {
    name: &'static str,
    /// What its daemon is called.
    process: &'static str,
    /// Bob's address in it.
    address: String,
}

struct Figures {
    gigabits: f64,
    /// Seconds, at both ends together.
    cpu_per_gigabyte: f64,
}

impl Tunnel {
    fn measure(&self, from: &Machine, to: &Machine, streams: &str) -> Result<Figures, Failure> {
        let before = cpu_seconds(from, self.process)? + cpu_seconds(to, self.process)?;
        let words = [
            "iperf3",
            "--json",
            "--client",
            &self.address,
            "--time",
            SECONDS,
            "--parallel",
            streams,
        ];
        let output = from.output(&words)?;
        let after = cpu_seconds(from, self.process)? + cpu_seconds(to, self.process)?;
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let received = &told["end"]["sum_received"];
        match (
            received["bits_per_second"].as_f64(),
            received["bytes"].as_f64(),
        ) {
            (Some(bits), Some(bytes)) if bytes > 0.0 => Ok(Figures {
                gigabits: bits / 1e9,
                cpu_per_gigabyte: (after - before) / (bytes / 1e9),
            }),
            _ => Err(format!(
                "iperf3 through {}: {}",
                self.name,
                told["error"].as_str().unwrap_or("it told nothing")
            )),
        }
    }
}

/// Makes a mesh of both, with iperf3's port offered, and returns bob's address in it.
fn start_mesh(alice: &Machine, bob: &Machine) -> Result<String, Failure> {
    alice.run("mesh create home --as alice")?;
    let ticket = alice.output(&["mesh", "invite"])?.stdout;
    bob.run(&format!(
        "mesh join {} --as bob",
        String::from_utf8_lossy(&ticket).trim()
    ))?;
    bob.run("mesh share 5201/tcp")?;
    let told = bob.output(&["mesh", "--json", "id", "show"])?.stdout;
    let told: Value = serde_json::from_slice(&told).unwrap_or_default();
    let address = told["networks"][0]["address"]
        .as_str()
        .ok_or("`mesh id show` tells no address")?
        .to_owned();
    alice.run(&format!("mesh ping {address} --count 1"))?;
    Ok(address)
}

/// Makes a WireGuard tunnel of both, and returns bob's address in it.
fn start_wireguard(alice: &Machine, bob: &Machine) -> Result<String, Failure> {
    for machine in [alice, bob] {
        // It leaves its daemon in the background by itself.
        machine.run("wireguard-go wg0")?;
        shell(
            machine,
            "umask 077 && wg genkey > /run/wg.key && wg set wg0 private-key /run/wg.key listen-port 51900",
        )?;
    }
    for (machine, peer, address, last) in [
        (alice, bob, "192.168.7.2", 2),
        (bob, alice, "192.168.7.1", 1),
    ] {
        let key = shell(peer, "wg pubkey < /run/wg.key")?;
        let peer = format!(
            "wg set wg0 peer {} endpoint {address}:51900 allowed-ips 10.99.0.{last}/32",
            key.trim()
        );
        machine.run(&peer)?;
        machine.run(&format!("ip address add 10.99.0.{}/24 dev wg0", 3 - last))?;
        machine.run("ip link set wg0 mtu 1420 up")?;
    }
    alice.run("ping -n -c 1 -W 5 10.99.0.2")?;
    Ok("10.99.0.2".to_owned())
}

fn shell(machine: &Machine, script: &str) -> Result<String, Failure> {
    let output = machine.output(&["sh", "-c", script])?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "`{script}` on {}: {}",
        machine.name,
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

/// CPU time of all processes of that name on a machine. See proc(5): fields 14 and 15 of stat, in hundredths.
fn cpu_seconds(machine: &Machine, process: &str) -> Result<f64, Failure> {
    let stats = shell(machine, "cat /proc/[0-9]*/stat 2>/dev/null || true")?;
    let ticks = stats.lines().filter_map(|line| {
        let (front, rest) = line.rsplit_once(") ")?;
        let name = front.split_once(" (")?.1;
        let fields: Vec<&str> = rest.split(' ').collect();
        let time = |field: usize| fields.get(field)?.parse::<f64>().ok();
        (name == process)
            .then(|| time(11).zip(time(12)))?
            .map(|(user, system)| user + system)
    });
    Ok(ticks.sum::<f64>() / 100.0)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

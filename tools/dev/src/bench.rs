//! `cargo bench-vpn`: the tunnel beside Debian's wireguard-go, in one run, on two machines made of namespaces.
//!
//! They take turns, so that whatever else the real machine does meets all; what counts is the ratio within a round, and of
//! the ratios the median. Ours have their policy on. CPU time is that of the daemons at both ends. The packet path is
//! measured a second time without a daemon (`node/tunnel/examples/pair.rs`), so that it shows which of the two a change
//! concerns.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::machine::Machine;
use crate::system::{self, Failure, IP, PING, Tool, WG, WIREGUARD_GO};

const ROUNDS: usize = 5;
const SECONDS: &str = "5";
const TRIES: usize = 5;

const IPERF: Tool = Tool {
    command: "iperf3",
    package: "iperf3",
};

/// Builds the release programs and compares.
pub(crate) fn run() -> Result<(), Failure> {
    system::ensure(&[IP, IPERF, PING, WG, WIREGUARD_GO])?;
    println!("building with optimisation");
    system::step(&mut system::cargo(&[
        "build",
        "--release",
        "--workspace",
        "--bins",
        "--examples",
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
    let tunnels = [
        Tunnel {
            name: "mesh",
            process: "meshd",
            address: start_mesh(&alice, &bob)?,
        },
        Tunnel {
            name: "its packet path alone",
            process: "pair",
            address: start_pair(&alice, &bob, &programs.join("examples/pair"))?,
        },
        // The last is what the others are compared with.
        Tunnel {
            name: "wireguard-go",
            process: "wireguard-go",
            address: start_wireguard(&alice, &bob)?,
        },
    ];
    bob.run("iperf3 --server --daemon")?;
    for load in [Load::Tcp("1"), Load::Tcp("4"), Load::Small, Load::Ping] {
        compare(&tunnels, load, &alice, &bob)?;
    }
    println!("memory of both daemons together, in MB:");
    for tunnel in &tunnels {
        let kilobytes = tunnel.memory(&alice)? + tunnel.memory(&bob)?;
        println!("  {:24}{:10.1}", tunnel.name, kilobytes / 1e3);
    }
    Ok(())
}

/// Lets all carry the load in turn, and prints each one's figures and its median ratio to the last.
fn compare(tunnels: &[Tunnel], load: Load, from: &Machine, to: &Machine) -> Result<(), Failure> {
    // By tunnel, figure and round.
    let mut told = vec![vec![Vec::new(); load.figures().len()]; tunnels.len()];
    for _ in 0..ROUNDS {
        for (tunnel, told) in tunnels.iter().zip(&mut told) {
            for (figure, told) in tunnel.measure(load, from, to)?.into_iter().zip(told) {
                told.push(figure);
            }
        }
    }
    let Some(base) = told.last() else {
        return Ok(());
    };
    for (place, figure) in load.figures().iter().enumerate() {
        println!("{figure}, in {ROUNDS} rounds, and the median of the ratios to wireguard-go:");
        for (tunnel, told) in tunnels.iter().zip(&told) {
            let (Some(told), Some(base)) = (told.get(place), base.get(place)) else {
                continue;
            };
            let ratios = told.iter().zip(base).map(|(ours, theirs)| ours / theirs);
            let rounds: String = told.iter().map(|figure| format!("{figure:10.2}")).collect();
            let ratio = median(ratios.collect());
            println!("  {:24}{rounds}{ratio:12.2}", tunnel.name);
        }
    }
    Ok(())
}

/// What a tunnel is made to carry.
#[derive(Clone, Copy)]
enum Load {
    /// So many TCP streams, as fast as they go.
    Tcp(&'static str),
    /// Datagrams of 64 bytes, as many as go.
    Small,
    /// Pings beside 200 Mbit/s.
    Ping,
}

impl Load {
    fn figures(self) -> &'static [&'static str] {
        match self {
            Self::Tcp("1") => &["TCP ×1, Gbit/s", "TCP ×1, CPU seconds per GB"],
            Self::Tcp(_) => &["TCP ×4, Gbit/s", "TCP ×4, CPU seconds per GB"],
            Self::Small => &["datagrams of 64 bytes that arrive, thousands a second"],
            Self::Ping => &["ping beside 200 Mbit/s, mean in ms"],
        }
    }
}

struct Tunnel {
    name: &'static str,
    /// What its daemon is called.
    process: &'static str,
    /// Bob's address in it.
    address: String,
}

impl Tunnel {
    /// The figures of a load, in their order.
    fn measure(&self, load: Load, from: &Machine, to: &Machine) -> Result<Vec<f64>, Failure> {
        let datagrams = |length, rate| ["--udp", "--length", length, "--bitrate", rate];
        match load {
            Load::Tcp(streams) => {
                let before = self.cpu_seconds(from)? + self.cpu_seconds(to)?;
                let told = self.iperf(from, &["--parallel", streams])?;
                let after = self.cpu_seconds(from)? + self.cpu_seconds(to)?;
                let received = &told["end"]["sum_received"];
                let bytes = self.number(&told, &received["bytes"])?;
                let bits = self.number(&told, &received["bits_per_second"])?;
                Ok(vec![bits / 1e9, (after - before) / (bytes / 1e9)])
            }
            Load::Small => {
                let told = self.iperf(from, &datagrams("64", "0"))?;
                let sum = &told["end"]["sum"];
                let sent = self.number(&told, &sum["packets"])?;
                let lost = self.number(&told, &sum["lost_packets"])?;
                let seconds = self.number(&told, &sum["seconds"])?;
                Ok(vec![(sent - lost) / seconds / 1e3])
            }
            Load::Ping => {
                let words = self.iperf_words(&datagrams("1200", "200M"));
                let mut load = from
                    .command(&words)?
                    .stdout(Stdio::null())
                    .spawn()
                    .map_err(|error| format!("iperf3 did not start: {error}"))?;
                let pings = shell(from, &format!("ping -q -c 200 -i 0.02 {}", self.address));
                load.wait().map_err(|error| error.to_string())?;
                // rtt min/avg/max/mdev = 0.1/0.2/0.3/0.1 ms
                let pings = pings?;
                let mean = pings
                    .rsplit_once(" = ")
                    .and_then(|(_, figures)| figures.split('/').nth(1)?.parse().ok());
                Ok(vec![mean.ok_or_else(|| format!("ping told {pings}"))?])
            }
        }
    }

    fn iperf_words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        let all = [
            "iperf3",
            "--json",
            "--client",
            &self.address,
            "--time",
            SECONDS,
        ];
        [&all, words].concat()
    }

    fn iperf(&self, from: &Machine, words: &[&str]) -> Result<Value, Failure> {
        let mut told = Value::Null;
        for _ in 0..TRIES {
            let output = from.output(&self.iperf_words(words))?;
            told = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if told["error"].is_null() {
                break;
            }
            // Its server is not always ready for the next at once.
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(told)
    }

    /// A number that iperf3 told.
    fn number(&self, told: &Value, number: &Value) -> Result<f64, Failure> {
        number
            .as_f64()
            .filter(|number| *number >= 0.0)
            .ok_or_else(|| {
                format!(
                    "iperf3 through {}: {}",
                    self.name,
                    told["error"].as_str().unwrap_or("it told nothing")
                )
            })
    }

    /// CPU time of its daemon on a machine. See proc(5): fields 14 and 15 of stat, in hundredths.
    fn cpu_seconds(&self, machine: &Machine) -> Result<f64, Failure> {
        let stats = shell(machine, "cat /proc/[0-9]*/stat 2>/dev/null || true")?;
        let ticks = stats.lines().filter_map(|line| {
            let (front, rest) = line.rsplit_once(") ")?;
            let name = front.split_once(" (")?.1;
            let fields: Vec<&str> = rest.split(' ').collect();
            let time = |field: usize| fields.get(field)?.parse::<f64>().ok();
            (name == self.process)
                .then(|| time(11).zip(time(12)))?
                .map(|(user, system)| user + system)
        });
        Ok(ticks.sum::<f64>() / 100.0)
    }

    /// What its daemon on a machine holds in memory, in kilobytes.
    fn memory(&self, machine: &Machine) -> Result<f64, Failure> {
        let script = format!(
            "grep -lx {} /proc/[0-9]*/comm | sed s/comm/status/ | xargs grep -h VmRSS",
            self.process
        );
        let lines = shell(machine, &script)?;
        let figures = lines
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1));
        Ok(figures
            .filter_map(|figure| figure.parse::<f64>().ok())
            .sum())
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
    bob.run("mesh share 5201/udp")?;
    let told = bob.output(&["mesh", "--json", "id", "show"])?.stdout;
    let told: Value = serde_json::from_slice(&told).unwrap_or_default();
    let address = told["networks"][0]["address"]
        .as_str()
        .ok_or("`mesh id show` tells no address")?
        .to_owned();
    alice.run(&format!("mesh ping {address} --count 1"))?;
    Ok(address)
}

/// Makes a tunnel of both without daemons, and returns bob's address in it.
fn start_pair(alice: &Machine, bob: &Machine, program: &Path) -> Result<String, Failure> {
    for (machine, number, other) in [(alice, 1, "192.168.7.2"), (bob, 2, "192.168.7.1")] {
        // It ends with its input, which is never; the machine's end is its own.
        let script = format!(
            "(sleep infinity | {} {number} {other}) >/dev/null 2>&1 &",
            program.display()
        );
        shell(machine, &script)?;
    }
    // Until both are up there is no way to the address at all.
    let tries =
        "for n in $(seq 50); do ping -n -c 1 -W 1 10.88.0.2 && exit; sleep 0.2; done; exit 1";
    shell(alice, tries)?;
    Ok("10.88.0.2".to_owned())
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

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

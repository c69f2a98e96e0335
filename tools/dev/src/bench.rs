//! `cargo bench-vpn`: the tunnel beside Debian's wireguard-go and nebula and beside boringtun-cli, in one run, on two machines
//! made of namespaces.
//!
//! They take turns, so that whatever else the real machine does meets all; what counts is the ratio within a round, and of
//! the ratios the median. Ours have their policy on. CPU time is that of the daemons at both ends. The packet path is
//! measured a second time without a daemon (`node/tunnel/examples/pair.rs`), so that it shows which of the two a change
//! concerns. boringtun-cli has no Debian package: it is built here, and done without where it cannot be.

mod nebula;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::machine::Machine;
use crate::system::{self, Failure, IP, PING, Tool, WG, WIREGUARD_GO};

const ROUNDS: usize = 5;
const SECONDS: &str = "5";
const TRIES: usize = 5;
/// What the others are compared with.
const STOCKS: &[&str] = &["wireguard-go", "boringtun-cli", "nebula"];
const BORINGTUN: &str = "0.7.1";

const IPERF: Tool = Tool {
    command: "iperf3",
    package: "iperf3",
};

/// Builds the release programs and compares.
pub(crate) fn run() -> Result<(), Failure> {
    system::ensure(&[IP, IPERF, PING, WG, WIREGUARD_GO, nebula::NEBULA])?;
    let programs = system::release()?;
    let switch = Machine::switch()?;
    let (alice, bob) = (
        Machine::new("alice", &programs)?,
        Machine::new("bob", &programs)?,
    );
    alice.plug(&switch, "192.168.7.1")?;
    bob.plug(&switch, "192.168.7.2")?;
    let mut tunnels = vec![
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
    ];
    // All others are compared with each of these.
    let mut stocks = vec![Stock {
        name: "wireguard-go",
        program: "wireguard-go".to_owned(),
        number: 0,
    }];
    match boringtun() {
        Ok(program) => stocks.push(Stock {
            name: "boringtun-cli",
            // As root, as the others are.
            program: format!("{} --disable-drop-privileges", program.display()),
            number: 1,
        }),
        Err(error) => println!("without boringtun-cli, which is not to be had here: {error}"),
    }
    for stock in &stocks {
        tunnels.push(Tunnel {
            name: stock.name,
            process: stock.name,
            address: start_wireguard(&alice, &bob, stock)?,
        });
    }
    tunnels.push(Tunnel {
        name: "nebula",
        process: "nebula",
        address: nebula::start(&alice, &bob)?,
    });
    bob.run("iperf3 --server --daemon")?;
    for load in [Load::Tcp("1"), Load::Tcp("4"), Load::Small, Load::Ping] {
        compare(&tunnels, load, &alice, &bob)?;
    }
    println!("memory of both daemons together, in MB:");
    for tunnel in &tunnels {
        let kilobytes = alice.memory(tunnel.process)? + bob.memory(tunnel.process)?;
        println!("  {:24}{:10.1}", tunnel.name, kilobytes / 1e3);
    }
    Ok(())
}

/// Lets all carry the load in turn, and prints each one's figures and its median ratios to the stock ones, which are the last.
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
    let stock = |tunnel: &Tunnel| STOCKS.contains(&tunnel.name);
    let bases: Vec<_> = tunnels
        .iter()
        .zip(&told)
        .filter(|(tunnel, _)| stock(tunnel))
        .collect();
    let names: Vec<&str> = bases.iter().map(|(tunnel, _)| tunnel.name).collect();
    let names = names.join(", to ");
    for (place, figure) in load.figures().iter().enumerate() {
        println!("{figure}, in {ROUNDS} rounds, and the medians of the ratios to {names}:");
        for (tunnel, told) in tunnels.iter().zip(&told) {
            let Some(told) = told.get(place) else {
                continue;
            };
            let rounds: String = told.iter().map(|figure| format!("{figure:10.2}")).collect();
            let ratios = bases.iter().filter_map(|(_, base)| {
                let ratios = told.iter().zip(base.get(place)?);
                Some(median(ratios.map(|(ours, theirs)| ours / theirs).collect()))
            });
            let ratios: String = ratios.map(|ratio| format!("{ratio:12.2}")).collect();
            println!("  {:24}{rounds}{ratios}", tunnel.name);
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
                let before = from.cpu_seconds(self.process)? + to.cpu_seconds(self.process)?;
                let told = self.iperf(from, &["--parallel", streams])?;
                let after = from.cpu_seconds(self.process)? + to.cpu_seconds(self.process)?;
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
                let pings = from.shell(&format!("ping -q -c 200 -i 0.02 {}", self.address));
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
        machine.shell(&script)?;
    }
    // Until both are up there is no way to the address at all.
    let tries =
        "for n in $(seq 50); do ping -n -c 1 -W 1 10.88.0.2 && exit; sleep 0.2; done; exit 1";
    alice.shell(tries)?;
    Ok("10.88.0.2".to_owned())
}

/// Another WireGuard that `wg` runs.
struct Stock {
    /// What it is called, and its process.
    name: &'static str,
    program: String,
    /// Its own, from which interface, port and addresses are made.
    number: u8,
}

/// Builds boringtun-cli, if it was not built before, and says where it is.
fn boringtun() -> Result<PathBuf, Failure> {
    let folder = system::root().join("target/others");
    let program = folder.join("bin/boringtun-cli");
    if !program.exists() {
        println!("building boringtun-cli {BORINGTUN}");
        let mut install = system::cargo(&["install", "boringtun-cli", "--locked"]);
        install
            .args(["--version", BORINGTUN, "--root"])
            .arg(&folder);
        system::step(&mut install)?;
    }
    Ok(program)
}

/// Makes a WireGuard tunnel of both, and returns bob's address in it.
fn start_wireguard(alice: &Machine, bob: &Machine, stock: &Stock) -> Result<String, Failure> {
    let number = stock.number;
    let (interface, net) = (format!("wg{number}"), format!("10.99.{number}"));
    let port = 51900 + u16::from(number);
    for machine in [alice, bob] {
        // It leaves its daemon in the background by itself.
        machine.run(&format!("{} {interface}", stock.program))?;
        machine.shell(&format!(
            "umask 077 && wg genkey > /run/{interface}.key && wg set {interface} private-key /run/{interface}.key listen-port {port}"
        ))?;
    }
    for (machine, peer, address, last) in [
        (alice, bob, "192.168.7.2", 2),
        (bob, alice, "192.168.7.1", 1),
    ] {
        let key = peer.shell(&format!("wg pubkey < /run/{interface}.key"))?;
        let peer = format!(
            "wg set {interface} peer {} endpoint {address}:{port} allowed-ips {net}.{last}/32",
            key.trim()
        );
        machine.run(&peer)?;
        let own = 3 - last;
        machine.run(&format!("ip address add {net}.{own}/24 dev {interface}"))?;
        machine.run(&format!("ip link set {interface} mtu 1420 up"))?;
    }
    alice.run(&format!("ping -n -c 1 -W 5 {net}.2"))?;
    Ok(format!("{net}.2"))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

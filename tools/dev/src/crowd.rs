//! `cargo bench-crowd`: many machines, made of namespaces, behind one router. Whether each of fifty reaches each other one, what a
//! daemon costs then, and what it costs when it does nothing and knows a hundred peers: half of them on, and few.
//!
//! It fails when a pair does not reach each other. As a test it would be too slow: the daemons of fifty machines have much
//! to do before they rest, and here they share a few cores.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine::Machine;
use crate::system::{self, Failure, IP, PING};

/// How many there are of what.
#[derive(clap::Args)]
pub(crate) struct Crowd {
    /// Machines that are on, and all ping each other
    #[arg(long, default_value_t = 50)]
    machines: usize,
    /// Peers that each daemon knows: more of them joined, and went off
    #[arg(long, default_value_t = 100)]
    peers: usize,
    /// Machines that stay on at last
    #[arg(long, default_value_t = 10)]
    stay: usize,
}

/// So many act at a time.
const AT_ONCE: usize = 3;
/// How many daemons are measured.
const MEASURED: usize = 5;
const SECONDS: u64 = 60;
/// A network of so few is linked altogether.
const MOST_LINKS: usize = 17;
const TRIES: usize = 3;
/// After the last change it all comes to rest: ways that were looked for are given up, who is gone is noticed.
const REST: Duration = Duration::from_secs(150);
const PATIENCE: Duration = Duration::from_secs(180);

/// Builds the release programs and measures.
pub(crate) fn run(crowd: &Crowd) -> Result<(), Failure> {
    system::ensure(&[IP, PING])?;
    let programs = system::release()?;
    let router = Machine::new("router", Path::new("/"))?;
    router.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")?;
    let machine = |number: usize| {
        let machine = Machine::new(&format!("m{number}"), &programs)?;
        machine.route(&router, number)?;
        Ok::<Machine, Failure>(machine)
    };
    let mut machines = (1..=crowd.machines)
        .map(machine)
        .collect::<Result<Vec<_>, Failure>>()?;
    let (first, others) = machines.split_first().ok_or("no machine")?;
    first.run("mesh create crowd --as m1")?;
    let known = crowd.machines.max(crowd.peers + 1);
    let ticket = first.shell(&format!("mesh invite --uses {known}"))?;
    let numbers: Vec<usize> = (crowd.machines + 1..=known).collect();
    each(&numbers, |number| join(&machine(*number)?, ticket.trim()))?;
    println!("{} machines joined, and went off", numbers.len());
    let begun = Instant::now();
    each(others, |machine| join(machine, ticket.trim()))?;
    println!(
        "{} machines joined, {AT_ONCE} at a time, in {:.1?}, and stay on",
        others.len(),
        begun.elapsed()
    );
    all_known(&machines, known)?;
    idle(&machines, known)?;
    few_links(&machines)?;
    ping_all(&machines)?;
    for machine in machines.iter().take(MEASURED) {
        println!("  {:4} {}", machine.name, cost(machine)?);
    }
    machines.truncate(crowd.stay);
    idle(&machines, known)
}

/// Joins. While the real machine has much else to do, a sponsor may answer too late; whoever types it does so again.
fn join(machine: &Machine, ticket: &str) -> Result<(), Failure> {
    let line = format!("mesh join {ticket} --as {}", machine.name);
    let mut tried = machine.run(&line);
    for _ in 0..TRIES {
        let Err(failure) = &tried else { break };
        println!("again: {failure}");
        tried = machine.run(&line);
    }
    tried
}

/// Prints what the first daemons cost while nobody does anything.
fn idle(machines: &[Machine], known: usize) -> Result<(), Failure> {
    std::thread::sleep(REST);
    // Whom all joined by is linked with all at first.
    let measured = machines.get(1..=MEASURED).unwrap_or(machines);
    let spent = || {
        let all = measured.iter().map(|machine| machine.cpu_seconds("meshd"));
        all.collect::<Result<Vec<f64>, Failure>>()
    };
    let (begun, before) = (Instant::now(), spent()?);
    std::thread::sleep(Duration::from_secs(SECONDS));
    let (after, took) = (spent()?, begun.elapsed().as_secs_f64());
    println!(
        "idle for {SECONDS} s, each knows {} peers of which {} are on:",
        known - 1,
        machines.len() - 1
    );
    for ((machine, before), after) in measured.iter().zip(before).zip(after) {
        println!(
            "  {:4}{:8.2} % of a CPU, {} links, {}",
            machine.name,
            (after - before) * 100.0 / took,
            linked(machine)?,
            cost(machine)?
        );
    }
    Ok(())
}

/// Whom all joined by was linked with all: those links that nobody wants have ended meanwhile.
fn few_links(machines: &[Machine]) -> Result<(), Failure> {
    let first = machines.first().ok_or("no machine")?;
    let links = linked(first)?;
    println!(
        "{}, by which all joined, has {links} links left",
        first.name
    );
    if links > MOST_LINKS.max(machines.len() / 2) {
        return Err(format!("{links} links are too many"));
    }
    Ok(())
}

/// Waits until each knows all.
fn all_known(machines: &[Machine], known: usize) -> Result<(), Failure> {
    let begun = Instant::now();
    each(machines, |machine| {
        while members(machine)? < known {
            if begun.elapsed() > PATIENCE {
                let found = members(machine)?;
                return Err(format!("{} knows {found} members", machine.name));
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    })?;
    println!(
        "all of {} know all, {:.1?} after the last join",
        machines.len(),
        begun.elapsed()
    );
    Ok(())
}

/// Each pings those behind it, until a ping is answered.
fn ping_all(machines: &[Machine]) -> Result<(), Failure> {
    let addresses = machines
        .iter()
        .map(address)
        .collect::<Result<Vec<String>, Failure>>()?;
    let numbered: Vec<(usize, &Machine)> = machines.iter().enumerate().collect();
    let begun = Instant::now();
    each(&numbered, |(place, machine)| {
        let others = addresses.get(place + 1..).unwrap_or_default().join(" ");
        let script = format!(
            "for a in {others}; do ping -n -q -c 1 -i 0.2 -w 30 $a >/dev/null || echo $a; done"
        );
        let silent = machine.shell(&script)?;
        if silent.is_empty() {
            return Ok(());
        }
        Err(format!("{} does not reach {}", machine.name, silent.trim()))
    })?;
    let pairs = machines.len() * machines.len().saturating_sub(1) / 2;
    println!(
        "all {pairs} pairs reach each other, pinged in {:.1?}",
        begun.elapsed()
    );
    Ok(())
}

/// Does it with each, [`AT_ONCE`] at a time, until one fails.
fn each<T: Sync>(
    all: &[T],
    work: impl Fn(&T) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let go = || {
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(one)?;
        }
        Ok::<(), Failure>(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(go)).collect();
        let results = threads.into_iter().map(|thread| {
            let panicked = |_| Err("a thread panicked".to_owned());
            thread.join().unwrap_or_else(panicked)
        });
        results.collect()
    })
}

fn cost(machine: &Machine) -> Result<String, Failure> {
    let (megabytes, seconds) = (
        machine.memory("meshd")? / 1e3,
        machine.cpu_seconds("meshd")?,
    );
    Ok(format!(
        "holds {megabytes:.1} MB and has taken {seconds:.1} s of CPU time"
    ))
}

fn address(machine: &Machine) -> Result<String, Failure> {
    let told = machine.output(&["mesh", "--json", "id", "show"])?.stdout;
    let told: Value = serde_json::from_slice(&told).unwrap_or_default();
    let address = told["networks"][0]["address"].as_str();
    Ok(address.ok_or("`mesh id show` tells no address")?.to_owned())
}

fn members(machine: &Machine) -> Result<usize, Failure> {
    let told = machine.output(&["mesh", "--json", "member", "ls"])?.stdout;
    let told: Value = serde_json::from_slice(&told).unwrap_or_default();
    Ok(told["members"].as_array().map_or(0, Vec::len))
}

/// How many peers a machine has a path to, or a link.
fn linked(machine: &Machine) -> Result<usize, Failure> {
    let told = machine.output(&["mesh", "--json", "status"])?.stdout;
    let told: Value = serde_json::from_slice(&told).unwrap_or_default();
    let peers = told["networks"][0]["peers"].as_array();
    let direct = |peer: &&Value| {
        peer["path"]
            .as_str()
            .is_some_and(|path| path.starts_with("direct"))
    };
    Ok(peers.map_or(0, |peers| peers.iter().filter(direct).count()))
}

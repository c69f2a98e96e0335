//! `cargo demo`: the main job, typed out. What it shows is what a user types; only the three machines are made up.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine::Machine;
use crate::system::{self, Failure, IP, NC, PING};

/// Builds mesh, makes three machines on one LAN, and shows a mesh from its first command to a kick.
pub(crate) fn run() -> Result<(), Failure> {
    system::ensure(&[IP, PING, NC])?;
    say("Building mesh and meshd");
    system::step(&mut system::cargo(&[
        "build",
        "--workspace",
        "--bins",
        "--locked",
    ]))?;

    say("Three machines on one LAN, in namespaces that vanish with this program");
    let switch = Machine::switch()?;
    let programs = system::programs()?;
    let machine = |name| Machine::new(name, &programs);
    let (alice, bob, carol) = (machine("alice")?, machine("bob")?, machine("carol")?);
    for (machine, address) in [
        (&alice, "192.168.7.1"),
        (&bob, "192.168.7.2"),
        (&carol, "192.168.7.3"),
    ] {
        machine.plug(&switch, address)?;
        println!("  {}  {address}", machine.name);
    }

    let shown = show(&alice, &bob, &carol);
    if shown.is_err() {
        for machine in [&alice, &bob, &carol] {
            let log = machine.output(&["tail", "-n", "20", "/var/lib/mesh/meshd.log"])?;
            eprintln!(
                "\n--- the end of meshd.log on {} ---\n{}",
                machine.name,
                String::from_utf8_lossy(&log.stdout)
            );
        }
    }
    shown
}

fn show(alice: &Machine, bob: &Machine, carol: &Machine) -> Result<(), Failure> {
    say("A network: alice makes it and owns it");
    typed(
        alice,
        &["mesh", "create", "home", "--as", "alice"],
        Expect::Success,
    )?;

    say("Members: alice invites, bob and carol join with the ticket; no server takes part");
    for machine in [bob, carol] {
        let ticket = typed(alice, &["mesh", "invite"], Expect::Success)?;
        typed(
            machine,
            &["mesh", "join", ticket.trim(), "--as", &machine.name],
            Expect::Success,
        )?;
    }

    say("They reach each other: by address and by name, with the system's ping and with mesh's");
    let bobs = address(bob)?;
    let alices = address(alice)?;
    typed(alice, &["ping", "-n", "-c", "2", &bobs.0], Expect::Success)?;
    typed(alice, &["ping", "-n", "-c", "2", &bobs.1], Expect::Success)?;
    typed(alice, &["ping", "-c", "2", "bob"], Expect::Success)?;
    typed(carol, &["ping", "-c", "2", "bob.home"], Expect::Success)?;
    typed(
        carol,
        &["mesh", "ping", "bob", "--count", "2"],
        Expect::Success,
    )?;
    typed(alice, &["mesh", "status"], Expect::Success)?;

    say("A port: bob runs a service; nobody gets in, because bob has not offered it");
    let _service = Service::new(bob, "8080")?;
    typed(
        alice,
        &["nc", "-v", "-w", "2", &bobs.0, "8080"],
        Expect::Failure,
    )?;

    say("bob offers it to alice: alice gets in, carol does not");
    typed(
        bob,
        &[
            "mesh", "share", "8080/tcp", "--to", "alice", "--name", "greeting",
        ],
        Expect::Success,
    )?;
    eventually("bob's service greets alice", || {
        Ok(alice
            .output(&["nc", "-w", "2", &bobs.0, "8080"])?
            .stdout
            .starts_with(b"hello"))
    })?;
    typed(
        alice,
        &["nc", "-v", "-w", "2", &bobs.0, "8080"],
        Expect::Success,
    )?;
    typed(
        carol,
        &["nc", "-v", "-w", "2", &bobs.0, "8080"],
        Expect::Failure,
    )?;
    typed(alice, &["mesh", "offers"], Expect::Success)?;

    say("A kick: alice removes carol, and every peer cuts carol off by itself");
    typed(
        alice,
        &["mesh", "kick", "carol", "--reason", "end of the demo"],
        Expect::Success,
    )?;
    eventually("carol is cut off", || {
        Ok(!carol
            .output(&["ping", "-n", "-c", "1", "-W", "1", &bobs.0])?
            .status
            .success())
    })?;
    typed(
        carol,
        &["ping", "-n", "-c", "2", "-W", "1", &bobs.0],
        Expect::Failure,
    )?;
    typed(bob, &["ping", "-n", "-c", "2", &alices.0], Expect::Success)?;

    say(
        "Who did what: every line is a signed event, and bob's copy verifies without asking anybody",
    );
    typed(bob, &["mesh", "log"], Expect::Success)?;
    typed(bob, &["mesh", "log", "verify"], Expect::Success)?;

    say("And away: down leaves no interface, address or route behind");
    typed(bob, &["mesh", "down"], Expect::Success)?;
    typed(bob, &["ip", "-brief", "address"], Expect::Success)?;
    println!("\nThat is all. The machines, and everything on them, are gone now.");
    Ok(())
}

/// How a command must end.
#[derive(PartialEq, Eq)]
enum Expect {
    Success,
    Failure,
}

/// Shows a command, runs it, shows what it says, and returns its standard output.
fn typed(machine: &Machine, words: &[&str], expect: Expect) -> Result<String, Failure> {
    println!(
        "\n{}# {}",
        machine.name,
        words
            .iter()
            .map(|word| shown(word))
            .collect::<Vec<_>>()
            .join(" ")
    );
    let output = machine.output(words)?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    for line in stdout.lines().chain(stderr.lines()) {
        println!("  {line}");
    }
    if output.status.success() == (expect == Expect::Success) {
        return Ok(stdout.into_owned());
    }
    let should = if expect == Expect::Success {
        "succeed"
    } else {
        "fail"
    };
    Err(format!(
        "the command above should {should}, but: {}",
        output.status
    ))
}

/// A word as a person would type it; a ticket is long, and was shown just above.
fn shown(word: &str) -> String {
    match word {
        ticket if ticket.starts_with("MESH:") => {
            format!("{}...", &ticket.chars().take(13).collect::<String>())
        }
        spaced if spaced.contains(' ') => format!("\"{spaced}\""),
        plain => plain.to_owned(),
    }
}

fn say(what: &str) {
    println!("\n=== {what}");
}

/// The machine's IPv4 and IPv6 address in its network, as `mesh id show` says.
fn address(machine: &Machine) -> Result<(String, String), Failure> {
    let output = machine.output(&["mesh", "--json", "id", "show"])?;
    let wrong = || format!("`mesh id show` on {} tells no address", machine.name);
    let value: Value = serde_json::from_slice(&output.stdout).map_err(|_| wrong())?;
    let text = |key: &str| {
        value["networks"][0][key]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(wrong)
    };
    Ok((text("address")?, text("address6")?))
}

/// Asks until it is so: the daemons need a moment to tell each other.
fn eventually(what: &str, mut check: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let begun = Instant::now();
    while !check()? {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("not within 10 s: {what}"));
        }
    }
    Ok(())
}

/// A service that greets who connects, one after the other.
struct Service {
    child: Child,
}

impl Service {
    fn new(machine: &Machine, port: &str) -> Result<Self, Failure> {
        let script =
            format!("while echo hello from $(hostname) | nc -l -N {port} >/dev/null; do :; done");
        println!(
            "\n{}# while echo hello from $(hostname) | nc -l -N {port}; do :; done &",
            machine.name
        );
        let mut command: Command = machine.command(&["sh", "-c", &script])?;
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("nc did not start: {error}"))?;
        let service = Self { child };
        eventually("nc listens", || {
            let sockets = machine.output(&["cat", "/proc/net/tcp", "/proc/net/tcp6"])?;
            let listening = format!(":{:04X} ", port.parse::<u16>().unwrap_or_default());
            Ok(String::from_utf8_lossy(&sockets.stdout).contains(&listening))
        })?;
        Ok(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! `cargo demo`: the main job, typed out. What it shows is what a user types; only the machines are made up.

mod internet;
mod typed;

use serde_json::Value;

use self::internet::{Home, Internet, Nat};
use self::typed::{Background, Expect, eventually, say, service, typed};
use crate::machine::Machine;
use crate::system::{self, Failure, IP, NC, NFT, PING};

/// Builds mesh, makes a small internet, and shows a mesh on it from its first command to a kick.
pub(crate) fn run() -> Result<(), Failure> {
    system::ensure(&[IP, NFT, PING, NC])?;
    say("Building mesh, meshd and mesh-server");
    system::step(&mut system::cargo(&[
        "build",
        "--workspace",
        "--bins",
        "--locked",
    ]))?;

    say("A small internet, in namespaces that vanish with this program");
    let world = World::new()?;
    println!("{PICTURE}");
    let shown = world.show();
    if shown.is_err() {
        world.show_logs()?;
    }
    shown
}

const PICTURE: &str = "
                       server 203.0.113.10
                               |
     --------------------- the internet ---------------------
     |                         |                            |
  router .1                router .2                    router .3
  a home's NAT             a home's NAT                 a hotel's NAT, symmetric
     |                         |                            |
  alice                      bob                          carol, a laptop

  Nobody outside can reach alice, bob or carol. All three are 192.168.1.something.";

const SERVER: &str = "203.0.113.10";

struct World {
    server: Machine,
    alice: Machine,
    bob: Machine,
    carol: Machine,
    homes: [Home; 3],
    _internet: Internet,
}

impl World {
    fn new() -> Result<Self, Failure> {
        let programs = system::programs()?;
        let machine = |name| Machine::new(name, &programs);
        let internet = Internet::new()?;
        let (server, alice, bob, carol) = (
            machine("server")?,
            machine("alice")?,
            machine("bob")?,
            machine("carol")?,
        );
        internet.plug(&server, SERVER)?;
        let homes = [
            internet.home("alices-router", "203.0.113.1", Nat::Home)?,
            internet.home("bobs-router", "203.0.113.2", Nat::Home)?,
            internet.home("hotel-router", "203.0.113.3", Nat::Symmetric)?,
        ];
        for (home, machine, address) in [
            (&homes[0], &alice, "192.168.1.10"),
            (&homes[1], &bob, "192.168.1.20"),
            (&homes[2], &carol, "192.168.1.30"),
        ] {
            home.plug(machine, address)?;
        }
        Ok(Self {
            server,
            alice,
            bob,
            carol,
            homes,
            _internet: internet,
        })
    }

    fn show(&self) -> Result<(), Failure> {
        let (serving, text) = self.serve()?;
        self.found(&text)?;
        self.go_direct()?;
        self.share()?;
        self.roam()?;
        self.without_server(serving)?;
        self.look_back()
    }

    /// Starts the server, and returns what it is called.
    fn serve(&self) -> Result<(Background, String), Failure> {
        say(
            "A server: anybody can run one. It stores what is sealed, relays what is encrypted, decides nothing",
        );
        let line = format!("mesh-server run --host {SERVER}");
        let script = format!("echo $$ >/run/pid; exec {line} >/run/told 2>/run/mesh-server.log");
        let serving = Background::new(&self.server, &line, &script)?;
        let mut text = String::new();
        eventually("the server says what it is called", || {
            let told = self.server.output(&["cat", "/run/told"])?.stdout;
            text = String::from_utf8_lossy(&told).into_owned();
            Ok(text.ends_with('\n'))
        })?;
        println!("  {}", text.trim());
        Ok((serving, text.trim().to_owned()))
    }

    fn found(&self, server: &str) -> Result<(), Failure> {
        say("A network: alice makes it and owns it; that line is all it takes to use the server");
        let create = [
            "mesh", "create", "home", "--as", "alice", "--server", server,
        ];
        typed(&self.alice, &create, Expect::Success)?;

        say("Members: alice invites, bob and carol join with the ticket, wherever they are");
        for machine in [&self.bob, &self.carol] {
            let ticket = typed(&self.alice, &["mesh", "invite"], Expect::Success)?;
            let join = ["mesh", "join", ticket.trim(), "--as", &machine.name];
            typed(machine, &join, Expect::Success)?;
        }

        say("They reach each other by name");
        typed(&self.bob, &["ping", "-c", "2", "alice"], Expect::Success)?;
        typed(
            &self.carol,
            &["mesh", "ping", "bob", "--count", "2"],
            Expect::Success,
        )?;
        Ok(())
    }

    fn go_direct(&self) -> Result<(), Failure> {
        say(
            "The packets of alice and bob leave the relay as soon as both routers let them; carol's hotel does not",
        );
        let Self {
            alice, bob, carol, ..
        } = self;
        eventually("alice and bob reach each other directly", || {
            Ok(reach(alice, "bob")? == "direct" && reach(bob, "alice")? == "direct")
        })?;
        eventually("carol is reached by the relay", || {
            Ok(reach(alice, "carol")? == "relay" && reach(carol, "alice")? == "relay")
        })?;
        typed(alice, &["mesh", "status"], Expect::Success)?;
        typed(
            alice,
            &["mesh", "ping", "bob", "--count", "2"],
            Expect::Success,
        )?;
        Ok(())
    }

    fn share(&self) -> Result<(), Failure> {
        let Self {
            alice, bob, carol, ..
        } = self;
        say("A port: bob runs a service; nobody gets in, because bob has not offered it");
        let _service = service(bob, 8080)?;
        typed(
            alice,
            &["nc", "-v", "-w", "2", "bob", "8080"],
            Expect::Failure,
        )?;

        say("bob offers it to alice: alice gets in, carol does not");
        let share = [
            "mesh", "share", "8080/tcp", "--to", "alice", "--name", "greeting",
        ];
        typed(bob, &share, Expect::Success)?;
        eventually("bob's service greets alice", || {
            let said = alice.output(&["nc", "-w", "2", "bob", "8080"])?.stdout;
            Ok(said.starts_with(b"hello"))
        })?;
        typed(
            alice,
            &["nc", "-v", "-w", "2", "bob", "8080"],
            Expect::Success,
        )?;
        typed(
            carol,
            &["nc", "-v", "-w", "2", "bob", "8080"],
            Expect::Failure,
        )?;
        typed(alice, &["mesh", "offers"], Expect::Success)?;
        Ok(())
    }

    fn roam(&self) -> Result<(), Failure> {
        let Self { alice, carol, .. } = self;
        say(
            "carol leaves the hotel and visits alice: the laptop is plugged in there, and nothing is typed",
        );
        self.homes[0].plug(carol, "192.168.1.11")?;
        eventually("alice and carol reach each other directly", || {
            Ok(reach(alice, "carol")? == "direct" && reach(carol, "alice")? == "direct")
        })?;
        typed(
            carol,
            &["mesh", "ping", "alice", "--count", "2"],
            Expect::Success,
        )?;
        typed(carol, &["mesh", "status"], Expect::Success)?;
        Ok(())
    }

    fn without_server(&self, serving: Background) -> Result<(), Failure> {
        let Self {
            alice, bob, carol, ..
        } = self;
        say("The server goes off: who has a direct path needs it no more");
        println!("\nserver# kill %1");
        let stop = "kill $(cat /run/pid)";
        let _ = self.server.output(&["sh", "-c", stop])?;
        serving.ends()?;
        typed(
            alice,
            &["mesh", "ping", "bob", "--count", "2"],
            Expect::Success,
        )?;

        say(
            "A kick, with the server off: alice removes carol, and every peer cuts carol off by itself",
        );
        let bobs = address(bob)?;
        let kick = ["mesh", "kick", "carol", "--reason", "end of the demo"];
        typed(alice, &kick, Expect::Success)?;
        eventually("carol is cut off", || {
            let ping = carol.output(&["ping", "-n", "-c", "1", "-W", "1", &bobs])?;
            Ok(!ping.status.success())
        })?;
        typed(
            carol,
            &["ping", "-n", "-c", "2", "-W", "1", &bobs],
            Expect::Failure,
        )?;
        typed(bob, &["ping", "-c", "2", "alice"], Expect::Success)?;
        Ok(())
    }

    fn look_back(&self) -> Result<(), Failure> {
        let bob = &self.bob;
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

    fn show_logs(&self) -> Result<(), Failure> {
        let meshd = "/var/lib/mesh/meshd.log";
        for (machine, file) in [
            (&self.alice, meshd),
            (&self.bob, meshd),
            (&self.carol, meshd),
            (&self.server, "/run/mesh-server.log"),
        ] {
            let log = machine.output(&["tail", "-n", "20", file])?;
            eprintln!(
                "\n--- the end of {file} on {} ---\n{}",
                machine.name,
                String::from_utf8_lossy(&log.stdout)
            );
        }
        Ok(())
    }
}

/// The machine's IPv4 address in its network, as `mesh id show` says.
fn address(machine: &Machine) -> Result<String, Failure> {
    let told = asked(machine, &["mesh", "--json", "id", "show"])?;
    let address = told["networks"][0]["address"].as_str();
    let wrong = || format!("`mesh id show` on {} tells no address", machine.name);
    address.map(str::to_owned).ok_or_else(wrong)
}

/// How a machine reaches a peer: `direct`, `relay`, `offline`, or empty while it does not know it.
fn reach(machine: &Machine, peer: &str) -> Result<String, Failure> {
    let told = asked(machine, &["mesh", "--json", "status"])?;
    let peers = told["networks"][0]["peers"].as_array();
    let peer = peers.and_then(|peers| peers.iter().find(|known| known["name"] == peer));
    let reach = peer.and_then(|peer| peer["reach"].as_str());
    Ok(reach.unwrap_or_default().to_owned())
}

/// What a command says in JSON; nothing where it says none.
fn asked(machine: &Machine, words: &[&str]) -> Result<Value, Failure> {
    let output = machine.output(words)?;
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

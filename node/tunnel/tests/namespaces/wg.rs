//! What WireGuard's own test of itself does with `wg`, done with stock `wg` at both ends: one is stock too, the other is this
//! packet path ([`examples/wgd`]).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use data_encoding::BASE64;
use x25519_dalek::{PublicKey, StaticSecret};

use super::lab::{Namespace, attempt, own_run, run};
use super::{SOON, pattern};

#[test]
fn stock_wg_runs_both_ends_a_stock_one_and_ours() {
    let Some(world) = World::new() else {
        return;
    };
    let World { stock, ours, .. } = &world;
    for (end, other) in world.pairs() {
        end.wg(&format!("set IF listen-port {} private-key KEY", end.port));
        end.wg(&format!(
            "set IF peer {} preshared-key {} endpoint {}:{} allowed-ips 10.77.0.{n}/32,fd77::{n}/128",
            other.public(),
            world.file(33),
            other.outer(),
            other.port,
            n = other.number,
        ));
    }

    // Both ways, over both families.
    for (end, other) in world.pairs() {
        let n = other.number;
        end.reaches(&format!("10.77.0.{n}"));
        end.run(&format!("ping -c 10 -i 0.01 -W 5 10.77.0.{n}"));
        end.run(&format!("ping -c 10 -i 0.01 -W 5 -s 1300 fd77::{n}"));
    }
    // They agree about every byte, also about handshakes and keepalives.
    world.eventually("both count the same", || {
        let ([rx, tx], [other_rx, other_tx]) = (stock.transfer(), ours.transfer());
        rx > 20_000 && tx > 20_000 && (rx, tx) == (other_tx, other_rx)
    });
    for (end, other) in world.pairs() {
        world.sends_much(end, other);
    }
    for (end, other) in world.pairs() {
        let dump = end.wg("show IF dump");
        let lines: Vec<Vec<&str>> = dump
            .lines()
            .map(|line| line.split('\t').collect())
            .collect();
        assert_eq!(
            lines[0][1..],
            [&end.public(), &*end.port.to_string(), "off"]
        );
        assert_eq!(lines[1][..2], [&other.public(), &*BASE64.encode(&[33; 32])]);
        assert_eq!(lines[1][2], format!("{}:{}", other.outer(), other.port));
        let mut allowed: Vec<&str> = lines[1][3].split(',').collect();
        allowed.sort_unstable();
        let n = other.number;
        assert_eq!(
            allowed,
            [format!("10.77.0.{n}/32"), format!("fd77::{n}/128")]
        );
        assert_eq!(lines[1][7], "off");
        let age = end.wg("show IF");
        assert!(
            age.contains("latest handshake: ") && age.contains("ago"),
            "{age}"
        );
    }
    let interfaces = ours.wg("show interfaces");
    let mut interfaces: Vec<&str> = interfaces.split_whitespace().collect();
    interfaces.sort_unstable();
    assert_eq!(interfaces, [&ours.interface, &stock.interface]);
}

#[test]
fn keys_change_and_peers_move_and_go_as_wg_says() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.introduce();
    // A private key changes at one end, which the other is told.
    for changed in [1, 2] {
        let (old, new) = {
            let end = world.end_mut(changed);
            let old = end.public();
            end.key += 10;
            (old, end.public())
        };
        let (end, other) = world.pair(changed);
        end.wg("set IF private-key KEY");
        other.wg(&format!("set IF peer {old} remove"));
        other.knows(end);
        assert_eq!(other.wg("show IF peers").trim(), new);
        world.reach_each_other();
    }
    // Begun anew, a session needs the secret at both ends, if one has it.
    let World { stock, ours, .. } = &world;
    ours.wg(&format!("set IF peer {} remove", stock.public()));
    ours.knows(stock);
    let secret = |end: &End, other: &End| {
        end.wg(&format!(
            "set IF peer {} preshared-key {}",
            other.public(),
            world.file(44)
        ));
    };
    secret(ours, stock);
    assert!(!ours.attempt("ping -c 1 -W 0.3 10.77.0.1"));
    secret(stock, ours);
    ours.reaches("10.77.0.1");
    world.reach_each_other();

    // Each end moves, and is found by what it sends.
    for (end, other) in world.pairs() {
        let n = end.number;
        end.run(&format!("ip address delete 192.168.7.{n}/24 dev cable"));
        end.run(&format!("ip address add 192.168.7.1{n}/24 dev cable"));
        // The stock one goes on to send from the address that it had, until it is told anew where to.
        let to = other.wg("show IF listen-port");
        let at = other.outer_now();
        end.wg(&format!(
            "set IF peer {} endpoint {at}:{}",
            other.public(),
            to.trim()
        ));
        end.reaches(&format!("10.77.0.{}", other.number));
        let moved = format!("192.168.7.1{n}:{}", end.port);
        world.eventually(&format!("{n} is found at {moved}"), || {
            end.attempt(&format!("ping -c 1 -W 1 10.77.0.{}", other.number));
            other.wg("show IF endpoints").contains(&moved)
        });
        other.reaches(&format!("10.77.0.{n}"));
        // And another port.
        end.wg(&format!("set IF listen-port {}", end.port + 100));
        let moved = format!("192.168.7.1{n}:{}", end.port + 100);
        world.eventually(&format!("{n} is found at {moved}"), || {
            end.attempt(&format!("ping -c 1 -W 1 10.77.0.{}", other.number));
            other.wg("show IF endpoints").contains(&moved)
        });
        world.reach_each_other();
    }

    // An address becomes another peer's: what has it is not sent to the first, nor taken from it. The longer prefix wins.
    let nobody = BASE64.encode(PublicKey::from(&StaticSecret::from([99; 32])).as_bytes());
    for (end, other) in world.pairs() {
        let n = other.number;
        end.wg(&format!(
            "set IF peer {nobody} allowed-ips 10.77.0.{n}/32 endpoint 192.168.7.99:9"
        ));
        assert!(
            !end.wg("show IF allowed-ips")
                .contains(&format!("{}\t10.77.0.{n}/32", other.public()))
        );
        for (from, to) in [(end, other), (other, end)] {
            let target = format!("10.77.0.{}", to.number);
            assert!(
                !from.attempt(&format!("ping -c 1 -W 0.3 {target}")),
                "{target}"
            );
        }
        end.run(&format!("ping -c 1 -W 5 fd77::{n}"));
        end.wg(&format!(
            "set IF peer {nobody} allowed-ips 10.77.0.0/24 peer {} allowed-ips 10.77.0.{n}/32,fd77::{n}/128",
            other.public()
        ));
        world.reach_each_other();
        end.wg(&format!("set IF peer {nobody} remove"));
    }

    // Who is removed is out, and a file brings it back as the only one.
    for (end, other) in world.pairs() {
        end.wg(&format!("set IF peer {} remove", other.public()));
        assert_eq!(end.wg("show IF peers"), "");
        assert!(!end.attempt(&format!("ping -c 1 -W 0.3 10.77.0.{}", other.number)));
        assert!(!other.attempt(&format!("ping -c 1 -W 0.3 10.77.0.{}", end.number)));
        end.wg(&format!("set IF peer {nobody} allowed-ips 10.77.0.77/32"));
        let (n, file) = (other.number, world.folder.path().join("configuration"));
        let port: u16 = other.wg("show IF listen-port").trim().parse().unwrap();
        let text = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {}\n\n[Peer]\nPublicKey = {}\nPresharedKey = {}\n\
             Endpoint = 192.168.7.1{n}:{port}\nAllowedIPs = 10.77.0.{n}/32, fd77::{n}/128\nPersistentKeepalive = 1\n",
            BASE64.encode(&[end.key; 32]),
            end.port,
            other.public(),
            BASE64.encode(&[44; 32]),
        );
        std::fs::write(&file, text).unwrap();
        end.wg(&format!("setconf IF {}", file.display()));
        // Nothing is sent through it: a keepalive begins the session, and others follow.
        world.eventually("a keepalive makes a session", || {
            end.transfer()[0] > 0 && end.transfer()[1] >= 148 + 3 * 32
        });
        world.reach_each_other();
        assert_eq!(end.wg("show IF peers").trim(), other.public());
        let shown = end.wg("showconf IF");
        assert!(shown.contains("PersistentKeepalive = 1\n"), "{shown}");
        // A private key is shown with the bits set that every use of it sets, or without.
        assert!(shown.contains("PrivateKey = "), "{shown}");
        assert_eq!(end.wg("show IF public-key").trim(), end.public());
    }
}

#[test]
fn what_the_packet_path_does_not_do_is_refused_whole_and_nobody_else_may_ask() {
    let Some(world) = World::new() else {
        return;
    };
    world.introduce();
    let ours = &world.ours;
    let before = ours.wg("show IF dump");
    let nobody = BASE64.encode(PublicKey::from(&StaticSecret::from([99; 32])).as_bytes());
    ours.namespace.enter();
    let taken = std::net::UdpSocket::bind("0.0.0.0:777").unwrap();
    for (order, why) in [
        ("set IF fwmark 7", "Operation not supported"),
        (
            &*format!("set IF peer {nobody} allowed-ips 10.77.0.9/32,0.0.0.0/0"),
            "Operation not supported",
        ),
        ("set IF listen-port 777", "Address already in use"),
    ] {
        let (done, said) = ours.try_wg(order);
        assert!(!done && said.contains(why), "{order}: {said}");
    }
    drop(taken);
    let stable = |dump: &str| {
        let first: Vec<&str> = dump.lines().collect();
        (first.len(), first[0].to_owned())
    };
    assert_eq!(stable(&ours.wg("show IF dump")), stable(&before));
    world.reach_each_other();

    // Whatever the modes, it is for root alone.
    let socket = format!("/run/wireguard/{}.sock", ours.interface);
    run("chmod 755 /run/wireguard");
    run(&format!("chmod 777 {socket}"));
    let (done, said) = attempt(&format!(
        "setpriv --reuid 65534 --clear-groups wg show {} public-key",
        ours.interface
    ));
    assert!(!done, "{said}");
    assert_eq!(ours.wg("show IF public-key").trim(), ours.public());
}

/// One end.
struct End {
    number: u8,
    key: u8,
    port: u16,
    interface: String,
    namespace: Namespace,
    process: Child,
    folder: PathBuf,
}

/// Two ends on one cable.
struct World {
    stock: End,
    ours: End,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Option<Self> {
        let namespaces = (Namespace::new()?, Namespace::new()?);
        let stock = Command::new("wireguard-go").arg("--version").output();
        if stock.is_err() {
            eprintln!(
                "SKIPPED: there is no wireguard-go; `apt-get install wireguard-go wireguard-tools` installs it"
            );
            return None;
        }
        own_run();
        let folder = tempfile::tempdir().unwrap();
        for byte in 0..60 {
            let path = folder.path().join(format!("key{byte}"));
            std::fs::write(path, BASE64.encode(&[byte; 32])).unwrap();
        }
        namespaces.0.enter();
        run("ip link add cable type veth peer name other");
        let path = namespaces.1.path();
        run(&format!("ip link set other netns {path} name cable"));
        let mut stock = Command::new("wireguard-go");
        stock.args(["--foreground", "wg1"]).stdout(Stdio::null());
        let stock = End::new(1, namespaces.0, "wg1", stock, folder.path().to_owned());
        let mut ours = Command::new(example("wgd"));
        ours.arg("2").stdout(Stdio::piped());
        let ours = End::new(2, namespaces.1, "mesh2", ours, folder.path().to_owned());
        Some(Self {
            stock,
            ours,
            folder,
        })
    }

    fn pairs(&self) -> [(&End, &End); 2] {
        [(&self.stock, &self.ours), (&self.ours, &self.stock)]
    }

    /// The end of this number, and the other.
    fn pair(&self, number: u8) -> (&End, &End) {
        self.pairs()[usize::from(number) - 1]
    }

    fn end_mut(&mut self, number: u8) -> &mut End {
        if number == 1 {
            &mut self.stock
        } else {
            &mut self.ours
        }
    }

    fn introduce(&self) {
        for (end, other) in self.pairs() {
            end.wg(&format!("set IF listen-port {} private-key KEY", end.port));
            end.knows(other);
        }
        self.reach_each_other();
    }

    #[track_caller]
    fn reach_each_other(&self) {
        for (end, other) in self.pairs() {
            end.reaches(&format!("10.77.0.{}", other.number));
        }
    }

    fn file(&self, byte: u8) -> String {
        let path = self.folder.path().join(format!("key{byte}"));
        path.display().to_string()
    }

    fn sends_much(&self, from: &End, to: &End) {
        const LENGTH: usize = 4 << 20;
        let target: SocketAddr = format!("10.77.0.{}:9000", to.number).parse().unwrap();
        to.namespace.enter();
        let listener = TcpListener::bind(target).unwrap();
        from.namespace.enter();
        let mut client = TcpStream::connect_timeout(&target, SOON).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let sender = std::thread::spawn(move || client.write_all(&pattern(LENGTH)).unwrap());
        let mut got = Vec::with_capacity(LENGTH);
        server.read_to_end(&mut got).unwrap();
        sender.join().unwrap();
        assert!(got == pattern(LENGTH), "to {target}");
    }

    #[track_caller]
    fn eventually(&self, what: &str, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            let [stock, ours] = [&self.stock, &self.ours].map(|end| end.wg("show IF"));
            assert!(begun.elapsed() < SOON, "{what}:\n{stock}\n{ours}");
            std::thread::yield_now();
        }
    }
}

impl End {
    fn new(
        number: u8,
        namespace: Namespace,
        interface: &str,
        mut program: Command,
        folder: PathBuf,
    ) -> Self {
        namespace.enter();
        run(&format!("ip address add 192.168.7.{number}/24 dev cable"));
        run("ip link set cable up");
        let child = program
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut end = Self {
            number,
            key: number,
            port: 10_000 + u16::from(number),
            interface: interface.to_owned(),
            namespace,
            process: child,
            folder,
        };
        if let Some(output) = end.process.stdout.take() {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).unwrap();
            assert_eq!(line, format!("{interface} is up\n"));
        }
        let begun = Instant::now();
        while !end.try_wg("show IF").0 {
            assert!(begun.elapsed() < SOON, "{interface} must start");
            std::thread::yield_now();
        }
        end.run(&format!(
            "ip address add 10.77.0.{number}/24 dev {interface}"
        ));
        end.run(&format!(
            "ip address add fd77::{number}/64 dev {interface} nodad"
        ));
        end.run(&format!("ip link set {interface} mtu 1420 up"));
        end
    }

    fn public(&self) -> String {
        let public = PublicKey::from(&StaticSecret::from([self.key; 32]));
        BASE64.encode(public.as_bytes())
    }

    /// Its address on the cable, also after it has moved.
    fn outer_now(&self) -> String {
        self.namespace.enter();
        let said = run("ip -o -4 address show dev cable");
        let subnet = said.split_whitespace().nth(3).unwrap();
        subnet.trim_end_matches("/24").to_owned()
    }

    fn outer(&self) -> String {
        format!("192.168.7.{}", self.number)
    }

    fn knows(&self, other: &Self) {
        self.wg(&format!(
            "set IF peer {} endpoint {}:{} allowed-ips 10.77.0.{n}/32,fd77::{n}/128",
            other.public(),
            other.outer(),
            other.port,
            n = other.number,
        ));
    }

    /// `wg`, with the interface's name for `IF` and the file of its key for `KEY`.
    #[track_caller]
    fn wg(&self, words: &str) -> String {
        let (done, said) = self.try_wg(words);
        assert!(done, "wg {words}: {said}");
        said
    }

    fn try_wg(&self, words: &str) -> (bool, String) {
        let key = self.folder.join(format!("key{}", self.key));
        let key = key.display().to_string();
        // Whole words alone: a folder's name that is made at random may hold either.
        let words = words.split(' ').map(|word| match word {
            "IF" => &self.interface,
            "KEY" => key.as_str(),
            _ => word,
        });
        attempt(&format!("wg {}", words.collect::<Vec<&str>>().join(" ")))
    }

    #[track_caller]
    fn run(&self, line: &str) {
        assert!(self.attempt(line), "{}: {line}", self.interface);
    }

    fn attempt(&self, line: &str) -> bool {
        self.namespace.enter();
        attempt(line).0
    }

    #[track_caller]
    fn reaches(&self, target: &str) {
        let begun = Instant::now();
        while !self.attempt(&format!("ping -c 1 -W 1 {target}")) {
            assert!(
                begun.elapsed() < SOON,
                "{} must reach {target}: {}",
                self.interface,
                run("wg show all"),
            );
        }
    }

    /// Bytes received and sent, with its only peer.
    fn transfer(&self) -> [u64; 2] {
        let said = self.wg("show IF transfer");
        let numbers: Vec<u64> = said
            .split_whitespace()
            .skip(1)
            .map(|number| number.parse().unwrap())
            .collect();
        numbers.try_into().unwrap()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An example of this crate, which is built beside its tests.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().nth(2).unwrap();
    let path = folder.join("examples").join(name);
    assert!(
        path.exists(),
        "no {}; type: cargo build -p mesh-tunnel --examples",
        path.display()
    );
    path
}

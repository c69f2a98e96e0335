//! The real binary: killed, stopped, asked, and on a file system that is full.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mesh_ledger::mirror::message::{Failure, MAX_EVENTS};
use mesh_ledger::mirror::tip::contradiction;
use mesh_ledger::mirror::{Request, Response, Role, ServerAddress};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::client::{Device, all, merges};
use crate::world::{Side, World};

const BINARY: &str = env!("CARGO_BIN_EXE_mesh-server");

pub(crate) struct Process {
    child: Child,
    address: ServerAddress,
}

impl Process {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = line.parse().unwrap_or_else(|error| panic!("{error}"));
        Self { child, address }
    }

    pub(crate) fn run(data: &Path) -> Self {
        // Another build, to compare with.
        let binary = std::env::var_os("MESH_SERVER").unwrap_or_else(|| BINARY.into());
        let mut command = Command::new(binary);
        command
            .args(["run", "--listen", "127.0.0.1:0", "--data"])
            .arg(data);
        Self::start(command)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn owner(&self, world: &World) -> (Device, crate::client::Stream) {
        let place = (
            (self.address.ip().unwrap(), self.address.port).into(),
            self.address.key,
        );
        let device = Device::connect(&world.owner.device, place).await;
        let role = Role::Member(self.address.permit);
        let (stream, _) = device.welcome(world.network, role).await;
        (device, stream)
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It is over already where the test ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Pushes ever more events, and returns those that were acknowledged, when the server is gone.
async fn push_until_gone(
    process: &Process,
    world: &mut World,
    side: &mut Side,
) -> (Vec<Vec<u8>>, Vec<mesh_ledger::mirror::SignedTip>) {
    let (_device, mut stream) = process.owner(world).await;
    let (mut sure, mut tips) = (Vec::new(), Vec::new());
    // What the server may lack of the past, then ever more.
    let old = all(world);
    let mut past = old.chunks(MAX_EVENTS);
    let server = Pid::from_raw(i32::try_from(process.child.id()).unwrap());
    for round in 0.. {
        let new = match past.next() {
            Some(chunk) => chunk.to_vec(),
            None => {
                let owner = world.owner.clone();
                merges(world, side, &owner, 40)
            }
        };
        if round == 12 {
            // From another thread, so that it hits a push at any point.
            std::thread::spawn(move || kill(server, Signal::SIGKILL));
        }
        let request = Request::Push(new.clone()).encode().unwrap();
        if stream.send.write_all(&request).await.is_err() {
            break;
        }
        let answer = loop {
            match stream.hear().await {
                Some(Response::News(_)) => {}
                other => break other,
            }
        };
        match answer {
            Some(Response::Pushed(pushed)) => {
                assert_eq!(pushed.stored.len(), new.len());
                sure.extend(new);
                tips.extend(pushed.tip);
            }
            Some(other) => panic!("{other:?}"),
            None => break,
        }
    }
    (sure, tips)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_in_the_middle_of_pushes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (mut world, mut side) = World::new("alice");
    let mut before = Vec::new();
    let mut tips = Vec::new();
    for _ in 0..3 {
        let process = Process::run(&data);
        let (sure, signed) = push_until_gone(&process, &mut world, &mut side).await;
        drop(process);
        assert!(sure.len() > before.len());
        tips.extend(signed);
        let process = Process::run(&data);
        let (_device, mut stream) = process.owner(&world).await;
        let log = stream.whole().await;
        for event in &sure {
            assert!(log.contains(event));
        }
        assert!(log.starts_with(&before));
        tips.push(stream.pull(0, false).await.tip);
        before = log;
    }
    for (n, early) in tips.iter().enumerate() {
        for late in &tips[n + 1..] {
            assert_eq!(contradiction(early, late), None);
            assert!(late.tip.time >= early.tip.time);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_its_operator_and_stops_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut process = Process::run(&data);
    let (world, _) = World::new("alice");
    let (device, mut stream) = process.owner(&world).await;
    stream.push(all(&world)).await;
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        let output = command.args(arguments).arg("--data").arg(&data).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let address = ask(&["address"]);
    assert_eq!(address.trim(), process.address.to_string());
    let status = ask(&["status"]);
    assert!(status.contains(&world.network.short()), "{status}");
    let permit = process.address.to_string();
    let permit = permit.rsplit('/').next().unwrap();
    assert!(!status.contains(permit), "the token is nobody's business");
    let json: mesh_server::status::Report =
        serde_json::from_str(&ask(&["status", "--json"])).unwrap();
    assert_eq!((json.connections, json.networks.len()), (1, 1));
    assert_eq!((json.networks[0].events, json.networks[0].sessions), (1, 1));

    process.signal(Signal::SIGTERM);
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    device.connection.closed().await;
    let wal = data.join("mirror.db-wal");
    assert!(!wal.exists() || std::fs::metadata(wal).unwrap().len() == 0);
    assert!(!data.join("status.sock").exists());
}

#[test]
fn a_taken_port_or_folder_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = |data: &str, more: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(["run", "--listen", "127.0.0.1:0", "--data"]);
        let output = command.arg(folder.path().join(data)).args(more).output();
        let output = output.unwrap();
        assert!(output.stdout.is_empty());
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let error = run("one", &["--relay-port", &port]);
    assert!(
        error.contains(&port) && error.contains("--relay-port"),
        "{error}"
    );
    let _running = Process::run(&folder.path().join("two"));
    let error = run("two", &[]);
    assert!(error.contains("another mesh-server"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_file_system_it_refuses_writes_serves_reads_and_loses_nothing() {
    if !geteuid().is_root() {
        // Only root mounts.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // In a mount namespace of its own, so that the mount ends with the process.
    let script = "mount -t tmpfs -o size=1m,mode=700 tmpfs \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(BINARY)
        .args(["run", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path());
    let process = Process::start(command);
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let (_device, mut stream) = process.owner(&world).await;
    stream.push(all(&world)).await;
    let (_second, mut stream) = process.owner(&world).await;
    let mut sure = all(&world);
    for round in 0.. {
        assert!(round < 500, "a megabyte is never full");
        let new = merges(&mut world, &mut side, &owner, 50);
        match stream.ask(Request::Push(new.clone())).await {
            Response::Pushed(_) => sure.extend(new),
            other => {
                assert_eq!(other, Response::Failed(Failure::Disk));
                break;
            }
        }
    }
    assert_eq!(stream.whole().await, sure);
    let (_third, mut stream) = process.owner(&world).await;
    assert_eq!(stream.whole().await, sure);
}

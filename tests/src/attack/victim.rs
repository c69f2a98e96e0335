//! The process that is attacked. It is a child, because the attack ends it.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// The protocol's name that the victim answers to.
pub const ALPN: &str = "attack";
/// To start takes well under a second on an idle machine.
const START: Duration = Duration::from_secs(20);

/// A running victim. It is ended with its handle.
#[derive(Debug)]
pub struct Victim {
    child: Child,
    lines: Receiver<String>,
    /// Its key, as iroh prints it.
    pub id: String,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Victim {
    /// Starts a victim, with or without the guard.
    pub fn start(guarded: bool) -> Self {
        let program = program();
        let mut child = Command::new(&program)
            .arg(ALPN)
            .arg(if guarded { "guarded" } else { "bare" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                let program = program.display();
                panic!("{program}: {error}; build it: cargo build -p mesh-tests --examples")
            });
        let out = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let first = lines.recv_timeout(START).expect("the victim did not start");
        let (id, address) = first.split_once(' ').expect("an id and an address");
        Self {
            id: id.to_owned(),
            address: address.parse().unwrap(),
            child,
            lines,
        }
    }

    /// Tells it to dial.
    pub fn dial(&mut self, id: impl Display, address: SocketAddr) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "dial {id} {address}").unwrap();
    }

    /// Waits until it has ended. Its output ends with it.
    pub fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        match self.lines.recv_timeout(within) {
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(self.child.wait().unwrap()),
            Ok(line) => panic!("the victim said {line}"),
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The example `victim`, beside the folder of the test that runs.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    profile.join("examples/victim")
}

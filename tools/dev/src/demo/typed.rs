//! Typing a command for people to see.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::system::Failure;

/// How a command must end.
#[derive(PartialEq, Eq)]
pub(super) enum Expect {
    Success,
    Failure,
}

/// Says what comes next.
pub(super) fn say(what: &str) {
    println!("\n=== {what}");
}

/// Shows a command, runs it, shows what it says, and returns its standard output.
pub(super) fn typed(machine: &Machine, words: &[&str], expect: Expect) -> Result<String, Failure> {
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

/// A word as a person would type it; a ticket and a server's name are long, and were shown just above.
fn shown(word: &str) -> String {
    match word {
        long if long.starts_with("MESH:") || long.contains('#') => {
            format!("{}...", &long.chars().take(20).collect::<String>())
        }
        spaced if spaced.contains(' ') => format!("\"{spaced}\""),
        plain => plain.to_owned(),
    }
}

/// Asks until it is so, and returns how long that took: daemons need a moment to tell each other.
pub(super) fn eventually(
    what: &str,
    mut check: impl FnMut() -> Result<bool, Failure>,
) -> Result<Duration, Failure> {
    let begun = Instant::now();
    while !check()? {
        if begun.elapsed() > Duration::from_secs(15) {
            return Err(format!("not within 15 s: {what}"));
        }
        // Each check starts a process; a pause keeps the machine for those it asks about.
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(begun.elapsed())
}

/// A command in the background, shown as typed. It is killed with this value.
pub(super) struct Background {
    child: Child,
}

impl Background {
    /// Runs `script` with a shell, and shows `line`.
    pub(super) fn new(machine: &Machine, line: &str, script: &str) -> Result<Self, Failure> {
        println!("\n{}# {line} &", machine.name);
        let mut command: Command = machine.command(&["sh", "-c", script])?;
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("`{line}` did not start: {error}"))?;
        Ok(Self { child })
    }

    /// Waits until it has ended.
    pub(super) fn ends(mut self) -> Result<(), Failure> {
        let ended = self.child.wait();
        ended.map(drop).map_err(|error| error.to_string())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service that greets who connects, one after the other.
pub(super) fn service(machine: &Machine, port: u16) -> Result<Background, Failure> {
    let line = format!("while echo hello from $(hostname) | nc -l -N {port}; do :; done");
    let script =
        format!("while echo hello from $(hostname) | nc -l -N {port} >/dev/null; do :; done");
    let service = Background::new(machine, &line, &script)?;
    eventually("nc listens", || {
        let sockets = machine.output(&["cat", "/proc/net/tcp", "/proc/net/tcp6"])?;
        let listening = format!(":{port:04X} ");
        Ok(String::from_utf8_lossy(&sockets.stdout).contains(&listening))
    })?;
    Ok(service)
}

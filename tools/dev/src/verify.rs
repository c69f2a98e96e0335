//! `cargo verify`: format, lints, then every test.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::system::{
    self, DBUS, Failure, GIT, IP, MINIUPNPD, NFT, NODE, NPM, PING, WG, WIREGUARD_GO,
};

/// Namespace tests mostly wait, so more of them than cores run at once.
const TEST_THREADS: &str = "--test-threads=4";

/// Runs all checks, the quick ones first.
pub(crate) fn run() -> Result<(), Failure> {
    let begun = Instant::now();
    system::ensure(&[
        DBUS,
        GIT,
        IP,
        MINIUPNPD,
        NFT,
        NODE,
        NPM,
        PING,
        WG,
        WIREGUARD_GO,
    ])?;
    ensure_components()?;
    stage("format", system::cargo(&["fmt", "--all", "--check"]))?;
    stage(
        "lints",
        cargo("clippy", &["--all-targets", "--", "-D", "warnings"]),
    )?;
    crate::advisories::check()?;
    // All targets, so that the programs are there which the namespace tests run, and so that the tests below find each
    // crate compiled with the features it will have then.
    stage("build", cargo("build", &["--all-targets"]))?;
    if is_there(&["nextest", "--version"]) {
        stage("tests", tests(&["nextest", "run"], &[])?)?;
        stage(
            "examples in the documentation",
            tests(&["test", "--doc"], &[])?,
        )?;
    } else {
        stage("tests", tests(&["test"], &["--", TEST_THREADS])?)?;
    }
    println!("\nall is well, in {}", human(begun.elapsed()));
    Ok(())
}

fn cargo(command: &str, rest: &[&str]) -> Command {
    system::cargo(&[&[command, "--workspace", "--locked"], rest].concat())
}

/// The tests of the workspace; as root, because they make namespaces.
fn tests(command: &[&str], rest: &[&str]) -> Result<Command, Failure> {
    let mut cargo = system::cargo(&[command, &["--workspace", "--locked"], rest].concat());
    if !system::is_root() {
        println!(
            "the tests in namespaces need root: sudo runs them, and may ask for your password"
        );
        cargo.env(runner_variable()?, "sudo --preserve-env");
    }
    Ok(cargo)
}

/// The variable that names the program by which cargo runs what it built for this machine.
fn runner_variable() -> Result<String, Failure> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|error| format!("rustc did not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("rustc does not say for which machine it builds")?;
    Ok(format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_uppercase().replace('-', "_")
    ))
}

fn ensure_components() -> Result<(), Failure> {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !is_there(&[command, "--version"]) {
            println!("installing the Rust component {component}");
            system::step(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

fn is_there(command: &[&str]) -> bool {
    let status = system::cargo(command)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn stage(name: &str, mut command: Command) -> Result<(), Failure> {
    println!("\n=== {name}");
    let begun = Instant::now();
    system::step(&mut command)?;
    println!("=== {name}: {}", human(begun.elapsed()));
    Ok(())
}

fn human(span: Duration) -> String {
    format!("{} min {} s", span.as_secs() / 60, span.as_secs() % 60)
}

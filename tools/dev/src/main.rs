//! What a developer types: `cargo demo` shows what mesh does, `cargo verify` proves it.
//!
//! A thin tool over cargo, `ip` and the built programs. It refuses to know anything of mesh that its user could not
//! type.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for people"
)]

mod advisories;
mod bench;
mod crowd;
mod demo;
mod faults;
mod machine;
mod system;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Demo and tests of mesh.
#[derive(Parser)]
#[command(bin_name = "cargo")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show mesh at work: a server and three machines behind NATs, in namespaces, from nothing to a mesh and a kick
    Demo,
    /// Run every check and every test
    Verify,
    /// Put mistakes into a copy of the ledger, one at a time, and see that its tests find each
    Faults {
        /// Only these: numbers, as 7 or 10-19, or parts of names or files
        only: Vec<String>,
    },
    /// Measure the tunnel beside Debian's wireguard-go, built with optimisation
    Bench,
    /// See that fifty machines reach each other, and measure what an idle daemon with a hundred peers costs
    BenchCrowd(crowd::Crowd),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo => demo::run(),
        Command::Verify => verify::run(),
        Command::Faults { only } => faults::run(&only),
        Command::Bench => bench::run(),
        Command::BenchCrowd(crowd) => crowd::run(&crowd),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            ExitCode::FAILURE
        }
    }
}

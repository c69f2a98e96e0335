//! `mesh service install`, `mesh service remove`

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use mesh_control::{Code, Error};
use nix::unistd::Uid;
use serde::Serialize;
use tokio::process::Command;

use crate::context::Context;
use crate::render::{Line, Look};
use crate::start;
use crate::unit::Program;

/// Let systemd start meshd, or a server, at every boot
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Write the unit and start it, now and at every boot
    Install {
        /// Which program
        #[arg(value_enum, default_value = "meshd")]
        program: Program,
        /// Options for its run, behind --: mesh service install mesh-server -- --host vpn.example.org
        #[arg(last = true, value_name = "OPTION")]
        options: Vec<String>,
        /// Print the unit and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Stop it and take the unit away; keys and data stay
    Remove {
        /// Which program
        #[arg(value_enum, default_value = "meshd")]
        program: Program,
    },
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    if context.global.root.is_some() {
        let message = "systemd runs the machine's own daemon, never one with a --root";
        return Err(Error::new(Code::Usage, message));
    }
    match args.action {
        Action::Install {
            program,
            options,
            dry_run,
        } => {
            let unit = program.unit(&start::program(program.name())?, &options);
            if dry_run {
                return context.print_script(&unit);
            }
            allowed(context)?;
            install(program, &unit, context).await
        }
        Action::Remove { program } => {
            allowed(context)?;
            remove(program, context).await
        }
    }
}

/// Only root may, and only where systemd runs the machine.
fn allowed(context: &Context) -> Result<(), Error> {
    if !Path::new("/run/systemd/system").exists() {
        let message =
            "systemd does not run this machine; mesh starts meshd by itself in the background";
        return Err(Error::new(Code::Failed, message).hint("sudo mesh up"));
    }
    if !Uid::effective().is_root() {
        let error = Error::new(Code::NotPermitted, "only root can install a service");
        return Err(error.hint(context.typed_as_root()));
    }
    Ok(())
}

async fn install(program: Program, unit: &str, context: &mut Context) -> Result<(), Error> {
    let (name, file) = (service(program), file(program));
    write(&file, unit).map_err(|error| {
        Error::new(
            Code::Failed,
            format!("cannot write {}: {error}", file.display()),
        )
    })?;
    systemctl(&["daemon-reload"]).await?;
    // A meshd in the background keeps its socket until the machine goes down.
    let in_background = program == Program::Meshd && context.connect().await.is_ok();
    let when = if in_background {
        systemctl(&["enable", &name]).await?;
        "from the next boot on; until then meshd runs as it does"
    } else {
        systemctl(&["enable", "--now", &name]).await?;
        "now and at every boot"
    };
    let line = |done: &Done, _: &Look| vec![Line::plain(format!("{} runs {when}", done.unit))];
    context.print(
        "service",
        &Done {
            unit: name,
            runs: true,
        },
        line,
    )?;
    if program == Program::MeshServer {
        context.hint("sudo mesh-server address");
    }
    Ok(())
}

async fn remove(program: Program, context: &mut Context) -> Result<(), Error> {
    let (name, file) = (service(program), file(program));
    if !file.exists() {
        let message = format!("no service of mesh's here: {} is missing", file.display());
        return Err(Error::new(Code::NotFound, message).hint("mesh service install --help"));
    }
    systemctl(&["disable", "--now", &name]).await?;
    std::fs::remove_file(&file).map_err(|error| {
        Error::new(
            Code::Failed,
            format!("cannot remove {}: {error}", file.display()),
        )
    })?;
    systemctl(&["daemon-reload"]).await?;
    let line = |done: &Done, _: &Look| vec![Line::plain(format!("{} is gone", done.unit))];
    context.print(
        "service",
        &Done {
            unit: name,
            runs: false,
        },
        line,
    )
}

/// What was done, for scripts.
#[derive(Serialize)]
struct Done {
    unit: String,
    /// At boot.
    runs: bool,
}

fn service(program: Program) -> String {
    format!("{}.service", program.name())
}

fn file(program: Program) -> PathBuf {
    Path::new("/etc/systemd/system").join(service(program))
}

/// Puts the unit in its place whole.
fn write(file: &Path, unit: &str) -> std::io::Result<()> {
    let aside = file.with_extension("service.new");
    let mut written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&aside)?;
    written.write_all(unit.as_bytes())?;
    written.sync_all()?;
    std::fs::rename(&aside, file)
}

async fn systemctl(args: &[&str]) -> Result<(), Error> {
    let failed = |why: String| {
        let command = format!("systemctl {}", args.join(" "));
        Error::new(Code::Failed, format!("{command} failed: {why}"))
    };
    let output = Command::new("systemctl")
        .args(args)
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    Err(failed(why.unwrap_or("it gave no reason").to_owned()).hint("journalctl -xe"))
}

//! `mesh id show`, `mesh id rotate`, `mesh id protect`, `mesh id export`, `mesh id import`

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use mesh_control::view::UserKeyPlace;
use mesh_control::{Code, Error, call};

use crate::cli::Wait;
use crate::context::Context;
use crate::render::{self, Line};
use crate::secrets;

/// Show the keys of this machine, put the user key under a passphrase, and keep a copy of it elsewhere
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show the public keys, where the user key is, and what this machine is called in each network
    Show,
    /// Make another WireGuard key for this machine in each network, or with -n in one; connections go on
    Rotate {
        #[command(flatten)]
        wait: Wait,
    },
    /// Put the user key under a passphrase, or change that
    ///
    /// Creating and joining networks, linking and removing devices ask for it then; everyday acts need the device's key alone.
    /// Who loses the passphrase loses the user key.
    Protect {
        /// Where to read the new passphrase: - for standard input, @FILE; asked for if absent
        #[arg(value_name = "-|@FILE", conflicts_with = "off")]
        new: Option<String>,
        /// Take the passphrase off
        #[arg(long)]
        off: bool,
    },
    /// Write the user key down under a passphrase, to be kept where no machine's theft or fire reaches it
    Export {
        /// Write it to a new file that only you can read, instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Where to read the passphrase it is written down under: - for standard input, @FILE; asked for if absent
        #[arg(value_name = "-|@FILE")]
        new: Option<String>,
    },
    /// Take an exported user key in place of this machine's own; it stays under the passphrase it was exported with
    Import {
        /// The file that holds it, or - for standard input
        #[arg(value_name = "FILE|-")]
        file: String,
    },
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let identity = match args.action {
        Action::Show => context.call(call::IdShow {}).await?,
        Action::Rotate { wait } => return rotate(wait, context).await,
        Action::Protect { new, off } => {
            let mut client = context.connect().await?;
            let identity = context
                .call_over(&mut client, call::IdShow {}, Duration::ZERO)
                .await?;
            if identity.user_key == UserKeyPlace::Protected {
                // Before the new one, in the order in which people expect them.
                context.ask_passphrase()?;
            }
            let passphrase = match off {
                true => None,
                false => Some(secrets::new_passphrase(context, new.as_deref())?),
            };
            let protect = call::IdProtect { passphrase };
            let changed = context
                .call_keyed(&mut client, protect, Duration::ZERO)
                .await?;
            return context.print("id", &changed, |identity, _| render::protected(identity));
        }
        Action::Export { out, new } => return export(out, new, context).await,
        Action::Import { file } => return import(&file, context).await,
    };
    context.print("id", &identity, render::identity)
}

async fn export(
    out: Option<PathBuf>,
    new: Option<String>,
    context: &mut Context,
) -> Result<(), Error> {
    if let Some(path) = out.as_ref().filter(|path| path.exists()) {
        let error = format!("{} is here already", path.display());
        return Err(Error::new(Code::Conflict, error));
    }
    let mut client = context.connect().await?;
    let identity = context
        .call_over(&mut client, call::IdShow {}, Duration::ZERO)
        .await?;
    if identity.user_key == UserKeyPlace::Protected {
        context.ask_passphrase()?;
    }
    let passphrase = secrets::new_passphrase(context, new.as_deref())?;
    let export = call::IdExport { passphrase };
    let exported = context
        .call_keyed(&mut client, export, Duration::ZERO)
        .await?;
    match &out {
        Some(path) => secrets::write(path, &exported.key)?,
        None if context.global.json => context.print_json("id_export", &exported)?,
        None => context.print_secret(&exported.key)?,
    }
    context.note(&[Line::quiet(
        "it is worth as much as its passphrase: keep both, apart from each other",
    )]);
    Ok(())
}

async fn import(file: &str, context: &mut Context) -> Result<(), Error> {
    let key = match file {
        "-" => secrets::line(&mut *context.terminal.input, "standard input")?,
        path => {
            let mut opened = File::open(path)
                .map_err(|error| Error::new(Code::Usage, format!("cannot read {path}: {error}")))?;
            secrets::line(&mut opened, path)?
        }
    };
    let asked = secrets::passphrase(context, "passphrase it was exported with: ")?;
    let passphrase = asked.ok_or_else(|| {
        Error::new(
            Code::Usage,
            "there is no terminal to ask for the passphrase at",
        )
        .hint("the same command with --passphrase -")
    })?;
    let (mut client, _) = context.connect_or_start().await?;
    let import = call::IdImport { key, passphrase };
    let identity = context
        .call_over(&mut client, import, Duration::ZERO)
        .await?;
    context.print("id", &identity, render::identity)
}

async fn rotate(wait: Wait, context: &mut Context) -> Result<(), Error> {
    let networks = match context.network() {
        Some(network) => vec![network],
        None => {
            let networks = context.call(call::Networks {}).await?.networks;
            let of_this = networks.into_iter().filter(|network| network.member);
            of_this.map(|network| network.id).collect()
        }
    };
    if networks.is_empty() {
        let error = Error::new(Code::NotFound, "this device is in no network");
        return Err(error.hint("mesh create NAME, or mesh join TICKET"));
    }
    let mut spreads = Vec::new();
    for network in networks {
        let rotate = call::IdRotate {
            network: Some(network),
            wait_ms: wait.ms(),
        };
        let rotated = context.call_waiting(rotate, wait.more()).await;
        let rotated = context.suggest(rotated, &[]).await?;
        context.print("id_rotate", &rotated, |rotated, _| render::rotated(rotated))?;
        spreads.push(rotated.spread);
    }
    for spread in &spreads {
        context.require_spread(wait.wait, spread)?;
    }
    Ok(())
}

//! `mesh id show`, `mesh id rotate`, `mesh id protect`

use std::time::Duration;

use clap::Subcommand;
use mesh_control::view::UserKeyPlace;
use mesh_control::{Code, Error, call};

use crate::cli::Wait;
use crate::context::Context;
use crate::{render, secrets};

/// Show the keys of this machine, and put the user key under a passphrase
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
    };
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

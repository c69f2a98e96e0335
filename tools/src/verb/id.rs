//! `mesh id show`, `mesh id rotate`

use clap::Subcommand;
use mesh_control::{Code, Error, call};

use crate::cli::Wait;
use crate::context::Context;
use crate::render;

/// Show the keys of this machine, and change those that packets are sealed with
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show the public keys, and what this machine is called in each network
    Show,
    /// Make another WireGuard key for this machine in each network, or with -n in one; connections go on
    Rotate {
        #[command(flatten)]
        wait: Wait,
    },
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    match args.action {
        Action::Show => {
            let identity = context.call(call::IdShow {}).await?;
            context.print("id", &identity, render::identity)
        }
        Action::Rotate { wait } => rotate(wait, context).await,
    }
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

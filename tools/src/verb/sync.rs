//! `mesh sync now|export|import`

pub(crate) mod export;
pub(crate) mod import;

use std::time::Duration;

use clap::Subcommand;
use mesh_control::{Error, call};

use crate::context::Context;
use crate::render;

/// Compare notes with every peer online now, or carry them in a file
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Fetch the events that are missing here, and send those that are missing there; happens by itself all the time
    Now,
    /// Write the network's events to a file, sealed as they are, for a member without a link
    ///
    /// It holds no key: only members can read names and addresses in it. Works while meshd does not run, too.
    Export(export::Args),
    /// Merge the events of such a file, after checking each; exit 8 if a part of it is damaged
    ///
    /// In any order, as often as you like: what is whole is taken.
    Import(import::Args),
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    match args.action {
        Action::Now => now(context).await,
        Action::Export(args) => export::run(args, context).await,
        Action::Import(args) => import::run(args, context).await,
    }
}

async fn now(context: &mut Context) -> Result<(), Error> {
    let synced = context
        .call_waiting(
            call::SyncNow {
                network: context.network(),
            },
            Duration::from_secs(30),
        )
        .await;
    let synced = context.suggest(synced, &[]).await?;
    context.print("sync", &synced, |synced, _| render::synced(synced))
}

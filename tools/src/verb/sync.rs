//! `mesh sync now`

use std::time::Duration;

use clap::Subcommand;
use mesh_control::{Error, call};

use crate::context::Context;
use crate::render;

/// Compare notes with every peer online now
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
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let Action::Now = args.action;
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

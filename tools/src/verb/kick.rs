//! `mesh kick NAME`

use mesh_control::{Error, call};

use crate::cli::Wait;
use crate::context::Context;
use crate::render;

/// Remove a member with all its devices
///
/// Its peers cut it off in seconds, and what it signs from now on is void. To come back it needs a new invite by an admin.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the member or of one of its devices
    name: String,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let kick = call::Kick {
        network: context.network(),
        name: args.name.clone(),
        reason: args.reason,
        wait_ms: args.wait.ms(),
    };
    let kicked = context.call_waiting(kick, args.wait.more()).await;
    let kicked = context.suggest(kicked, &[&args.name]).await?;
    context.print("kick", &kicked, |kicked, _| render::kicked(kicked))?;
    let log = context.command(&["log", "--about", &kicked.name]);
    context.hint(&log);
    context.require_spread(args.wait.wait, &kicked.spread)
}

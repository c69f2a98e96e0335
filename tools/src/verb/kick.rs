//! `mesh kick NAME`

use mesh_control::call::Proposed;
use mesh_control::{Error, call};

use crate::cli::{Consent, Wait};
use crate::context::Context;
use crate::{parse, render};

/// Remove a member with all its devices
///
/// Its peers cut it off in seconds, and what it signs from now on is void. To come back it needs a new invite by an admin.
/// Tickets that it may have are worth nothing from now on, whoever made them; make new ones for those you still expect.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the member or of one of its devices
    name: String,
    /// Undo, too, what it did from then on: the first event to undo, a time span ago, or a day as 2026-11-22
    #[arg(long, value_name = "EVENT|TIME")]
    since: Option<String>,
    /// Leave the tickets that others hold as they are
    #[arg(long)]
    keep_invites: bool,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let kick = call::Kick {
        network: context.network(),
        name: args.name.clone(),
        reason: args.reason,
        since: parse::undo(
            args.since.as_deref(),
            &format!("kick {}", args.name),
            context,
        )?,
        keep_invites: args.keep_invites,
        wait_ms: args.wait.ms(),
    };
    let proposed = Proposed::Kick(kick.clone());
    if !context
        .consent(proposed, args.consent, &[&args.name])
        .await?
    {
        return Ok(());
    }
    let kicked = context.call_waiting(kick, args.wait.more()).await;
    let kicked = context.suggest(kicked, &[&args.name]).await?;
    context.print("kick", &kicked, |kicked, _| render::kicked(kicked))?;
    let log = context.command(&["log", "--about", &kicked.name]);
    context.hint(&log);
    if !kicked.invites_closed.is_empty() {
        let invite = context.command(&["invite"]);
        context.hint(&invite);
    }
    context.require_spread(args.wait.wait, &kicked.spread)
}

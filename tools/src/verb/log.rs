//! `mesh log`

mod verify;

use std::time::Duration;

use clap::Subcommand;
use mesh_control::call::LogFilters;
use mesh_control::{Error, call};

use crate::context::Context;
use crate::{parse, render};

/// Show who did what, and verify it
///
/// Newest first; --json gives the network's own order, which is the same on every device.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Only what this member or device signed
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Only what is about this member, device, invite or event
    #[arg(long, value_name = "NAME|ID")]
    about: Option<String>,
    /// Only events of this kind, such as invite, admit, grant, remove, private
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<String>,
    /// Only after an event (its id), a time span ago (2h) or a day (2026-11-22, UTC)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// At most this many, the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

#[derive(Subcommand)]
enum Action {
    /// Check every event of this copy: hashes, signatures, and what they follow; exit 8 if one is damaged
    ///
    /// Without -n, of every network. Works while meshd does not run, too.
    Verify,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    if let Some(Action::Verify) = args.action {
        return verify::run(context).await;
    }
    let now_ms = (context.terminal.now_ms)();
    let since = args
        .since
        .map(|text| parse::since(&text, now_ms))
        .transpose()?;
    let names: Vec<String> = args.by.iter().chain(&args.about).cloned().collect();
    let filters = LogFilters {
        by: args.by,
        about: args.about,
        r#type: args.kind,
        since,
    };
    let log = context
        .call_waiting(
            call::Log {
                network: context.network(),
                filters,
                limit: args.limit,
            },
            LONG,
        )
        .await;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let log = context.suggest(log, &names).await?;
    context.print("log", &log, render::log)?;
    if log.more {
        context.note(&render::older_left_out());
    }
    Ok(())
}

/// A long history takes a while.
const LONG: Duration = Duration::from_secs(300);

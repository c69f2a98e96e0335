//! `mesh log`

mod diff;
pub(crate) mod export;
mod file;
mod follow;
mod show;
mod verify;

use clap::Subcommand;
use mesh_control::call::LogFilters;
use mesh_control::{Error, call};

use crate::context::Context;
use crate::{parse, render, stored};

/// Show who did what, and verify it
///
/// Newest first; --json gives the network's own order, which is the same on every device. What does not count is marked with
/// its reason. Works while meshd does not run, too. WHEN is an event (the start of its id), a time span ago (2h), a day
/// (2026-11-22: its beginning) or a time (2026-11-22T14:30), in UTC; times are what the clocks of those who signed said.
///
/// With --json an object mesh/log/1 has network, entries, more (whether the limit left older ones out) and, with --at, as_of. An
/// entry has event (id and short), position in the order, device and user (keys), by (a name), kind, topics (finer words), about
/// (a name), text, lamport, seq, time_ms, parents, and verdict: "counted", "pending" or {"void":{"reason":…}}. With --follow it
/// is a line mesh/log_event/1 for each event: an entry and change, which is new, void or counted; mesh/log_gap/1 tells that
/// meshd has stopped or is back.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Of a file that mesh sync export wrote: what can be read without a key, with no daemon
    #[arg(value_name = "FILE", conflicts_with = "follow")]
    file: Option<String>,
    /// Only what this member or device signed, present or former
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Only what is about this member, device, invite or event
    #[arg(long, value_name = "NAME|ID")]
    about: Option<String>,
    /// Only events of this kind, such as admit, grant, remove, private, or finer: kick, leave, revoke, offer, tag, address;
    /// or void: those that do not count
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<String>,
    /// Only what was signed after WHEN
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only what was signed up to WHEN
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// The log as it was at WHEN: what was void then, and what counted
    #[arg(long, value_name = "WHEN", conflicts_with = "follow")]
    at: Option<String>,
    /// At most this many, the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Go on with what comes, and with what turns void or counts after all, until interrupted
    #[arg(short, long)]
    follow: bool,
}

#[derive(Subcommand)]
enum Action {
    /// Show all about one event
    Show(show::Args),
    /// Show what changed in the network from one event or time to another
    Diff(diff::Args),
    /// Check every event of this copy: hashes, signatures, and what they follow; exit 8 if one is damaged
    ///
    /// Without -n, of every network. Works while meshd does not run, too. Of a file that mesh sync export wrote, every
    /// event in it.
    Verify {
        /// A file that carries a network, or - for standard input
        #[arg(value_name = "FILE|-")]
        file: Option<String>,
    },
    /// Write all events as Automerge documents, which any Automerge library in any language opens
    ///
    /// One document for each segment, and manifest.json, which says how to read them. Works while meshd does not run, too.
    Export(export::Args),
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    match args.action {
        Some(Action::Show(args)) => return show::run(args, context).await,
        Some(Action::Diff(args)) => return diff::run(args, context).await,
        Some(Action::Verify { file: Some(file) }) => return verify::file(&file, context),
        Some(Action::Verify { file: None }) => return verify::run(context).await,
        Some(Action::Export(args)) => return export::run(args, context).await,
        None => {}
    }
    let now_ms = (context.terminal.now_ms)();
    let moment = |text: Option<String>, option: &str| {
        text.map(|text| parse::moment(&text, option, now_ms))
            .transpose()
    };
    let call = call::Log {
        network: context.network(),
        filters: LogFilters {
            by: args.by,
            about: args.about,
            r#type: args.kind,
            since: moment(args.since, "log --since")?,
            until: moment(args.until, "log --until")?,
        },
        limit: args.limit,
        at: moment(args.at, "log --at")?,
        after: None,
    };
    if let Some(typed) = &args.file {
        return file::run(typed, &call, context);
    }
    if args.follow {
        return follow::run(call, context).await;
    }
    let log = stored::log(call, context).await;
    let mut log = context.suggest(log, &[]).await?;
    log.cursor = None;
    context.print("log", &log, render::log)?;
    if log.more {
        context.note(&render::older_left_out());
    }
    Ok(())
}

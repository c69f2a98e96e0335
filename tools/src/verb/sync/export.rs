//! `mesh sync export`

use std::path::Path;

use mesh_control::Error;
use mesh_control::call::Moment;
use mesh_ledger::carry::{Carry, Since, after, heads};
use mesh_ledger::event::Event;
use serde::Serialize;

use crate::context::Context;
use crate::files::{self, Copy};
use crate::{parse, render};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A new file, or - for standard output
    #[arg(value_name = "FILE|-", default_value = "-")]
    file: String,
    /// Only what a member lacks that has this event, or what was signed from a time span ago (2h) or a day (2026-11-22) on
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
}

/// What was written.
#[derive(Debug, Serialize)]
pub(crate) struct Exported {
    /// The network's name.
    pub(crate) network: String,
    /// Its id.
    pub(crate) id: String,
    /// How many events are in the file.
    pub(crate) events: usize,
    /// How many bytes it has.
    pub(crate) bytes: usize,
    /// Whether earlier events were left out.
    pub(crate) partial: bool,
}

pub(super) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let to_file = args.file != "-";
    if to_file {
        files::is_new(Path::new(&args.file))?;
    }
    let now_ms = (context.terminal.now_ms)();
    let since = args
        .since
        .map(|text| parse::moment(&text, "sync export --since", now_ms))
        .transpose()?;
    let copy = files::events(context).await?;
    let since = since.map(|since| meant(&copy, since)).transpose()?;
    let chosen: Vec<&Event> = match since {
        Some(since) => after(&copy.events, since),
        None => copy.events.iter().collect(),
    };
    let bytes = chosen.iter().map(|event| event.bytes().to_vec()).collect();
    let partial = chosen.len() < copy.events.len();
    let carry = Carry {
        partial,
        ..Carry::history(copy.id, bytes, heads(&copy.events))
    };
    let written = carry.write();
    let exported = Exported {
        network: copy.name,
        id: copy.id.to_string(),
        events: chosen.len(),
        bytes: written.len(),
        partial,
    };
    if !to_file {
        context.print_bytes(&written)?;
        context.note(&render::exported(&exported, "standard output"));
        return Ok(());
    }
    files::write_new(Path::new(&args.file), &written)?;
    context.print("sync_export", &exported, |exported, _| {
        render::exported(exported, &args.file)
    })?;
    context.hint_elsewhere(&format!("sudo mesh sync import {}", args.file));
    Ok(())
}

fn meant(copy: &Copy, since: Moment) -> Result<Since, Error> {
    Ok(match since {
        Moment::TimeMs(time) => Since::Time(time),
        Moment::Event(start) => Since::Event(files::named(&copy.events, &start)?.id()),
    })
}

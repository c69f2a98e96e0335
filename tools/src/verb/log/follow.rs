//! `mesh log --follow`

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;

use mesh_control::call::{self, Cursor};
use mesh_control::reply::Log;
use mesh_control::state::State;
use mesh_control::view::LogEntry;
use mesh_control::{Code, Error};
use serde::Serialize;

use crate::context::Context;
use crate::follow::{self, Follower, Step};
use crate::render::{self, Line};
use crate::stored::LONG;

/// So many events are shown before what comes, unless `--limit` says otherwise.
const BEFORE: u32 = 10;
/// The verdicts of so many shown events are remembered across a restart of the daemon.
const REMEMBERED: usize = 10_000;

/// An event that came or turned, for `--json`.
#[derive(Serialize)]
struct Told<'a> {
    /// `new`, `void` or `counted`.
    change: &'static str,
    #[serde(flatten)]
    entry: &'a LogEntry,
}

/// That there may be a gap, for `--json`.
#[derive(Serialize)]
struct Gap {
    /// `stopped` or `back`.
    meshd: &'static str,
}

pub(crate) async fn run(mut call: call::Log, context: &mut Context) -> Result<(), Error> {
    let limit = call.limit.take();
    // Whoever interrupts it has seen enough.
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    // It is watched before the log is read, so that nothing comes in between unseen.
    let (mut follower, _) = Follower::start(context).await?;
    let mut shown = Shown::default();
    let first = call::Log {
        limit: Some(limit.unwrap_or(BEFORE)),
        ..call.clone()
    };
    let first = context.call_waiting(first, LONG).await;
    let mut log = context.suggest(first, &[]).await?;
    let mut cursor = log.cursor.take().unwrap_or_default();
    tell(&log, &mut shown, context)?;
    loop {
        let step = tokio::select! {
            step = follower.next() => step?,
            _ = &mut interrupted => return Ok(()),
        };
        match step {
            Step::Changed(states) => {
                let (before, after) = *states;
                if follow::is_gone(&before, &after, &log.network) {
                    return Err(follow::gone(&log.network));
                }
                if !same_events(&before, &after) {
                    cursor = more(&call, cursor, &mut shown, context).await?;
                }
            }
            Step::Lost => gap("stopped", "meshd has stopped; waiting for it", context)?,
            Step::Back(_) => {
                gap(
                    "back",
                    "meshd is back; what came meanwhile follows",
                    context,
                )?;
                // Its count of turns began anew: what turned meanwhile is found by looking at what was shown.
                let unknown = Cursor {
                    turns: u64::MAX,
                    ..cursor
                };
                cursor = more(&call, unknown, &mut shown, context).await?;
                let all = context.call_waiting(call.clone(), LONG).await?;
                for entry in &all.entries {
                    if shown.turned(entry) {
                        tell_turned(entry, context)?;
                    }
                }
            }
        }
    }
}

/// Tells what there is behind the cursor, and gives the new one.
async fn more(
    call: &call::Log,
    cursor: Cursor,
    shown: &mut Shown,
    context: &mut Context,
) -> Result<Cursor, Error> {
    let call = call::Log {
        after: Some(cursor.clone()),
        ..call.clone()
    };
    let mut log = match context.call_waiting(call, LONG).await {
        // It stopped in this moment, which the follower will say.
        Err(error) if error.code == Code::NotRunning => return Ok(cursor),
        log => log?,
    };
    let next = log.cursor.take();
    tell(&log, shown, context)?;
    Ok(next.unwrap_or(cursor))
}

fn tell(log: &Log, shown: &mut Shown, context: &mut Context) -> Result<(), Error> {
    for entry in &log.entries {
        if shown.add(entry) {
            let told = Told {
                change: "new",
                entry,
            };
            context.print("log_event", &told, |told, _| render::followed(told.entry))?;
        }
    }
    // What turned, turned by what came.
    for entry in &log.turned {
        shown.turned(entry);
        tell_turned(entry, context)?;
    }
    Ok(())
}

fn tell_turned(entry: &LogEntry, context: &mut Context) -> Result<(), Error> {
    let change = if entry.is_void() { "void" } else { "counted" };
    let told = Told { change, entry };
    context.print("log_event", &told, |told, _| render::turned(told.entry))
}

fn gap(meshd: &'static str, text: &str, context: &mut Context) -> Result<(), Error> {
    if context.global.json {
        return context.print_json("log_gap", &Gap { meshd });
    }
    context.note(&[Line::quiet(text)]);
    Ok(())
}

/// Whether two states come from the same events.
fn same_events(before: &State, after: &State) -> bool {
    let of = |state: &State| -> Vec<(String, u64, String, u64)> {
        let networks = state.networks.iter().map(|network| &network.status);
        networks
            .map(|status| {
                let network = &status.network;
                let hash = status.state_hash.clone();
                (network.id.clone(), network.events, hash, status.pending)
            })
            .collect()
    };
    of(before) == of(after)
}

/// The events that were shown, and whether each was void.
#[derive(Default)]
struct Shown {
    void: BTreeMap<String, bool>,
    order: VecDeque<String>,
}

impl Shown {
    /// Whether it was not shown yet.
    fn add(&mut self, entry: &LogEntry) -> bool {
        let id = &entry.event.id;
        if self.void.insert(id.clone(), entry.is_void()).is_some() {
            return false;
        }
        self.order.push_back(id.clone());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.void.remove(&oldest);
        }
        true
    }

    /// Whether it was shown with another verdict.
    fn turned(&mut self, entry: &LogEntry) -> bool {
        match self.void.get_mut(&entry.event.id) {
            Some(void) if *void != entry.is_void() => {
                *void = entry.is_void();
                true
            }
            _ => false,
        }
    }
}

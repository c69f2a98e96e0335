//! What the logs of the networks told so far, so that what is new or turned is told once; across restarts of the daemon too.

use std::collections::{BTreeMap, BTreeSet};

use mesh_control::audit::log::VOID;
use mesh_control::call::{self, Cursor, LogFilters};
use mesh_control::reply::Log;
use mesh_control::state::State;
use mesh_control::view::{LogEntry, Verdict};
use mesh_control::{Code, Error};

use super::happening::{self, Happening};
use crate::context::Context;
use crate::stored::LONG;

/// By the networks' ids.
#[derive(Default)]
pub(super) struct Seen(BTreeMap<String, Read>);

/// How far one network's log was read.
struct Read {
    cursor: Cursor,
    /// The events that did not count then, by id; none if they were too many to be told.
    void: Option<BTreeMap<String, LogEntry>>,
}

impl Seen {
    /// Begins behind what there is.
    pub(super) async fn begin(
        &mut self,
        network: &str,
        context: &mut Context,
    ) -> Result<(), Error> {
        if let Some(mut log) = void(network, context).await? {
            let cursor = log.cursor.take().unwrap_or_default();
            let void = by_id(log);
            self.0.insert(network.to_owned(), Read { cursor, void });
        }
        Ok(())
    }

    /// Reads the logs of the networks whose events changed.
    pub(super) async fn read_changed(
        &mut self,
        before: &State,
        after: &State,
        happenings: &mut Vec<Happening>,
        context: &mut Context,
    ) -> Result<(), Error> {
        for network in &after.networks {
            let status = &network.status;
            let id = &status.network.id;
            let same = before.networks.iter().any(|network| {
                let old = &network.status;
                old.network.id == *id
                    && old.network.events == status.network.events
                    && old.state_hash == status.state_hash
            });
            if !same && let Some(log) = self.read(id, context).await? {
                happenings.extend(happening::of_log(&log, id));
            }
        }
        Ok(())
    }

    /// After a restart of the daemon, whose count of turns began anew: what is new, and what turned while it was away.
    pub(super) async fn catch_up(
        &mut self,
        network: &str,
        context: &mut Context,
    ) -> Result<Vec<Happening>, Error> {
        let before = self.0.get_mut(network).and_then(|read| {
            read.cursor.turns = u64::MAX;
            read.void.clone()
        });
        let Some(mut log) = self.read(network, context).await? else {
            return Ok(Vec::new());
        };
        let Some(now) = void(network, context).await? else {
            return Ok(happening::of_log(&log, network));
        };
        let now = by_id(now);
        if let (Some(before), Some(now)) = (&before, &now) {
            let told: BTreeSet<&str> = log.entries.iter().map(id).collect();
            log.turned = turned(before, now, &told);
        }
        if let Some(read) = self.0.get_mut(network) {
            read.void = now;
        }
        Ok(happening::of_log(&log, network))
    }

    /// What is new in a network's log; none if the network, or the daemon, is gone by now.
    async fn read(&mut self, network: &str, context: &mut Context) -> Result<Option<Log>, Error> {
        let call = call::Log {
            network: Some(network.to_owned()),
            after: self.0.get(network).map(|read| read.cursor.clone()),
            ..call::Log::default()
        };
        let Some(mut log) = answered(call, context).await? else {
            return Ok(None);
        };
        let read = self.0.entry(network.to_owned()).or_insert(Read {
            cursor: Cursor::default(),
            void: Some(BTreeMap::new()),
        });
        if let Some(cursor) = log.cursor.take() {
            read.cursor = cursor;
        }
        if let Some(void) = &mut read.void {
            // It may have been found before by looking at all.
            log.turned
                .retain(|entry| void.contains_key(id(entry)) != entry.is_void());
            for entry in log.entries.iter().chain(&log.turned) {
                if entry.is_void() {
                    void.insert(entry.event.id.clone(), entry.clone());
                } else {
                    void.remove(&entry.event.id);
                }
            }
        }
        Ok(Some(log))
    }
}

/// The events of a network that do not count.
async fn void(network: &str, context: &mut Context) -> Result<Option<Log>, Error> {
    let call = call::Log {
        network: Some(network.to_owned()),
        filters: LogFilters {
            r#type: Some(VOID.to_owned()),
            ..LogFilters::default()
        },
        ..call::Log::default()
    };
    answered(call, context).await
}

async fn answered(call: call::Log, context: &mut Context) -> Result<Option<Log>, Error> {
    match context.call_waiting(call, LONG).await {
        Err(error) if matches!(error.code, Code::NotRunning | Code::NotFound) => Ok(None),
        log => log.map(Some),
    }
}

/// The events that do not count, by id; none if there are more than one answer tells.
fn by_id(log: Log) -> Option<BTreeMap<String, LogEntry>> {
    let entries = log.entries.into_iter().filter(LogEntry::is_void);
    (!log.more).then(|| {
        entries
            .map(|entry| (entry.event.id.clone(), entry))
            .collect()
    })
}

/// The events that turned: void ones that counted, and such as count again. Those that were just told as new did not turn.
fn turned(
    before: &BTreeMap<String, LogEntry>,
    now: &BTreeMap<String, LogEntry>,
    told: &BTreeSet<&str>,
) -> Vec<LogEntry> {
    let fallen = now.values();
    let fallen =
        fallen.filter(|entry| !before.contains_key(id(entry)) && !told.contains(id(entry)));
    let back = before.values().filter(|entry| !now.contains_key(id(entry)));
    let back = back.map(|entry| LogEntry {
        verdict: Verdict::Counted,
        ..entry.clone()
    });
    fallen.cloned().chain(back).collect()
}

fn id(entry: &LogEntry) -> &str {
    &entry.event.id
}

#[cfg(test)]
mod tests {
    use mesh_control::fake::examples;

    use super::*;

    #[test]
    fn what_turned_while_the_daemon_was_away_is_told_and_what_came_void_is_told_once() {
        let void = |id: &str| {
            let reason = "by mallory, whose term ended".to_owned();
            examples::entry(1, id, "mallory", "grant", "x", Verdict::Void { reason })
        };
        let set = |ids: &[&str]| -> BTreeMap<String, LogEntry> {
            let entries = ids.iter().map(|id| void(id));
            entries
                .map(|entry| (entry.event.id.clone(), entry))
                .collect()
        };
        let (before, now) = (set(&["aaaa", "bbbb"]), set(&["bbbb", "cccc", "dddd"]));
        let new = void("dddd").event.id;
        let told = turned(&before, &now, &[new.as_str()].into());
        let told: Vec<(&str, bool)> = told
            .iter()
            .map(|e| (&*e.event.short, e.is_void()))
            .collect();
        assert_eq!(told, [("cccc", true), ("aaaa", false)]);
    }
}

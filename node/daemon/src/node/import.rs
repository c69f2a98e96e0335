//! Events that came in a file. They are merged in small steps, each a short while, so that calls, links and timers are
//! served in between however many there are.

use std::time::Duration;

use mesh_control::call::SyncImport;
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Damage, Reply};
use mesh_ledger::ids::NetworkId;
use mesh_ledger::parking::Source;
use mesh_ledger::store::StoreError;
use tokio::task::{block_in_place, spawn_blocking};
use tracing::info;

use super::calls::{Respond, event_ref, network_id, not_in, parents_first};
use super::{Event, Node};
use crate::clock::{now_ms, steady};

/// How long a step is to take: what else there is waits so long at most, as a rule.
const STEP: Duration = Duration::from_millis(30);
/// So many events make the first step; the next are larger or smaller, as long as that one took.
const FIRST: usize = 64;
/// The fewest and the most.
const LEAST: usize = 8;
const MOST: usize = 4096;
/// How often everything else follows what is merged, and at the end.
const SHOW: Duration = Duration::from_secs(1);
/// So many events are named.
const NAMED: usize = 64;

/// A file being merged.
pub(crate) struct Import {
    network: NetworkId,
    /// Parents first.
    events: std::vec::IntoIter<Vec<u8>>,
    /// How many the next step takes.
    step: usize,
    imported: reply::Imported,
    /// When everything else follows next.
    show: Duration,
    respond: Respond,
}

impl Node {
    /// Begins to merge what was uploaded. The answer comes when all of it is.
    pub(in crate::node) fn sync_import(&mut self, call: &SyncImport, respond: Respond) {
        let begun = (|| {
            let events = self.uploads.take(call.upload)?;
            let id = network_id(&call.network)?;
            let net = self.nets.get(&id).ok_or_else(|| not_in(&id))?;
            Ok((id, net.name(), events))
        })();
        let (network, name, events) = match begun {
            Ok(begun) => begun,
            Err(error) => return drop(respond.send(Err(error))),
        };
        let node = self.events.clone();
        spawn_blocking(move || {
            let import = Import {
                network,
                events: parents_first(events).into_iter(),
                step: FIRST,
                imported: reply::Imported {
                    network: name,
                    added: 0,
                    known: 0,
                    waiting: 0,
                    missing: Vec::new(),
                    refused: Vec::new(),
                },
                show: steady() + SHOW,
                respond,
            };
            // A node that is gone answers nothing any more.
            let _ = node.blocking_send(Event::Import(Box::new(import)));
        });
    }

    /// Merges a few events of the file that came first.
    pub(crate) async fn import_step(&mut self) {
        // What waits is served for as long as a step takes.
        if !self.incoming.is_empty() && steady() < self.next_import {
            return;
        }
        let Some(mut import) = self.imports.pop_front() else {
            return;
        };
        let id = import.network;
        let Some(net) = self.nets.get_mut(&id) else {
            return drop(import.respond.send(Err(not_in(&id))));
        };
        let events: Vec<Vec<u8>> = import.events.by_ref().take(import.step).collect();
        let began = steady();
        let received = block_in_place(|| net.ledger.receive(Source::File, &events, now_ms()));
        import.step = next_step(import.step, steady().saturating_sub(began));
        self.next_import = steady() + STEP;
        let imported = &mut import.imported;
        let failed: Option<StoreError> = match received {
            Ok(receipt) => {
                imported.added += receipt.added.len() as u64;
                imported.known += receipt.known as u64;
                imported.waiting += receipt.parked as u64;
                let room = NAMED.saturating_sub(imported.refused.len());
                let refused = receipt.refused.iter().take(room);
                imported.refused.extend(refused.map(|(id, why)| Damage {
                    event: event_ref(id),
                    problem: why.to_string(),
                }));
                None
            }
            Err(error) => Some(error),
        };
        if failed.is_none() && import.events.len() > 0 {
            let shows = steady() >= import.show;
            if shows {
                import.show = steady() + SHOW;
            }
            self.imports.push_front(import);
            if shows {
                self.changed(id, None).await;
            }
            return;
        }
        if imported.waiting > 0 {
            let missing = net.ledger.missing();
            imported.missing = missing.iter().take(NAMED).map(event_ref).collect();
        }
        info!(network = %imported.network, added = imported.added, "events came in a file");
        // What was merged before a failure counts all the same.
        self.changed(id, None).await;
        let _ = import.respond.send(match failed {
            Some(error) => Err(Error::new(Code::Failed, error.to_string())),
            None => Ok(Reply::Imported(import.imported)),
        });
    }
}

/// How many events to merge next, after so many took so long.
fn next_step(step: usize, took: Duration) -> usize {
    let next = if took > STEP {
        step / 2
    } else if took < STEP / 3 {
        step * 2
    } else {
        step
    };
    next.clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_become_as_large_as_the_time_for_one_allows() {
        let mut step = FIRST;
        // A machine that merges an event in 100 microseconds.
        let cost = |step: usize| Duration::from_micros(100 * step as u64);
        for _ in 0..20 {
            step = next_step(step, cost(step));
        }
        assert!(cost(step) <= STEP && cost(step) >= STEP / 3, "{step}");
        assert_eq!(next_step(MOST, Duration::ZERO), MOST);
        assert_eq!(next_step(LEAST, Duration::from_secs(9)), LEAST);
    }
}

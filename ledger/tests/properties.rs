//! What holds in every history, sensible or hostile. `MESH_CASES` sets how many of each are tried, `MESH_SEED` where to
//! start; a failure names its seed. With `MESH_CASES=5000` and optimisation that is ten thousand histories for each test.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;
#[path = "properties/delivery.rs"]
mod delivery;
#[path = "properties/forgery.rs"]
mod forgery;

use std::collections::{BTreeMap, BTreeSet};

use common::history::History;
use common::{Part, by_id};
use mesh_ledger::cut::{Since, cut};
use mesh_ledger::event::Act;
use mesh_ledger::event::act::{MAX_CUT, Target};
use mesh_ledger::fold::{Fold, fold};
use mesh_ledger::graph::{Graph, Idx};
use mesh_ledger::ids::{DeviceId, UserId};
use mesh_ledger::state::Rank;
use mesh_ledger::verdict::Verdict;

// How much to try is the caller's choice, as for any test runner.
#[allow(clippy::disallowed_methods)]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// How many events each history has at least.
const EVENTS: usize = 100;

/// Tries histories of one kind, and says what share of their events was void.
fn histories(kind: &str, hostile: usize, check: impl Fn(&mut History)) {
    let (cases, first) = (number("MESH_CASES", 40), number("MESH_SEED", 1));
    let (mut void, mut all) = (0, 0);
    for seed in first..first + cases {
        let mut history = History::new(seed, EVENTS, hostile);
        let verdicts = history.world.fold().verdicts;
        void += verdicts.iter().filter(|verdict| !verdict.counts()).count();
        all += verdicts.len();
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&mut history)));
        if let Err(panic) = tried {
            eprintln!("failed: {kind} history, MESH_SEED={seed} MESH_CASES=1");
            std::panic::resume_unwind(panic);
        }
    }
    eprintln!(
        "{kind}: {cases} histories, {all} events, {} % void",
        void * 100 / all.max(1)
    );
}

/// Two generators: one whose people mostly do what they may, so that histories go deep; and one whose people mostly try what
/// they may not.
fn in_both_kinds(check: impl Fn(&mut History) + Copy) {
    histories("sensible", 5, check);
    histories("hostile", 60, check);
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    in_both_kinds(|history| {
        let one = history.world.fold();
        let other = Part::of(history.shuffled());
        let again = other.fold();
        assert_eq!(
            by_id(&history.world.graph, &one),
            by_id(&other.graph, &again)
        );
        let ids = |graph: &Graph, fold: &Fold| -> Vec<_> {
            fold.order
                .iter()
                .map(|idx| graph.event(*idx).id())
                .collect()
        };
        assert_eq!(ids(&history.world.graph, &one), ids(&other.graph, &again));
        assert_eq!(one.state, again.state);
        assert_eq!(one.state.hash(), again.state.hash());
        assert_eq!(one.authority.hash(), again.authority.hash());
    });
}

#[test]
fn every_causally_closed_part_folds_and_keeps_the_invariants() {
    in_both_kinds(|history| {
        let events = history.some();
        let part = Part::of(events.clone());
        let fold = part.fold();
        invariants(&part.graph, &fold);
        // Whoever knows just as much, but heard it in another order, gives the same reasons.
        let other = Part::of(history.shuffle(&events));
        let again = other.fold();
        assert_eq!(by_id(&part.graph, &fold), by_id(&other.graph, &again));
        assert_eq!(fold.state.hash(), again.state.hash());
        invariants(&history.world.graph, &history.world.fold());
    });
}

#[test]
fn authority_needs_no_key() {
    in_both_kinds(|history| {
        let open = history.world.fold();
        let closed = fold(&history.world.graph, &[]);
        assert_eq!(open.authority, closed.authority);
        assert_eq!(open.authority.hash(), closed.authority.hash());
        for (with, without) in open.verdicts.iter().zip(closed.verdicts.iter()) {
            match (with, without) {
                (_, Verdict::Pending) => {}
                (with, without) => assert_eq!(with.counts(), without.counts()),
            }
        }
    });
}

fn invariants(graph: &Graph, fold: &Fold) {
    let state = &fold.state;
    unique(
        "host name",
        state.devices.values().map(|device| &device.host),
    );
    unique("name", state.members.values().map(|member| &member.name));
    unique(
        "address",
        state.devices.values().filter_map(|device| device.v4),
    );
    for device in state.devices.values() {
        let subnet = state.subnet.unwrap();
        assert!(device.v4.is_none_or(|v4| subnet.index(v4).is_some()));
        assert!(state.members[&device.user].devices.contains(&device.id));
        assert!(!state.removed_devices.contains_key(&device.id));
    }
    for user in state.members.keys() {
        assert!(!state.removed_users.contains_key(user));
    }
    let owners: Vec<&UserId> = state
        .members
        .values()
        .filter(|member| member.rank == Rank::Owner)
        .map(|member| &member.user)
        .collect();
    assert_eq!(owners, [&state.owner], "exactly one owner");
    assert_eq!(state.pending, 0);
    assert_eq!(
        state.members.keys().collect::<Vec<_>>(),
        fold.authority.members.keys().collect::<Vec<_>>()
    );
    assert_eq!(
        state.devices.keys().collect::<Vec<_>>(),
        fold.authority.devices.keys().collect::<Vec<_>>()
    );
    for (slot, offer) in &state.offers {
        let event = graph.event(graph.find(&offer.event).unwrap());
        assert_eq!(event.author(), slot.0, "only a device offers what it has");
    }
    order_extends_causality(graph, fold);
    invites_are_not_overused(graph, fold);
    removed_keys_do_not_act(graph, fold);
}

fn unique<T: Ord + std::fmt::Debug>(what: &str, all: impl Iterator<Item = T>) {
    let mut seen = BTreeSet::new();
    for one in all {
        assert!(!seen.contains(&one), "two have the {what} {one:?}");
        seen.insert(one);
    }
}

fn order_extends_causality(graph: &Graph, fold: &Fold) {
    let mut done = BTreeSet::new();
    for idx in &fold.order {
        let event = graph.event(*idx);
        assert!(event.header().parents.iter().all(|id| done.contains(id)));
        done.insert(event.id());
    }
    assert_eq!(done.len(), graph.len());
}

fn counted(graph: &Graph, fold: &Fold) -> Vec<Idx> {
    graph
        .indices()
        .filter(|idx| fold.verdicts[idx.0 as usize].counts())
        .collect()
}

fn invites_are_not_overused(graph: &Graph, fold: &Fold) {
    let mut by_invite: BTreeMap<_, BTreeSet<UserId>> = BTreeMap::new();
    let mut otherwise: BTreeMap<UserId, BTreeSet<_>> = BTreeMap::new();
    for idx in counted(graph, fold) {
        let (user, invite) = match graph.event(idx).act() {
            Act::Admit(act) => (act.user, act.redemption.as_ref().map(|r| r.invite)),
            Act::Genesis(act) => (act.owner, None),
            Act::OwnerSet(act) => (act.successor, None),
            _ => continue,
        };
        otherwise.entry(user).or_default().insert(invite);
        if let Some(invite) = invite {
            by_invite.entry(invite).or_default().insert(user);
        }
    }
    for (invite, users) in by_invite {
        let issued = &fold.authority.invites[&invite];
        assert!(issued.used <= issued.max_uses);
        let by_it_alone = users
            .iter()
            .filter(|user| otherwise[*user].len() == 1)
            .count();
        assert!(
            by_it_alone <= issued.max_uses as usize,
            "{by_it_alone} users came by an invite for {}",
            issued.max_uses
        );
    }
}

struct Removed {
    event: Idx,
    cut: Option<mesh_ledger::graph::Past>,
    users: Option<UserId>,
    device: Option<DeviceId>,
}

/// From verdicts alone, and without the fold's own data: whoever wrote an event that counts has an admission in its past
/// that knows of every removal the event lies outside of.
fn removed_keys_do_not_act(graph: &Graph, fold: &Fold) {
    let counted = counted(graph, fold);
    let mut removals = Vec::new();
    let mut admissions: BTreeMap<DeviceId, Vec<(UserId, Idx)>> = BTreeMap::new();
    for idx in counted.iter().copied() {
        let event = graph.event(idx);
        match event.act() {
            Act::Genesis(act) => admissions
                .entry(act.device)
                .or_default()
                .push((act.owner, idx)),
            Act::Admit(act) => admissions
                .entry(act.device)
                .or_default()
                .push((act.user, idx)),
            Act::DeviceAdd(act) => admissions
                .entry(act.device)
                .or_default()
                .push((act.user, idx)),
            Act::OwnerSet(act) => admissions
                .entry(act.device)
                .or_default()
                .push((act.successor, idx)),
            Act::Remove(act) => {
                let cut = act.cut.as_ref().map(|heads| {
                    let heads: Vec<Idx> = heads.iter().map(|id| graph.find(id).unwrap()).collect();
                    graph.past_of(&heads)
                });
                let (users, device) = match act.target {
                    Target::User(user) => (Some(user), None),
                    // What a user key or the device says is about that user's device; tests below know one user each.
                    Target::Device(device) if act.by_user.is_none() && device != event.author() => {
                        (None, Some(device))
                    }
                    _ => continue,
                };
                removals.push(Removed {
                    event: idx,
                    cut,
                    users,
                    device,
                });
            }
            _ => {}
        }
    }
    for idx in counted {
        let event = graph.event(idx);
        // Of acts of power, P1 asks for an office, which a removal by a junior does not end.
        let judged_by_rank = matches!(
            event.act(),
            Act::Grant(_) | Act::Remove(_) | Act::InviteClose(_) | Act::Checkpoint(_)
        );
        if judged_by_rank || matches!(event.act(), Act::OwnerSet(_)) {
            continue;
        }
        let author = event.author();
        let speaks = admissions
            .get(&author)
            .into_iter()
            .flatten()
            .any(|(user, admission)| {
                (*admission == idx || graph.precedes(*admission, idx))
                    && removals
                        .iter()
                        .filter(|r| r.users == Some(*user) || r.device == Some(author))
                        .all(|r| {
                            graph.precedes(r.event, *admission)
                                || r.cut.as_ref().map_or_else(
                                    || graph.precedes(idx, r.event),
                                    |cut| graph.within(idx, cut),
                                )
                        })
            });
        assert!(
            speaks,
            "{event:?} counts, by somebody removed or never admitted"
        );
    }
    // Who was removed by somebody still in office, and not admitted since, holds none.
    for removal in &removals {
        if let Some(user) = removal.users
            && !fold.authority.members.contains_key(&user)
        {
            assert!(!fold.authority.is_admin(&user));
        }
    }
}

#[test]
fn an_undoing_leaves_the_largest_past_without_what_it_undoes() {
    in_both_kinds(|history| {
        let graph = &history.world.graph;
        let mut whose: BTreeMap<DeviceId, UserId> = BTreeMap::new();
        for idx in graph.indices() {
            let named = match graph.event(idx).act() {
                Act::Genesis(act) => Some((act.device, act.owner)),
                Act::Admit(act) => Some((act.device, act.user)),
                Act::DeviceAdd(act) => Some((act.device, act.user)),
                _ => None,
            };
            whose.extend(named);
        }
        for from in graph.indices().skip(1).step_by(7) {
            let (id, device) = (graph.event(from).id(), graph.event(from).author());
            let Some(user) = whose.get(&device) else {
                continue;
            };
            let Ok(found) = cut(graph, user, Some(&Since::Event(id))) else {
                continue;
            };
            assert!(found.heads.len() <= MAX_CUT && found.heads.is_sorted());
            let heads: Vec<Idx> = found
                .heads
                .iter()
                .map(|id| graph.find(id).unwrap())
                .collect();
            let past = graph.past_of(&heads);
            let undone: Vec<Idx> = graph
                .by_author(&device)
                .filter(|idx| !graph.precedes(*idx, from))
                .collect();
            assert!(undone.contains(&from));
            for idx in graph.indices() {
                let falls = undone
                    .iter()
                    .any(|first| *first == idx || graph.precedes(*first, idx));
                if falls {
                    assert!(!graph.within(idx, &past), "{idx:?} is undone and kept");
                } else if found.heads.len() < MAX_CUT {
                    assert!(graph.within(idx, &past), "{idx:?} falls for nothing");
                }
            }
        }
    });
}

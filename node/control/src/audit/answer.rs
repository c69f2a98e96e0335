//! Answers to what is asked of a network's history, from the daemon's ledger or from a stored copy.

use std::collections::BTreeSet;

use mesh_ledger::ids::{DeviceId, EventId};
use mesh_ledger::past::Reading;

use super::filter::Filter;
use super::names::Names;
use super::{changes, moment, network_name, page, show};
use crate::call::{Log, LogDiff, LogShow, Past};
use crate::error::Error;
use crate::history;
use crate::reply;

/// The most entries of one answer.
const MOST: usize = 10_000;

/// The log, as it is or was, but for its cursor. `turned` are the events that turned since what the call was told.
///
/// # Errors
/// `not_found` or `usage` for what was typed.
pub fn log(
    reading: Reading<'_>,
    call: &Log,
    turned: impl Iterator<Item = EventId>,
) -> Result<reply::Log, Error> {
    if let Some(at) = &call.at {
        let (book, as_of) = moment::book(reading, at)?;
        let log = entries(book.reading(), call, std::iter::empty())?;
        return Ok(reply::Log {
            as_of: Some(as_of),
            ..log
        });
    }
    entries(reading, call, turned)
}

fn entries(
    reading: Reading<'_>,
    call: &Log,
    turned: impl Iterator<Item = EventId>,
) -> Result<reply::Log, Error> {
    let limit = call.limit.map_or(MOST, |limit| (limit as usize).min(MOST));
    let names = Names::of(reading);
    let filter = Filter::new(reading, &names, &call.filters)?;
    let told = call.after.as_ref();
    let told = told.map(|after| moment::told(reading, after)).transpose()?;
    let is_told = |idx| told.as_ref().is_some_and(|told| told(idx));
    let page = page(
        reading,
        &names,
        |idx| !is_told(idx) && filter.passes(idx),
        limit,
    );
    let turned: BTreeSet<_> = turned
        .filter_map(|event| reading.graph.find(&event))
        .collect();
    let turned = if turned.is_empty() {
        Vec::new()
    } else {
        let keep = |idx| turned.contains(&idx) && is_told(idx) && filter.passes(idx);
        super::page(reading, &names, keep, MOST).entries
    };
    Ok(reply::Log {
        network: network_name(reading),
        entries: page.entries,
        more: page.more,
        as_of: None,
        turned,
        cursor: None,
    })
}

/// One event. `same` are the devices that said that they hold the same events.
///
/// # Errors
/// `not_found` or `usage` for what was typed.
pub fn shown(
    reading: Reading<'_>,
    call: &LogShow,
    same: &BTreeSet<DeviceId>,
) -> Result<history::LogShown, Error> {
    let idx = moment::find(reading, &call.event)?;
    Ok(show(reading, network_name(reading), idx, same))
}

/// What changed.
///
/// # Errors
/// `not_found` or `usage` for what was typed.
pub fn differences(reading: Reading<'_>, call: &LogDiff) -> Result<history::Differences, Error> {
    let (old, from) = moment::book(reading, &call.from)?;
    let to = call.to.as_ref().map(|to| moment::book(reading, to));
    let to = to.transpose()?;
    let new = to.as_ref().map_or(reading, |(book, _)| book.reading());
    Ok(history::Differences {
        network: network_name(reading),
        changes: changes(old.reading(), new),
        from,
        to: to.map(|(_, as_of)| as_of),
    })
}

/// The network as it was.
///
/// # Errors
/// `not_found` or `usage` for what was typed.
pub fn past(reading: Reading<'_>, call: &Past) -> Result<history::Past, Error> {
    let (book, as_of) = moment::book(reading, &call.at)?;
    Ok(super::past::past(book.reading(), as_of))
}

//! What reads a network's history: the daemon is asked, and where none runs the stored network is read, to the same end.

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_control::audit::answer;
use mesh_control::call::{self, Verb as CallVerb};
use mesh_control::{Code, Error, history, reply};
use mesh_ledger::past::Reading;

use crate::context::Context;
use crate::offline;
use crate::render::Line;

/// The log.
pub(crate) async fn log(call: call::Log, context: &mut Context) -> Result<reply::Log, Error> {
    let read =
        |reading: Reading<'_>, call: &call::Log| answer::log(reading, call, std::iter::empty());
    ask(call, read, context).await
}

/// One event.
pub(crate) async fn show(
    call: call::LogShow,
    context: &mut Context,
) -> Result<history::LogShown, Error> {
    let read =
        |reading: Reading<'_>, call: &call::LogShow| answer::shown(reading, call, &BTreeSet::new());
    ask(call, read, context).await
}

/// What changed.
pub(crate) async fn diff(
    call: call::LogDiff,
    context: &mut Context,
) -> Result<history::Differences, Error> {
    ask(call, answer::differences, context).await
}

/// The network as it was.
pub(crate) async fn past(call: call::Past, context: &mut Context) -> Result<history::Past, Error> {
    ask(call, answer::past, context).await
}

async fn ask<V: CallVerb + Clone>(
    call: V,
    read: impl FnOnce(Reading<'_>, &V) -> Result<V::Answer, Error>,
    context: &mut Context,
) -> Result<V::Answer, Error> {
    let not_running = match context.call_waiting(call.clone(), LONG).await {
        Err(error) if error.code == Code::NotRunning => error,
        answer => return answer,
    };
    let stored =
        offline::read(&context.state_folder(), context.network().as_deref()).map_err(|error| {
            match error.code {
                Code::NotPermitted => error.hint(context.typed_as_root()),
                _ => error,
            }
        })?;
    let Some(stored) = stored else {
        return Err(not_running);
    };
    let mut note = "meshd is not running: this is the copy it left".to_owned();
    if stored.damaged > 0 {
        note.push_str(&format!(
            "; {} events of it are damaged or follow one that is, see mesh log verify",
            stored.damaged
        ));
    }
    context.note(&[Line::quiet(note)]);
    read(stored.book.reading(), &call)
}

/// A long history takes a while.
pub(crate) const LONG: Duration = Duration::from_secs(300);

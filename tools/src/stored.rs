//! What reads a network's history: the daemon is asked, and where none runs the stored network is read, to the same end.

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_control::audit::names::is_prefix;
use mesh_control::audit::{answer, network_name};
use mesh_control::call::{self, Verb as CallVerb};
use mesh_control::near::nearest;
use mesh_control::{Code, Error, history, reply};
use mesh_ledger::ids::UserId;
use mesh_ledger::past::Reading;

use crate::context::Context;
use crate::render::Line;
use crate::{files, offline};

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

/// The key of the member that is called so, has a device of that name, or whose key begins so.
pub(crate) async fn member(name: &str, context: &mut Context) -> Result<UserId, Error> {
    let asked = call::Member {
        network: context.network(),
        name: name.to_owned(),
    };
    let member = context.call(asked).await;
    let member = match member {
        Err(error) if error.code == Code::NotRunning => {
            let found = from_copy(error, |reading| Ok(member_in(reading, name)), context)?;
            return found.map_err(|(error, meant)| match meant {
                Some(meant) => error.hint(context.retyped("mesh", name, &meant)),
                None => error.hint(context.command(&["log", "--type", "admit"])),
            });
        }
        member => context.suggest(member, &[name]).await?.member,
    };
    member.user.parse().map_err(|_| files::nonsense())
}

/// The member in a copy; else the error, and who was perhaps meant.
fn member_in(reading: Reading<'_>, typed: &str) -> Result<UserId, (Error, Option<String>)> {
    let state = &reading.fold.state;
    let network = network_name(reading);
    let name = typed
        .strip_suffix(&format!(".{network}"))
        .unwrap_or(typed)
        .to_ascii_lowercase();
    let named = state.user(&name).map(|member| member.user);
    let of_host = || state.host(&name).map(|device| device.user);
    let by_key = || {
        let users = state.members.keys();
        let mut users = users.filter(|user| is_prefix(&name, &user.to_string()));
        users.next().filter(|_| users.next().is_none()).copied()
    };
    named.or_else(of_host).or_else(by_key).ok_or_else(|| {
        let shown: String = typed.chars().take(64).collect();
        let error = Error::new(Code::NotFound, format!("no member {shown} in {network}"));
        let members = state.members.values();
        let names: Vec<String> = members.map(|member| member.name.to_string()).collect();
        (error, nearest(&name, &names))
    })
}

async fn ask<V: CallVerb + Clone>(
    call: V,
    read: impl FnOnce(Reading<'_>, &V) -> Result<V::Answer, Error>,
    context: &mut Context,
) -> Result<V::Answer, Error> {
    match context.call_waiting(call.clone(), LONG).await {
        Err(error) if error.code == Code::NotRunning => {
            from_copy(error, |reading| read(reading, &call), context)
        }
        answer => answer,
    }
}

/// Reads the stored copy, because no daemon runs.
fn from_copy<T>(
    not_running: Error,
    read: impl FnOnce(Reading<'_>) -> Result<T, Error>,
    context: &mut Context,
) -> Result<T, Error> {
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
    read(stored.book.reading())
}

/// A long history takes a while.
pub(crate) const LONG: Duration = Duration::from_secs(300);

//! `mesh watch`

mod exec;
mod happening;
mod seen;

use std::pin::pin;

use mesh_control::audit::log::TOPICS;
use mesh_control::near::nearest;
use mesh_control::{Code, Error};
use mesh_ledger::event::Act;

use self::exec::{Ended, Runner};
use self::happening::{Happening, LIVE};
use self::seen::Seen;
use crate::context::Context;
use crate::follow::{self, Follower, Step};
use crate::render::{self, Line};

/// Tell what happens, as it happens
///
/// Events as they count: who comes, goes and offers what; and what this machine sees: who is online, over which path, and
/// how servers do. Until interrupted. Without -n, of every network.
///
/// With --exec, CMD runs here as you for each, one at a time, and no shell reads it. What happened stands in its
/// environment: MESH_KIND (admit, kick, offer, online, …), MESH_NETWORK, MESH_NETWORK_ID, MESH_NAME (whom it is about),
/// MESH_BY (who signed), MESH_TEXT (a sentence), MESH_EVENT (the event's id), MESH_TIME_MS. What does not apply is empty.
/// Names and sentences come from other members: quote them as any input from strangers.
#[derive(clap::Args)]
pub struct Args {
    /// Only this kind; may be given several times: admit, grant, kick, leave, offer, withdraw, …, as mesh log has them; void
    /// and counted (an event that turned); online, offline, path, server, up, down, removed, problem
    #[arg(long = "type", value_name = "KIND")]
    kinds: Vec<String>,
    /// Run this for each; the words up to the end, or to a ; of its own, are its arguments
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true, value_terminator = ";")]
    exec: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    for kind in &args.kinds {
        check(kind)?;
    }
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    let (mut follower, state) = Follower::start(context).await?;
    if let (Some(network), []) = (context.network(), state.networks.as_slice()) {
        let error = Error::new(Code::NotFound, format!("no network {network} here"));
        return context.suggest(Err(error), &[]).await;
    }
    let mut seen = Seen::default();
    for network in &state.networks {
        // From here on: what is behind us is in the log.
        seen.begin(&network.status.network.id, context).await?;
    }
    let mut runner = Runner::start(args.exec);
    context.note(&[Line::quiet("watching; interrupt to end")]);
    let result = loop {
        let step = tokio::select! {
            step = follower.next() => step?,
            ended = runner.ended() => {
                told_end(&ended, context);
                continue;
            }
            _ = &mut interrupted => {
                runner.leave_what_waits();
                break Ok(());
            }
        };
        match happened(step, &mut seen, context).await {
            Ok(happenings) => {
                for happening in happenings {
                    if args.kinds.is_empty() || args.kinds.iter().any(|kind| happening.is(kind)) {
                        tell(&happening, &runner, context)?;
                    }
                }
            }
            Err(error) => break Err(error),
        }
    };
    for ended in runner.finish().await {
        told_end(&ended, context);
    }
    result
}

/// What a step of the daemon's states amounts to.
async fn happened(
    step: Step,
    seen: &mut Seen,
    context: &mut Context,
) -> Result<Vec<Happening>, Error> {
    let mut happenings = Vec::new();
    match step {
        Step::Changed(states) => {
            let (before, after) = *states;
            if let Some(network) = context.network()
                && follow::is_gone(&before, &after, &network)
            {
                return Err(follow::gone(&network));
            }
            happenings.extend(happening::between(&before, &after));
            seen.read_changed(&before, &after, &mut happenings, context)
                .await?;
        }
        Step::Lost => context.note(&[Line::quiet("meshd has stopped; waiting for it")]),
        Step::Back(state) => {
            context.note(&[Line::quiet("meshd is back; what came meanwhile follows")]);
            for network in &state.networks {
                let id = &network.status.network.id;
                happenings.extend(seen.catch_up(id, context).await?);
            }
        }
    }
    Ok(happenings)
}

fn tell(happening: &Happening, runner: &Runner, context: &mut Context) -> Result<(), Error> {
    context.print("watch", happening, |happening, _| happening.lines())?;
    if !runner.run(happening) {
        let text = "too many wait for the command: it is not run for this one";
        context.note(&[Line::new(render::Role::Care, text)]);
    }
    Ok(())
}

fn told_end(ended: &Ended, context: &mut Context) {
    let role = if ended.well {
        render::Role::Quiet
    } else {
        render::Role::Care
    };
    context.note(&[Line::new(role, &ended.text)]);
}

/// Whether there is such a kind.
fn check(kind: &str) -> Result<(), Error> {
    let known: Vec<String> = Act::KINDS
        .into_iter()
        .chain(TOPICS)
        .chain(LIVE)
        .map(str::to_owned)
        .collect();
    if known.iter().any(|known| known == kind) {
        return Ok(());
    }
    let error = Error::new(Code::Usage, format!("nothing is of a kind {kind}"));
    Err(match nearest(kind, &known) {
        Some(right) => error.hint(format!("mesh watch --type {right}")),
        None => error.hint("mesh watch --help"),
    })
}

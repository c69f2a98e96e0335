//! `mesh owner transfer NAME`, `mesh owner accept`, `mesh owner recover`

use std::time::Duration;

use clap::Subcommand;
use mesh_control::call::Proposed;
use mesh_control::reply::NewWords;
use mesh_control::{Code, Error, Secret, call};

use crate::cli::{Consent, Wait};
use crate::context::Context;
use crate::render::{self, Line};
use crate::{parse, words};

/// Hand the network over, or take it over with the recovery words
///
/// Whoever owns the network outranks everybody in it. The recovery words that were shown once when it was made, or when it
/// changed hands last, decide who does; each new owner gets new ones, and the old are worth nothing from then on.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Hand the network over to a member, who accepts on its own machine with: mesh owner accept
    ///
    /// Asks for your recovery words; they never leave this machine. You stay a member.
    Transfer {
        /// Name of the member or of one of its devices
        name: String,
        /// Your recovery words: - for standard input; asked for at a terminal
        #[arg(value_name = "-")]
        words: Option<String>,
        /// How long the offer stands
        #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = parse::duration)]
        lasts: Duration,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        wait: Wait,
    },
    /// Take the network over from its owner, who offers it; shows your own new recovery words, once
    Accept {
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        wait: Wait,
    },
    /// Become the owner by the recovery words, on any machine that holds the network; shows your own new words, once
    ///
    /// For when the owner's machine is lost. What the owner did stands, as far as this machine knows it; with --since, only
    /// what came before. The owner until then stays a member: kick it if its machine was stolen.
    Recover {
        /// The recovery words: - for standard input; asked for at a terminal
        #[arg(value_name = "-")]
        words: Option<String>,
        /// Undo what the owner until now did from then on: the first event to undo, a time span ago, or a day
        #[arg(long, value_name = "EVENT|TIME")]
        since: Option<String>,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        wait: Wait,
    },
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    match args.action {
        Action::Transfer {
            name,
            words,
            lasts,
            consent,
            wait,
        } => transfer(&name, words.as_deref(), lasts, consent, wait, context).await,
        Action::Accept { consent, wait } => accept(consent, wait, context).await,
        Action::Recover {
            words,
            since,
            consent,
            wait,
        } => recover(words.as_deref(), since.as_deref(), consent, wait, context).await,
    }
}

async fn transfer(
    name: &str,
    typed: Option<&str>,
    lasts: Duration,
    consent: Consent,
    wait: Wait,
    context: &mut Context,
) -> Result<(), Error> {
    let mut transfer = call::OwnerTransfer {
        network: context.network(),
        name: name.to_owned(),
        words: Secret::new(""),
        offer_seconds: u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX),
        wait_ms: wait.ms(),
    };
    // Before anybody types 24 words: whether they can be of use.
    let proposed = Proposed::OwnerTransfer(transfer.clone());
    if !context.consent(proposed, consent, &[name]).await? {
        return Ok(());
    }
    transfer.words = words::read(typed, context)?;
    let until = render::duration(lasts);
    context.note(&[Line::quiet(format!(
        "offered to {name} for {until}; this waits until it is accepted"
    ))]);
    let there = context.command(&["owner", "accept"]);
    context.note(&[Line::hint(format!("on a machine of {name}: sudo {there}"))]);
    let changed = context.call_waiting(transfer, lasts + wait.more()).await;
    let changed = context.suggest(changed, &[name]).await?;
    context.print("owner", &changed, |changed, _| {
        render::owner_changed(changed)
    })?;
    context.require_spread(wait.wait, &changed.spread)
}

async fn accept(consent: Consent, wait: Wait, context: &mut Context) -> Result<(), Error> {
    let mut accept = call::OwnerAccept {
        network: context.network(),
        recovery: None,
        wait_ms: wait.ms(),
    };
    let offered = context.call(accept.clone()).await;
    let offered = context.suggest(offered, &[]).await?;
    if consent.dry_run {
        return context.print("owner_offer", &offered, render::owner_offered);
    }
    let look = context.look();
    context.note(&render::owner_offered(&offered, &look));
    let new = show_new_words(consent, context).await?;
    accept.recovery = Some(new.recovery);
    let mut client = context.connect().await?;
    let offered = context.call_keyed(&mut client, accept, wait.more()).await;
    let offered = context.suggest(offered, &[]).await?;
    let changed = offered
        .changed
        .ok_or_else(|| Error::new(Code::Failed, "meshd does not say what came of it"))?;
    context.print("owner", &changed, |changed, _| {
        render::owner_changed(changed)
    })?;
    context.require_spread(wait.wait, &changed.spread)
}

async fn recover(
    typed: Option<&str>,
    since: Option<&str>,
    consent: Consent,
    wait: Wait,
    context: &mut Context,
) -> Result<(), Error> {
    let mut recover = call::OwnerRecover {
        network: context.network(),
        words: words::read(typed, context)?,
        recovery: String::new(),
        since: parse::undo(since, "owner recover", context)?,
        wait_ms: wait.ms(),
    };
    // Told also to somebody who is not asked: nobody should be shown new words before the old ones are known to do.
    let preview = call::Preview {
        act: Proposed::OwnerRecover(recover.clone()),
    };
    let mut client = context.connect().await?;
    let previewed = context
        .call_keyed(&mut client, preview, Duration::ZERO)
        .await;
    let previewed = context.suggest(previewed, &[]).await?;
    if consent.dry_run {
        return context.print("preview", &previewed, |previewed, _| {
            render::previewed(previewed)
        });
    }
    context.note(&render::previewed(&previewed));
    let new = show_new_words(consent, context).await?;
    recover.recovery = new.recovery;
    let changed = context.call_keyed(&mut client, recover, wait.more()).await;
    let changed = context.suggest(changed, &[]).await?;
    context.print("owner", &changed, |changed, _| {
        render::owner_changed(changed)
    })?;
    if changed.before != changed.owner {
        let kick = context.command(&["kick", &changed.before]);
        context.hint(&format!("if that machine was stolen: {kick}"));
    }
    context.require_spread(wait.wait, &changed.spread)
}

/// Shows new recovery words before anything is signed that makes them the ones that count, and waits until they are written
/// down where somebody sits there.
async fn show_new_words(consent: Consent, context: &mut Context) -> Result<NewWords, Error> {
    let new = context.call(call::RecoveryWords {}).await?;
    context.print("recovery_words", &new, |new, _| render::new_words(new))?;
    if context.may_ask(consent) {
        context.ask("write them down, then type yes: ")?;
    }
    Ok(new)
}

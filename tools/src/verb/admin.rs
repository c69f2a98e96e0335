//! `mesh admin ls`, `mesh admin grant NAME`, `mesh admin revoke NAME`

use clap::Subcommand;
use mesh_control::call::Proposed;
use mesh_control::reply::Signed;
use mesh_control::{Error, call};

use crate::cli::{At, Consent, Wait};
use crate::context::Context;
use crate::{parse, render};

/// List, grant and revoke admins
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the owner and the admins, by seniority
    Ls(At),
    /// Make a member an admin: it may invite, grant, and kick its juniors
    Grant(Named),
    /// Take an admin's rank away, and undo what was done with a stolen key
    ///
    /// Whoever it is stays a member. Without --since all that the admin did so far stands.
    Revoke {
        #[command(flatten)]
        named: Named,
        /// Undo, too, what it did as an admin from then on: the first event to undo, a time span ago, or a day
        ///
        /// Events are exact. A time is judged by the clock of whoever signed, which a thief may have set: look at what
        /// would become void before you sign.
        #[arg(long, value_name = "EVENT|TIME")]
        since: Option<String>,
    },
}

#[derive(clap::Args)]
struct Named {
    /// Name of the member or of one of its devices
    name: String,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    match args.action {
        Action::Ls(at) => {
            if let Some(past) = at.past("admin ls", context).await? {
                return context.print("past", &past, render::past_admins);
            }
            let network = context.network();
            let admins = context.call(call::AdminList { network }).await;
            let admins = context.suggest(admins, &[]).await?;
            context.print("members", &admins, render::members)
        }
        Action::Grant(named) => grant(named, context).await,
        Action::Revoke { named, since } => revoke(named, since.as_deref(), context).await,
    }
}

async fn grant(named: Named, context: &mut Context) -> Result<(), Error> {
    let grant = call::AdminGrant {
        network: context.network(),
        name: named.name.clone(),
        wait_ms: named.wait.ms(),
    };
    let proposed = Proposed::AdminGrant(grant.clone());
    if !context
        .consent(proposed, named.consent, &[&named.name])
        .await?
    {
        return Ok(());
    }
    let signed = context.call_waiting(grant, named.wait.more()).await;
    report(signed, &named, "is an admin now", context).await
}

async fn revoke(named: Named, since: Option<&str>, context: &mut Context) -> Result<(), Error> {
    let revoke = call::AdminRevoke {
        network: context.network(),
        name: named.name.clone(),
        since: parse::undo(since, &format!("admin revoke {}", named.name), context)?,
        wait_ms: named.wait.ms(),
    };
    let proposed = Proposed::AdminRevoke(revoke.clone());
    if !context
        .consent(proposed, named.consent, &[&named.name])
        .await?
    {
        return Ok(());
    }
    let signed = context.call_waiting(revoke, named.wait.more()).await;
    report(signed, &named, "is no admin any more", context).await
}

async fn report(
    signed: Result<Signed, Error>,
    named: &Named,
    what: &str,
    context: &mut Context,
) -> Result<(), Error> {
    let signed = context.suggest(signed, &[&named.name]).await?;
    context.print("admin", &signed, |signed, _| render::signed(signed, what))?;
    if signed.acts_voided > 0 {
        let log = context.command(&["log", "--about", &signed.name]);
        context.hint(&log);
    }
    context.require_spread(named.wait.wait, &signed.spread)
}

//! `mesh admin ls`, `mesh admin grant NAME`, `mesh admin revoke NAME`

use clap::Subcommand;
use mesh_control::{Error, call};

use crate::cli::{At, Wait};
use crate::context::Context;
use crate::render;

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
    /// Take an admin's rank away
    Revoke(Named),
}

#[derive(clap::Args)]
struct Named {
    /// Name of the member or of one of its devices
    name: String,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let network = context.network();
    let (named, signed, what) = match args.action {
        Action::Ls(at) => {
            if let Some(past) = at.past("admin ls", context).await? {
                return context.print("past", &past, render::past_admins);
            }
            let admins = context.call(call::AdminList { network }).await;
            let admins = context.suggest(admins, &[]).await?;
            return context.print("members", &admins, render::members);
        }
        Action::Grant(named) => {
            let grant = call::AdminGrant {
                network,
                name: named.name.clone(),
                wait_ms: named.wait.ms(),
            };
            let signed = context.call_waiting(grant, named.wait.more()).await;
            (named, signed, "is an admin now")
        }
        Action::Revoke(named) => {
            let revoke = call::AdminRevoke {
                network,
                name: named.name.clone(),
                wait_ms: named.wait.ms(),
            };
            let signed = context.call_waiting(revoke, named.wait.more()).await;
            (named, signed, "is no admin any more")
        }
    };
    let signed = context.suggest(signed, &[&named.name]).await?;
    context.print("admin", &signed, |signed, _| render::signed(signed, what))?;
    context.require_spread(named.wait.wait, &signed.spread)
}

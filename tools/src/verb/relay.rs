//! `mesh relay offer|withdraw|ls`

use std::time::Duration;

use clap::Subcommand;
use mesh_control::view::{Audience, Offered};
use mesh_control::{Code, Error, call};

use crate::cli::Wait;
use crate::context::Context;
use crate::{parse, render};

/// Forward between members that cannot reach each other straight
///
/// What is forwarded is sealed end to end: the machine in the middle sees who talks with whom and how much, and nothing else.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Have this machine forward between the members named
    Offer {
        /// Between whom: names of members or devices, or tag:TAG, with commas between, or all
        #[arg(long, value_name = "WHO", value_delimiter = ',', default_value = "all")]
        to: Vec<String>,
        /// For how long; until it is withdrawn if absent
        #[arg(long = "for", value_name = "TIME", value_parser = parse::duration)]
        lasts: Option<Duration>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Forward no longer
    Withdraw {
        #[command(flatten)]
        wait: Wait,
    },
    /// List who forwards for this machine, and what it forwards itself
    Ls,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let network = context.network();
    match args.action {
        Action::Offer { to, lasts, wait } => {
            let to = parse::audience(&to);
            let names: Vec<&str> = match &to {
                Audience::All => Vec::new(),
                Audience::Names(names) => names.iter().map(String::as_str).collect(),
            };
            let share = call::Share {
                network,
                what: Offered::Relay,
                to: to.clone(),
                for_seconds: lasts.map(|lasts| lasts.as_secs()),
                name: None,
                wait_ms: wait.ms(),
            };
            let shared = context.call_waiting(share, wait.more()).await;
            let shared = context.suggest(shared, &names).await?;
            context.print("share", &shared, render::shared)?;
            let undo = context.command(&["relay", "withdraw"]);
            context.hint(&undo);
            context.require_spread(wait.wait, &shared.spread)
        }
        Action::Withdraw { wait } => {
            let unshare = call::Unshare {
                network,
                what: Offered::Relay,
                wait_ms: wait.ms(),
            };
            let unshared = context.call_waiting(unshare, wait.more()).await;
            let unshared = unshared.map_err(|error| match error.code {
                Code::NotFound => error.hint("mesh relay ls"),
                _ => error,
            })?;
            context.print("unshare", &unshared, |unshared, _| {
                render::unshared(unshared)
            })?;
            context.require_spread(wait.wait, &unshared.spread)
        }
        Action::Ls => {
            let offers = context.call(call::Offers { network }).await;
            let mut offers = context.suggest(offers, &[]).await?;
            offers.offers.retain(|offer| offer.what == Offered::Relay);
            let none = offers.offers.is_empty();
            context.print("offers", &offers, render::relays)?;
            if none {
                context.hint("mesh relay offer");
            }
            Ok(())
        }
    }
}

//! `mesh member ls`, `mesh member show NAME`, `mesh member kick NAME`

use clap::Subcommand;
use mesh_control::{Error, call};

use crate::cli::At;
use crate::context::Context;
use crate::render;
use crate::verb::kick;

/// List, show and kick members
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the members and their devices
    Ls(At),
    /// Show all about one member
    Show {
        /// Name of the member or of one of its devices
        name: String,
    },
    /// Remove a member with all its devices
    Kick(kick::Args),
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    match args.action {
        Action::Ls(at) => {
            if let Some(past) = at.past("member ls", context).await? {
                return context.print("past", &past, render::past_members);
            }
            let members = context
                .call(call::Members {
                    network: context.network(),
                })
                .await;
            let members = context.suggest(members, &[]).await?;
            context.print("members", &members, render::members)
        }
        Action::Show { name } => {
            let member = context
                .call(call::Member {
                    network: context.network(),
                    name: name.clone(),
                })
                .await;
            let member = context.suggest(member, &[&name]).await?;
            context.print("member", &member, render::member)
        }
        Action::Kick(args) => kick::run(args, context).await,
    }
}

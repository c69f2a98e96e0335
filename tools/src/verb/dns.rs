//! `mesh dns status|query`

use clap::Subcommand;
use mesh_control::{Error, call};

use crate::context::Context;
use crate::render;

/// See who answers for names, and what a name means
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show where names are answered, and what points other programs there
    Status,
    /// Look a name or an address up as this machine answers it; exit 5 if it is none
    Query {
        /// Such as bob, bob.home or 10.73.20.2
        #[arg(value_name = "NAME")]
        name: String,
    },
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let network = context.network();
    match args.action {
        Action::Status => {
            let statuses = context.call(call::DnsStatus { network }).await;
            let statuses = context.suggest(statuses, &[]).await?;
            context.print("dns_status", &statuses, render::dns_statuses)
        }
        Action::Query { name } => {
            let call = call::DnsQuery {
                network,
                name: name.clone(),
            };
            let answer = context.call(call).await;
            let answer = context.suggest(answer, &[&name]).await?;
            context.print("dns_query", &answer, |answer, _| render::dns_answer(answer))
        }
    }
}

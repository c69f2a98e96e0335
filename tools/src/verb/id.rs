//! `mesh id show`

use clap::Subcommand;
use mesh_control::{Error, call};

use crate::context::Context;
use crate::render;

/// Show the keys of this machine
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show the public keys, and what this machine is called in each network
    Show,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let Action::Show = args.action;
    let identity = context.call(call::IdShow {}).await?;
    context.print("id", &identity, render::identity)
}

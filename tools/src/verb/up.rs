//! `mesh up`

use std::time::Duration;

use mesh_control::{Error, call};

use crate::context::Context;
use crate::render;

/// Bring a network up, or all
///
/// Starts meshd if it does not run.
#[derive(clap::Args)]
pub struct Args {
    /// Which network; all if absent
    #[arg(value_name = "NET")]
    name: Option<String>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let (mut client, _) = context.connect_or_start().await?;
    let network = args.name.or(context.network());
    context.global.network.clone_from(&network);
    let networks = context
        .call_over(&mut client, call::Up { network }, RISING)
        .await;
    let networks = context.suggest(networks, &[]).await?;
    let none = networks.networks.is_empty();
    context.print("networks", &networks, |networks, _| render::up(networks))?;
    if none {
        context.hint("sudo mesh create NAME");
    }
    Ok(())
}

/// Interfaces take a moment more than an answer.
pub(crate) const RISING: Duration = Duration::from_secs(30);

//! `mesh down`

use mesh_control::{Error, call};

use crate::context::Context;
use crate::render;
use crate::verb::up::RISING;

/// Take a network down, or all; nothing of it stays on the machine
///
/// Its keys and its ledger are kept: mesh up brings it back.
#[derive(clap::Args)]
pub struct Args {
    /// Which network; all if absent
    #[arg(value_name = "NET")]
    name: Option<String>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let network = args.name.or(context.network());
    context.global.network.clone_from(&network);
    let networks = context.call_waiting(call::Down { network }, RISING).await;
    let networks = context.suggest(networks, &[]).await?;
    context.print("networks", &networks, |networks, _| render::down(networks))
}

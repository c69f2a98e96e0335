//! `mesh leave NET`

use mesh_control::{Code, Error, call};

use crate::cli::Wait;
use crate::context::Context;
use crate::render;

/// Leave a network for good
///
/// Tells the others and forgets the network here. To come back takes a new invite.
#[derive(clap::Args)]
pub struct Args {
    /// Which network
    #[arg(value_name = "NET")]
    name: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let Some(network) = args.name.or(context.network()) else {
        return Err(Error::new(Code::Usage, "name the network to leave").hint("mesh networks"));
    };
    context.global.network = Some(network.clone());
    let left = context
        .call_waiting(
            call::Leave {
                network,
                wait_ms: args.wait.ms(),
            },
            args.wait.more(),
        )
        .await;
    let left = context.suggest(left, &[]).await?;
    context.print("leave", &left, |left, _| render::left(left))?;
    context.require_spread(args.wait.wait, &left.spread)
}

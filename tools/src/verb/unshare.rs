//! `mesh unshare PORT/PROTO`

use mesh_control::view::{Offered, Ports};
use mesh_control::{Code, Error, call};

use crate::cli::Wait;
use crate::context::Context;
use crate::render;

/// Close a port again
///
/// Open connections through it end with their next packet.
#[derive(clap::Args)]
pub struct Args {
    /// What to close, exactly as it was shared: 22/tcp, 8000-8010/udp or icmp
    #[arg(value_name = "PORT/PROTO")]
    ports: Ports,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let unshare = call::Unshare {
        network: context.network(),
        what: Offered::Ports(args.ports),
        wait_ms: args.wait.ms(),
    };
    let unshared = context
        .call_waiting(unshare, args.wait.more())
        .await
        .map_err(|error| match error.code {
            Code::NotFound if error.hint.is_none() => error.hint("mesh offers"),
            _ => error,
        })?;
    context.print("unshare", &unshared, |unshared, _| {
        render::unshared(unshared)
    })?;
    context.require_spread(args.wait.wait, &unshared.spread)
}

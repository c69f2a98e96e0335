//! `mesh path NAME`

use mesh_control::{Error, call};

use crate::context::Context;
use crate::render;

/// Show every way to a device, and why packets take the one they do
///
/// Packets go straight to one of the device's addresses if one answers, else over its control link, which may run through a server.
#[derive(clap::Args)]
pub struct Args {
    /// Name or mesh address of the device
    #[arg(value_name = "NAME")]
    to: String,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let call = call::PeerPath {
        network: context.network(),
        to: args.to.clone(),
    };
    let told = context.call(call).await;
    let told = context.suggest(told, &[&args.to]).await?;
    context.print("path", &told, render::path)
}

//! `mesh networks`

use mesh_control::{Error, call};

use crate::context::Context;
use crate::render;

/// List the networks of this machine
#[derive(clap::Args)]
pub struct Args {}

pub(crate) async fn run(_: Args, context: &mut Context) -> Result<(), Error> {
    let networks = context.call(call::Networks {}).await?;
    let none = networks.networks.is_empty();
    context.print("networks", &networks, render::networks)?;
    if none {
        context.hint("sudo mesh create NAME");
    }
    Ok(())
}

//! `mesh netcheck`

use mesh_control::{Error, call};

use crate::context::Context;
use crate::render;

/// Show how this machine is reached: its addresses, the router in front of it, UDP to its servers
#[derive(clap::Args)]
pub struct Args {}

pub(crate) async fn run(_: Args, context: &mut Context) -> Result<(), Error> {
    let told = context.call(call::NetCheck {}).await;
    let told = context.suggest(told, &[]).await?;
    context.print("netcheck", &told, render::netcheck)
}

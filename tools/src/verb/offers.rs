//! `mesh offers`

use mesh_control::{Error, call};

use crate::context::Context;
use crate::render;

/// List what is offered, by whom and to whom
///
/// Shows what this machine offers and what it may use.
#[derive(clap::Args)]
pub struct Args {}

pub(crate) async fn run(_: Args, context: &mut Context) -> Result<(), Error> {
    let offers = context
        .call(call::Offers {
            network: context.network(),
        })
        .await;
    let offers = context.suggest(offers, &[]).await?;
    let none = offers.offers.is_empty();
    context.print("offers", &offers, render::offers)?;
    if none {
        context.hint("mesh share 22/tcp");
    }
    Ok(())
}

//! `mesh offers`

use mesh_control::{Error, call};

use crate::cli::At;
use crate::context::Context;
use crate::render;

/// List what is offered, by whom and to whom
///
/// Shows what this machine offers and what it may use; with --at, all that was offered.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    at: At,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    if let Some(past) = args.at.past("offers", context).await? {
        return context.print("past", &past, render::past_offers);
    }
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

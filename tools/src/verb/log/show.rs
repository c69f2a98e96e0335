//! `mesh log show ID`

use mesh_control::{Error, call};

use crate::context::Context;
use crate::{render, stored};

/// See `mesh log show --help`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The start of the event's id, at least four digits
    #[arg(value_name = "ID")]
    event: String,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let call = call::LogShow {
        network: context.network(),
        event: args.event,
    };
    let shown = stored::show(call, context).await;
    let shown = context.suggest(shown, &[]).await?;
    context.print("log_show", &shown, render::log_shown)?;
    context.hint(&format!("mesh log diff {}", shown.entry.event.short));
    Ok(())
}

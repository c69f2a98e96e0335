//! `mesh log diff A [B]`

use mesh_control::{Error, call};

use crate::context::Context;
use crate::{parse, render, stored};

/// See `mesh log diff --help`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// From when: an event (the start of its id), a time span ago (2h), a day or a time (2026-11-22T14:30, UTC)
    #[arg(value_name = "FROM")]
    from: String,
    /// Until when; without it, until now
    #[arg(value_name = "TO")]
    to: Option<String>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let now_ms = (context.terminal.now_ms)();
    let to = args.to.as_deref();
    let call = call::LogDiff {
        network: context.network(),
        from: parse::moment(&args.from, "log diff", now_ms)?,
        to: to
            .map(|text| parse::moment(text, "log diff", now_ms))
            .transpose()?,
    };
    let differences = stored::diff(call, context).await;
    let differences = context.suggest(differences, &[]).await?;
    context.print("log_diff", &differences, render::differences)
}

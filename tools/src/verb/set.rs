//! `mesh set KEY VALUE`

use mesh_control::{Error, call};

use crate::cli::Wait;
use crate::context::Context;
use crate::render;

/// Set a setting of a network, for all its devices
#[derive(clap::Args)]
pub struct Args {
    /// The setting; mesh get lists them
    key: String,
    /// What to set it to
    value: String,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    write(args.key, Some(args.value), args.wait, context).await
}

/// Sets a setting, or without a value back to its default.
pub(super) async fn write(
    key: String,
    value: Option<String>,
    wait: Wait,
    context: &mut Context,
) -> Result<(), Error> {
    let write = call::SettingWrite {
        network: context.network(),
        key,
        value,
        wait_ms: wait.ms(),
    };
    let written = context.call_waiting(write, wait.more()).await;
    let written = context.suggest(written, &[]).await?;
    context.print("setting_written", &written, |written, _| {
        render::setting_written(written)
    })?;
    context.require_spread(wait.wait, &written.spread)
}

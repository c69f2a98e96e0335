//! `mesh unset KEY`

use mesh_control::Error;

use crate::cli::Wait;
use crate::context::Context;
use crate::verb::set;

/// Set a setting of a network back to its default
#[derive(clap::Args)]
pub struct Args {
    /// The setting; mesh get lists them
    key: String,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    set::write(args.key, None, args.wait, context).await
}

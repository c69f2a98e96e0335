//! `mesh completions SHELL`

use clap::CommandFactory;
use clap_complete::Shell;
use mesh_control::{Code, Error};

use crate::cli::Cli;
use crate::context::Context;

/// Print completions for a shell
///
/// For bash: mesh completions bash > /etc/bash_completion.d/mesh
#[derive(clap::Args)]
pub struct Args {
    /// Which shell
    shell: Shell,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mesh", &mut script);
    let script = String::from_utf8(script)
        .map_err(|_| Error::new(Code::Failed, "the completions are not UTF-8: a defect"))?;
    context.print_script(&script)
}

//! The `mesh` command. All it does is in the library beside it, where the tests can run it.

use std::process::ExitCode;

use mesh_cli::output::Terminal;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ExitCode::from(mesh_cli::run(std::env::args_os().collect(), Terminal::of_this_process()).await)
}

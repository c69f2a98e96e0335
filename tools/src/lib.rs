//! The `mesh` command: reads what a person typed, asks the daemon, prints the answer.
//!
//! * [`cli`] is the command line; `verb` has one file per verb with its arguments and what it does.
//! * [`render`] turns values into styled lines, and nothing else does.
//! * [`output`] is where lines become bytes: colour, width, symbols, JSON.
//!
//! Results go to standard output, progress and hints to standard error. A command refuses to decide anything that the
//! daemon decides. By itself it only looks at what was typed before a daemon is bothered with it, and, where none runs,
//! verifies the stored events (`offline`).

mod check;
pub mod cli;
mod context;
mod offline;
pub mod output;
mod parse;
pub mod render;
mod start;
mod suggest;
mod verb;

use std::ffi::OsString;

use mesh_control::Code;

use crate::context::Context;
use crate::output::Terminal;

/// Runs one command and gives its exit code. `args` begins with the program's name.
pub async fn run(args: Vec<OsString>, terminal: Terminal) -> u8 {
    let mut context = match cli::parse(&args) {
        Ok(cli) => Context::new(cli.global, terminal, &args).with(cli.verb),
        Err(error) => return refuse(&error, terminal),
    };
    let Some(verb) = context.take_verb() else {
        return Code::Failed.exit();
    };
    match verb.run(&mut context).await {
        Ok(()) => 0,
        Err(error) => {
            context.print_error(&error);
            error.code.exit()
        }
    }
}

/// Prints help, or what is wrong with the arguments.
fn refuse(error: &clap::Error, mut terminal: Terminal) -> u8 {
    let stream = if error.use_stderr() {
        &mut terminal.err
    } else {
        &mut terminal.out
    };
    let text = error.render();
    let text = if stream.color() {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    // Nobody is left to tell when this cannot be written.
    let _ = stream.write_plain(&text);
    if error.use_stderr() {
        Code::Usage.exit()
    } else {
        0
    }
}

//! The `mesh` command: reads what a person typed, asks the daemon, prints the answer.
//!
//! * [`cli`] is the command line; `verb` has one file per verb with its arguments and what it does.
//! * [`render`] turns values into styled lines, and nothing else does.
//! * [`output`] is where lines become bytes: colour, width, symbols, JSON.
//!
//! Results go to standard output, progress and hints to standard error. A command refuses to decide anything that the
//! daemon decides. By itself it only looks at what was typed before a daemon is bothered with it, and, where none runs,
//! reads and verifies the stored events (`offline`, `stored`).

mod check;
pub mod cli;
mod context;
mod doctor;
mod files;
mod follow;
mod offline;
pub mod output;
mod parse;
pub mod render;
mod secrets;
mod start;
mod stored;
mod suggest;
mod unit;
mod verb;
mod words;

use std::ffi::OsString;

use clap::error::ErrorKind;
use mesh_control::{Code, Error};

use crate::context::Context;
use crate::output::Terminal;
use crate::render::Line;

/// Runs one command and gives its exit code. `args` begins with the program's name.
pub async fn run(args: Vec<OsString>, terminal: Terminal) -> u8 {
    let mut context = match cli::parse(&args) {
        Ok(cli) => Context::new(cli.global, terminal, &args).with(cli.verb),
        Err(error) => return refuse(&error, &args, terminal),
    };
    if let Some(from) = context.global.passphrase.clone()
        && let Err(error) = secrets::check_source(&from)
    {
        context.print_error(&error);
        return error.code.exit();
    }
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
fn refuse(error: &clap::Error, args: &[OsString], mut terminal: Terminal) -> u8 {
    let is_mistake = error.use_stderr();
    let stream = if is_mistake {
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
    if !is_mistake {
        let _ = stream.write_plain(&text);
        return 0;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = stream.write_plain(&text);
        return Code::Usage.exit();
    }
    let help = cli::help_for(args);
    if args.iter().any(|arg| arg == "--json") {
        let plain = error.render().to_string();
        let what = plain.lines().map(str::trim).find(|line| !line.is_empty());
        let what = what.unwrap_or_default().trim_start_matches("error: ");
        let error = Error::new(Code::Usage, what).hint(help);
        let line = context::tagged("error", &error).unwrap_or(plain);
        let _ = stream.write(&[Line::plain(line)]);
    } else {
        // Clap's own last line says less.
        let said = text.split("\n\nFor more information").next();
        let _ = stream.write_plain(said.unwrap_or(&text).trim_end());
        let _ = stream.write_plain("\n");
        let _ = stream.write(&[Line::hint(help)]);
    }
    Code::Usage.exit()
}

//! `mesh join TICKET`

use std::time::Duration;

use mesh_control::{Error, call};

use crate::context::Context;
use crate::render::{self, Line};
use crate::{check, parse};

/// Join a network with a ticket
///
/// Starts meshd if it does not run.
#[derive(clap::Args)]
pub struct Args {
    /// The ticket, a file that holds it, or - to read it from standard input
    #[arg(value_name = "TICKET|FILE|-")]
    ticket: String,
    /// What this machine is called in the network; its host name if absent
    #[arg(long = "as", value_name = "HOST")]
    host: Option<String>,
    /// How long to try to reach a member
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse::duration)]
    wait: Duration,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    // Before a daemon is started for it.
    if let Some(host) = &args.host {
        check::label(host, context)?;
    }
    if args.ticket == "-" && context.terminal.input_is_terminal {
        context.note(&[Line::quiet("paste the ticket, then Enter and Ctrl-D")]);
    }
    let ticket = parse::ticket(&args.ticket, &mut *context.terminal.input)?;
    check::ticket(&ticket, &args.ticket, context)?;
    let (mut client, _) = context.connect_or_start().await?;
    let wait_seconds = u32::try_from(args.wait.as_secs()).unwrap_or(u32::MAX);
    let join = call::Join {
        ticket,
        host: args.host,
        wait_seconds,
    };
    let joined = context.call_keyed(&mut client, join, args.wait).await?;
    context.print("join", &joined, |joined, _| render::joined(joined))?;
    let ping = context.command(&["ping", &joined.admitted_by]);
    context.hint(&ping);
    Ok(())
}

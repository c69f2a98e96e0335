//! `mesh join TICKET|CODE|FILE`

mod file;

use std::path::PathBuf;
use std::time::Duration;

use mesh_control::{Code, Error, call};

use crate::context::Context;
use crate::render::{self, Line};
use crate::{check, parse};
use parse::Given;

/// Join a network with a ticket, a code, or a file that was carried here
///
/// A code is what mesh invite --code shows: a number and three words, with @HOST behind it if that machine is not on this
/// LAN. It is typed once; a wrong word burns it.
///
/// Starts meshd if it does not run. Where no member can be reached: with the file of mesh invite --out, --request writes
/// what a member answers with mesh invite accept; and mesh join with that answer makes this machine a member.
#[derive(clap::Args)]
pub struct Args {
    /// The ticket or code, a file that holds it, or - to read it from standard input
    #[arg(value_name = "TICKET|CODE|CODE@HOST:PORT|FILE|-")]
    ticket: String,
    /// What this machine is called in the network; its host name if absent
    #[arg(long = "as", value_name = "HOST")]
    host: Option<String>,
    /// How long to try to reach a member
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse::duration)]
    wait: Duration,
    /// With the file of an invite: reach nobody, but write a new file that is carried to any member
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    // Before a daemon is started for it.
    if let Some(host) = &args.host {
        check::label(host, context)?;
    }
    if args.ticket == "-" && context.terminal.input_is_terminal {
        context.note(&[Line::quiet(
            "paste the ticket or code, then Enter and Ctrl-D",
        )]);
    }
    let joined = match parse::given(&args.ticket, &mut *context.terminal.input)? {
        Given::File(found) => match file::run(&args, *found, context).await? {
            Some(joined) => joined,
            None => return Ok(()),
        },
        Given::Ticket(_) | Given::Code(_) if args.request.is_some() => {
            let message =
                "a request needs what a ticket or code alone does not hold: the file of an invite";
            return Err(
                Error::new(Code::Usage, message).hint("ask a member for: mesh invite --out FILE")
            );
        }
        Given::Code(code) => {
            check::code(&code, "mesh invite --code")?;
            let (mut client, _) = context.connect_or_start().await?;
            let join = call::JoinCode {
                code,
                at: None,
                host: args.host,
                wait_seconds: seconds(args.wait),
            };
            // For the ticket, and then for a member.
            context.call_keyed(&mut client, join, args.wait * 2).await?
        }
        Given::Ticket(ticket) => {
            check::ticket(&ticket, &args.ticket, context)?;
            let (mut client, _) = context.connect_or_start().await?;
            let join = call::Join {
                ticket,
                host: args.host,
                wait_seconds: seconds(args.wait),
                carried: None,
            };
            context.call_keyed(&mut client, join, args.wait).await?
        }
    };
    context.print("join", &joined, |joined, _| render::joined(joined))?;
    let ping = context.command(&["ping", &joined.admitted_by]);
    context.hint(&ping);
    Ok(())
}

fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX)
}

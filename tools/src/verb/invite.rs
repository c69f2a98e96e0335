//! `mesh invite`, `mesh invite --code`, `mesh invite ls`, `mesh invite revoke ID`, `mesh invite accept FILE`

mod accept;
mod code;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use mesh_control::reply::Invited;
use mesh_control::{Code, Error, Secret, call};
use mesh_ledger::carry::{Carry, Kind, heads};
use mesh_ledger::ids::DeviceId;
use mesh_ledger::ticket::{Contact, ContactKind, Ticket};

use crate::cli::{At, Wait};
use crate::context::Context;
use crate::render::{Inspected, Line};
use crate::{check, files, parse, render};

/// Invite somebody: prints a ticket
///
/// Whoever has the ticket can join, through any member that is online: hand it over as you would a key.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// How many machines can use it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// How long it can be used
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = parse::duration)]
    lasts: Duration,
    /// Only for the user with this key, as mesh id show prints it
    #[arg(long, value_name = "USER")]
    to: Option<String>,
    /// A note for the list of invites
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Tag who comes by it, as mesh member tag does; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only an admin's device admits by it, so that it is never used twice while the network is split
    #[arg(long)]
    require_online: bool,
    /// Write the ticket to a new file that only you can read, with the sealed history and all who can be asked
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show a code of a number and three words instead, to be said to somebody, and wait until it was used
    ///
    /// It hands the ticket over and is good for ten minutes and for one machine, on this LAN as it is and from elsewhere with an
    /// address of this machine behind it, which must stay on. A wrong word burns it, and another is shown; after five wrong
    /// ones only if you say so. With --uses one code after the other is shown.
    #[arg(long, conflicts_with = "out")]
    code: bool,
    /// Show the code and return; it can be used all the same
    #[arg(long, requires = "code")]
    no_wait: bool,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Subcommand)]
enum Action {
    /// List the invites, newest first
    Ls(At),
    /// Show what a ticket says, without using it; needs no meshd
    Inspect {
        /// The ticket, FILE or @FILE that holds it, or - for standard input
        ///
        /// A ticket is as good as a key: process lists show arguments to everybody on this machine; a file and - do not.
        #[arg(value_name = "TICKET|@FILE|-")]
        ticket: String,
    },
    /// Close an invite: its ticket is worth nothing from then on
    Revoke {
        /// The invite's id or its start
        #[arg(value_name = "INVITE")]
        invite: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Let in who wrote a request with mesh join --request, and write the answer that is carried back
    ///
    /// Any member can, like a sponsor that is reached over a link.
    Accept(accept::Args),
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    match args.action {
        None => make(args, context).await,
        Some(Action::Ls(at)) => {
            if let Some(past) = at.past("invite ls", context).await? {
                return context.print("past", &past, render::past_invites);
            }
            let invites = context
                .call(call::InviteList {
                    network: context.network(),
                })
                .await;
            let invites = context.suggest(invites, &[]).await?;
            context.print("invites", &invites, render::invites)
        }
        Some(Action::Accept(args)) => accept::run(args, context).await,
        Some(Action::Inspect { ticket }) => inspect(&ticket, context),
        Some(Action::Revoke { invite, wait }) => {
            let revoke = call::InviteRevoke {
                network: context.network(),
                invite,
                wait_ms: wait.ms(),
            };
            let revoked = context
                .call_waiting(revoke, wait.more())
                .await
                .map_err(|error| match error.code {
                    Code::NotFound if error.hint.is_none() => error.hint("mesh invite ls"),
                    _ => error,
                })?;
            context.print("invite_revoke", &revoked, |revoked, _| {
                render::invite_revoked(revoked)
            })?;
            context.require_spread(wait.wait, &revoked.spread)
        }
    }
}

fn inspect(typed: &str, context: &mut Context) -> Result<(), Error> {
    if typed == "-" && context.terminal.input_is_terminal {
        context.note(&[Line::quiet("paste the ticket, then Enter and Ctrl-D")]);
    }
    let text = match parse::given(typed, &mut *context.terminal.input)? {
        parse::Given::Ticket(text) => text,
        parse::Given::Code(_) => {
            let error =
                "a code says nothing: it hands a ticket over to the machine that it is typed on";
            return Err(Error::new(Code::Usage, error).hint("sudo mesh join CODE --as HOST"));
        }
        parse::Given::File(found) => {
            let ticket = found.carry.ticket.ok_or_else(|| {
                Error::new(Code::Usage, format!("there is no ticket in {typed}"))
                    .hint("mesh invite --out FILE writes one")
            })?;
            Secret::new(ticket.text().as_str())
        }
    };
    let ticket = check::whole_ticket(&text, typed, context)?;
    let said = Inspected::of(&ticket);
    context.print("ticket", &said, render::ticket)
}

async fn make(args: Args, context: &mut Context) -> Result<(), Error> {
    if let Some(path) = &args.out {
        files::is_new(path)?;
    }
    let invite = call::Invite {
        network: context.network(),
        uses: args.uses,
        expires_seconds: args.lasts.as_secs(),
        to: args.to,
        note: args.note,
        tags: args.tags,
        countersign: args.require_online,
        wait_ms: args.wait.ms(),
    };
    let invited = context.call_waiting(invite, args.wait.more()).await;
    let invited = context.suggest(invited, &[]).await?;
    if args.code {
        return code::show(&invited, args.uses, args.no_wait, context).await;
    }
    match &args.out {
        Some(path) => write(path, &invited, context).await?,
        None if context.global.json => {}
        None => context.print_secret(&invited.ticket)?,
    }
    if context.global.json {
        context.print_json("invite", &invited)?;
    }
    let look = context.look();
    context.note(&render::invited(&invited, &look));
    let out = args.out.as_ref().map(|path| path.display().to_string());
    let ticket = out.as_deref().unwrap_or(invited.ticket.reveal());
    context.hint_elsewhere(&format!("sudo mesh join {ticket} --as NAME"));
    context.require_spread(args.wait.wait, &invited.spread)
}

/// Writes the ticket, and with it what helps a joiner: more contacts, the newest events' ids, the sealed history.
async fn write(path: &Path, invited: &Invited, context: &mut Context) -> Result<(), Error> {
    let ticket = invited.ticket.reveal().parse::<Ticket>();
    let ticket = ticket.map_err(|_| files::nonsense())?;
    let client = context.connect().await?;
    let network = Some(ticket.network().to_string());
    let copy = files::from_daemon(context, client, network).await?;
    let contacts = invited.contacts.iter().map(|contact| {
        let key = contact.key.parse::<DeviceId>();
        let kind = if contact.server {
            ContactKind::Server
        } else {
            ContactKind::Device
        };
        Ok(Contact {
            kind,
            key: key.map_err(|_| files::nonsense())?.0,
            address: contact.address.as_ref().and_then(|text| text.parse().ok()),
        })
    });
    let contacts = contacts.collect::<Result<_, Error>>()?;
    let carry = Carry {
        kind: Kind::Invite,
        ticket: Some(ticket),
        contacts,
        ..Carry::history(copy.id, copy.bytes(), heads(&copy.events))
    };
    // The invite stands although its ticket is lost, so say how to close it.
    files::write_new(path, &carry.write()).map_err(|error| error.hint("mesh invite ls"))
}

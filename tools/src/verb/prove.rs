//! `mesh prove member|admin|event`

use std::path::PathBuf;

use clap::Subcommand;
use mesh_control::{Code, Error};
use mesh_ledger::fold::fold;
use mesh_ledger::gate::Gate;
use mesh_ledger::graph::Graph;
use mesh_ledger::ids::NetworkId;
use mesh_ledger::proof_file::{CannotProve, Claim, Proven, Signed, prove, verify};
use serde::Serialize;

use crate::context::Context;
use crate::files::{self, Copy};
use crate::{render, stored};

/// Prove to somebody outside, in a file, that somebody is a member or an admin
///
/// Whoever has the network's id checks it with mesh verify-proof, without a daemon and without being a member. The file
/// holds the signed events that made it so, back to the network's first; names and addresses in them stay sealed. Works
/// while meshd does not run, too.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// Rest on this event, whose signer knew of it; else on what made it so, with --all on the newest by an admin
    #[arg(long, value_name = "EVENT", global = true)]
    at: Option<String>,
    /// Take in every event up to that one, so that none that takes it back can be missing
    #[arg(long, global = true)]
    all: bool,
    /// A new file, instead of standard output
    #[arg(long, value_name = "FILE", global = true)]
    out: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// That somebody is a member
    Member {
        /// Name of the member or of one of its devices
        name: String,
    },
    /// That somebody is the owner or an admin
    Admin {
        /// Name of the member or of one of its devices
        name: String,
    },
    /// That an event is part of the network's history
    Event {
        /// The event's id or its start
        event: String,
    },
}

/// What a proof proves, to be shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    /// `member`, `admin` or `event`.
    pub(crate) claim: String,
    /// The user's key, or the event's id.
    pub(crate) subject: String,
    pub(crate) network: String,
    /// Whether all events up to the head are in it.
    pub(crate) whole: bool,
    pub(crate) events: usize,
    /// What made it so.
    pub(crate) fact: ShownSigned,
    /// In whose past that lies.
    pub(crate) head: ShownSigned,
}

/// Who signed an event.
#[derive(Debug, Serialize)]
pub(crate) struct ShownSigned {
    pub(crate) event: String,
    pub(crate) event_short: String,
    user: String,
    pub(crate) user_short: String,
    device: String,
    /// Whether the proof shows that the user held office.
    pub(crate) admin: bool,
    pub(crate) time_ms: u64,
}

impl Shown {
    pub(crate) fn new(proven: &Proven, network: &NetworkId) -> Self {
        let (claim, subject) = match proven.claim {
            Claim::Member(user) => ("member", user.to_string()),
            Claim::Admin(user) => ("admin", user.to_string()),
            Claim::Event(id) => ("event", id.to_string()),
        };
        Self {
            claim: claim.to_owned(),
            subject,
            network: network.to_string(),
            whole: proven.whole,
            events: proven.events,
            fact: ShownSigned::new(&proven.fact),
            head: ShownSigned::new(&proven.head),
        }
    }
}

impl ShownSigned {
    fn new(signed: &Signed) -> Self {
        Self {
            event: signed.event.to_string(),
            event_short: signed.event.short(),
            user: signed.user.to_string(),
            user_short: signed.user.short(),
            device: signed.device.to_string(),
            admin: signed.admin,
            time_ms: signed.time,
        }
    }
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    if let Some(path) = &args.out {
        files::is_new(path)?;
    }
    let (claim, copy) = match &args.what {
        What::Member { name } => {
            let user = stored::member(name, context).await?;
            (Claim::Member(user), files::events(context).await?)
        }
        What::Admin { name } => {
            let user = stored::member(name, context).await?;
            (Claim::Admin(user), files::events(context).await?)
        }
        What::Event { event } => {
            let copy = files::events(context).await?;
            let id = files::named(&copy.events, &event.to_ascii_lowercase())?.id();
            (Claim::Event(id), copy)
        }
    };
    let head = args
        .at
        .map(|at| files::named(&copy.events, &at.to_ascii_lowercase()).map(|event| event.id()));
    let graph = graph(&copy)?;
    let file = prove(
        &graph,
        &fold(&graph, &[]),
        claim,
        head.transpose()?,
        args.all,
    )
    .map_err(|error| refused(&error))?;
    let proven = verify(&file, &copy.id);
    let proven = proven.map_err(|error| Error::new(Code::Failed, error.to_string()))?;
    let shown = Shown::new(&proven, &copy.id);
    let bytes = file.encode();
    let name = match &args.out {
        Some(path) => {
            files::write_new(path, &bytes)?;
            context.print("proof", &shown, render::proven)?;
            path.display().to_string()
        }
        None => {
            context.print_bytes(&bytes)?;
            let look = context.look();
            context.note(&render::proven(&shown, &look));
            "FILE".to_owned()
        }
    };
    context.hint_elsewhere(&format!("mesh verify-proof {name} --network {}", copy.id));
    Ok(())
}

fn graph(copy: &Copy) -> Result<Graph, Error> {
    let (mut graph, mut gate) = (Graph::new(), Gate::new());
    for event in &copy.events {
        let passed = gate.pass(&mut graph, &copy.id, event);
        passed.map_err(|why| {
            let message = format!("event {}: {why}", event.id().short());
            Error::new(Code::Verification, message).hint("mesh log verify")
        })?;
    }
    Ok(graph)
}

fn refused(error: &CannotProve) -> Error {
    let (code, hint) = match error {
        CannotProve::NotMember => (Code::NotFound, "mesh member ls"),
        CannotProve::NotAdmin => (Code::NotFound, "mesh admin ls"),
        CannotProve::NoEvent(_) | CannotProve::NotKnown(_) => (Code::NotFound, "mesh log"),
        CannotProve::TooLong => (Code::Failed, "the same command with --all"),
        CannotProve::Void(_) | CannotProve::NotSo(_) => (Code::Conflict, "mesh log"),
    };
    Error::new(code, error.to_string()).hint(hint)
}

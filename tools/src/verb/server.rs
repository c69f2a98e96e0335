//! `mesh server`, `mesh server status`, `mesh server ls`, `mesh server add S`, `mesh server rm S`

use clap::Subcommand;
use mesh_control::{Code, Error, Secret, call};
use mesh_ledger::mirror::ServerAddress;

use crate::cli::Wait;
use crate::context::Context;
use crate::render::{self, Line};
use crate::{check, parse, suggest};

/// Add, remove and list servers, and see how they do
///
/// A server keeps the network's events for members that come later, and relays for those that cannot reach each other. It
/// sees keys, times and sizes; names, addresses and offers are sealed. Run one with: mesh-server run
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// List a server, for all members; one that is listed gets the new address
    Add {
        /// HOST:PORT#KEY/PERMIT as mesh-server prints it, @FILE for a file that holds it, or - for standard input
        ///
        /// What stands behind the / is a secret: it lets people store networks on that server. Process lists show
        /// arguments to everybody on this machine; @FILE and - do not.
        #[arg(value_name = "SERVER|@FILE|-")]
        server: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Take a server off the list; it gets nothing more
    Rm {
        /// HOST, HOST:PORT or the start of its key
        server: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// List the servers, one a line
    Ls,
    /// Show all about each server, and the proof where one lied; also mesh server alone
    Status,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    match args.action {
        None | Some(Action::Status) => show(context, render::servers_in_full).await,
        Some(Action::Ls) => show(context, render::servers).await,
        Some(Action::Add { server, wait }) => add(&server, wait, context).await,
        Some(Action::Rm { server, wait }) => remove(&server, wait, context).await,
    }
}

/// Reads a server that was typed, or what was named to hold it, and looks whether it is one.
pub(super) fn read(typed: &str, context: &mut Context) -> Result<(Secret, ServerAddress), Error> {
    if typed == "-" && context.terminal.input_is_terminal {
        context.note(&[Line::quiet(
            "paste what mesh-server printed, then Enter and Ctrl-D",
        )]);
    }
    let server = parse::server(typed, &mut *context.terminal.input)?;
    let address = check::server(&server)?;
    Ok((server, address))
}

async fn show(
    context: &mut Context,
    lines: impl FnOnce(&mesh_control::reply::Servers, &render::Look) -> Vec<Line>,
) -> Result<(), Error> {
    let list = call::ServerList {
        network: context.network(),
    };
    let servers = context.call(list).await;
    let servers = context.suggest(servers, &[]).await?;
    context.print("servers", &servers, lines)?;
    if servers.servers.is_empty() {
        let add = context.command(&["server", "add", "SERVER"]);
        context.hint(&add);
    }
    let liar = servers
        .servers
        .iter()
        .find(|server| !server.accusations.is_empty());
    if let Some(liar) = liar {
        let remove = context.command(&["server", "rm", &liar.address]);
        context.hint(&remove);
    }
    Ok(())
}

async fn add(typed: &str, wait: Wait, context: &mut Context) -> Result<(), Error> {
    let (server, _) = read(typed, context)?;
    let add = call::ServerAdd {
        network: context.network(),
        server,
        wait_ms: wait.ms(),
    };
    let changed = context.call_waiting(add, wait.more()).await;
    let changed = context.suggest(changed, &[]).await?;
    context.print("server_add", &changed, |changed, _| {
        render::server_added(changed)
    })?;
    let status = context.command(&["server", "status"]);
    context.hint(&status);
    context.require_spread(wait.wait, &changed.spread)
}

async fn remove(typed: &str, wait: Wait, context: &mut Context) -> Result<(), Error> {
    // Whoever pastes the whole text means the server there, and its permit is nobody's business.
    let server = typed
        .parse::<ServerAddress>()
        .map_or_else(|_| typed.to_owned(), |server| server.place());
    let remove = call::ServerRemove {
        network: context.network(),
        server: server.clone(),
        wait_ms: wait.ms(),
    };
    let changed = match context.call_waiting(remove, wait.more()).await {
        Err(error) if error.code == Code::NotFound => {
            return Err(match suggest::meant_server(context, &server).await {
                Some(right) => error.hint(context.retyped("mesh", typed, &right)),
                None if error.hint.is_none() => error.hint(context.command(&["server", "ls"])),
                None => error,
            });
        }
        other => context.suggest(other, &[]).await?,
    };
    context.print("server_rm", &changed, |changed, _| {
        render::server_removed(changed)
    })?;
    context.require_spread(wait.wait, &changed.spread)
}

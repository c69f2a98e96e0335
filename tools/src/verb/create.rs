//! `mesh create NAME`

use std::time::Duration;

use mesh_control::{Error, call};

use crate::context::Context;
use crate::verb::server;
use crate::{check, render};

/// Make a network, with this machine as its first
///
/// Starts meshd if it does not run. Prints the recovery words, which restore the owner's key: write them down, they are
/// shown once.
#[derive(clap::Args)]
pub struct Args {
    /// The network's name: lower-case letters, digits and hyphens
    name: String,
    /// What this machine is called in it; its host name if absent
    #[arg(long = "as", value_name = "HOST")]
    host: Option<String>,
    /// Its IPv4 subnet, as 10.73.20.0/24; a free one is picked if absent
    #[arg(long, value_name = "CIDR")]
    subnet: Option<String>,
    /// A server, as mesh-server prints it, @FILE for a file that holds that, or - for standard input; may be repeated
    ///
    /// What stands behind its / is a secret: it lets people store networks on that server. Process lists show arguments
    /// to everybody on this machine; @FILE and - do not.
    #[arg(long = "server", value_name = "SERVER|@FILE|-")]
    servers: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    // Before a daemon is started for it.
    check::label(&args.name, context)?;
    if let Some(host) = &args.host {
        check::label(host, context)?;
    }
    if let Some(subnet) = &args.subnet {
        check::subnet(subnet, context)?;
    }
    let (mut servers, mut places) = (Vec::new(), Vec::new());
    for typed in &args.servers {
        let (server, address) = server::read(typed, context)?;
        servers.push(server);
        places.push(address.place());
    }
    let (mut client, started) = context.connect_or_start().await?;
    let create = call::Create {
        name: args.name,
        host: args.host,
        subnet: args.subnet,
        servers,
    };
    let created = context.call_keyed(&mut client, create, MAKING).await?;
    context.print("create", &created, |created, _| {
        render::created(created, &places, started)
    })?;
    context.hint("mesh invite");
    Ok(())
}

/// Bringing up an interface takes a moment more than an answer.
const MAKING: Duration = Duration::from_secs(30);

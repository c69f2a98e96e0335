//! `mesh create NAME`

use std::time::Duration;

use mesh_control::{Error, call};

use crate::context::Context;
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
    let (mut client, started) = context.connect_or_start().await?;
    let create = call::Create {
        name: args.name,
        host: args.host,
        subnet: args.subnet,
        servers: Vec::new(),
    };
    let created = context.call_over(&mut client, create, MAKING).await?;
    context.print("create", &created, |created, _| {
        render::created(created, started)
    })?;
    context.hint("mesh invite");
    Ok(())
}

/// Bringing up an interface takes a moment more than an answer.
const MAKING: Duration = Duration::from_secs(30);

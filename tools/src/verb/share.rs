//! `mesh share PORT/PROTO`

use std::time::Duration;

use mesh_control::view::{Audience, Offered, Ports};
use mesh_control::{Error, call};

use crate::cli::Wait;
use crate::context::Context;
use crate::{parse, render};

/// Open a port of this machine to others in the network
///
/// Every port is closed until its own machine shares it; nobody else can open it.
#[derive(clap::Args)]
pub struct Args {
    /// What to open: 22/tcp, 8000-8010/udp or icmp
    #[arg(value_name = "PORT/PROTO")]
    ports: Ports,
    /// To whom: names of members or devices, or tag:TAG, with commas between, or all
    #[arg(long, value_name = "WHO", value_delimiter = ',', default_value = "all")]
    to: Vec<String>,
    /// For how long; until it is unshared if absent
    #[arg(long = "for", value_name = "TIME", value_parser = parse::duration)]
    lasts: Option<Duration>,
    /// What it is, such as ssh or web
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let to = parse::audience(&args.to);
    let names: Vec<&str> = match &to {
        Audience::All => Vec::new(),
        Audience::Names(names) => names.iter().map(String::as_str).collect(),
    };
    let share = call::Share {
        network: context.network(),
        what: Offered::Ports(args.ports),
        to: to.clone(),
        for_seconds: args.lasts.map(|lasts| lasts.as_secs()),
        name: args.name,
        wait_ms: args.wait.ms(),
    };
    let shared = context.call_waiting(share, args.wait.more()).await;
    let shared = context.suggest(shared, &names).await?;
    context.print("share", &shared, render::shared)?;
    let undo = context.command(&["unshare", &args.ports.to_string()]);
    context.hint(&undo);
    context.require_spread(args.wait.wait, &shared.spread)
}

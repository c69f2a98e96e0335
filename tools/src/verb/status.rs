//! `mesh status`

use mesh_control::view::NetworkStatus;
use mesh_control::{Code, Error, call};

use crate::cli::At;
use crate::context::Context;
use crate::render;

/// Show who is here and whether all is well
#[derive(clap::Args)]
pub struct Args {
    /// Exit 10 unless every network is up and nothing needs attention
    #[arg(long, conflicts_with = "at")]
    check: bool,
    #[command(flatten)]
    at: At,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    if let Some(past) = args.at.past("status", context).await? {
        return context.print("past", &past, render::past_status);
    }
    let statuses = context
        .call(call::Status {
            network: context.network(),
        })
        .await;
    let statuses = context.suggest(statuses, &[]).await?;
    context.print("status", &statuses, render::statuses)?;
    let hint = statuses
        .networks
        .iter()
        .flat_map(|status| &status.problems)
        .find_map(|problem| problem.hint.clone())
        .or_else(|| server_hint(&statuses.networks));
    let sick: Vec<&str> = statuses
        .networks
        .iter()
        .filter(|status| !is_well(status))
        .map(|status| status.network.name.as_str())
        .collect();
    if args.check && !sick.is_empty() {
        let error = Error::new(
            Code::Unhealthy,
            format!("{} needs attention", sick.join(", ")),
        );
        return Err(hint.into_iter().fold(error, Error::hint));
    }
    if statuses.networks.is_empty() {
        context.hint("sudo mesh create NAME");
    }
    if let Some(hint) = hint {
        context.hint(&hint);
    }
    Ok(())
}

fn is_well(status: &NetworkStatus) -> bool {
    status.network.up
        && status.network.member
        && status.problems.is_empty()
        && status.checks.iter().all(|check| check.ok)
        && status.servers.iter().all(render::server_is_well)
}

/// Where to read more about the first server that is not well.
fn server_hint(networks: &[NetworkStatus]) -> Option<String> {
    let sick = |status: &&NetworkStatus| {
        status.network.member && !status.servers.iter().all(render::server_is_well)
    };
    let network = &networks.iter().find(sick)?.network;
    Some(if networks.len() == 1 {
        "mesh server status".to_owned()
    } else {
        format!("mesh server status -n {}", network.name)
    })
}

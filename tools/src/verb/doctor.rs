//! `mesh doctor`

use mesh_control::view::PeerReach;
use mesh_control::{Code, Error, call};

use crate::context::Context;
use crate::doctor::Diagnosis;
use crate::render;

/// Look for what is wrong with this machine's networks, and say what to type
///
/// Looks at the networks, names, UDP, the router in front of this machine, its own firewall, its clock, and the ways to peers. Exit 10 if
/// something is not well.
#[derive(clap::Args)]
pub struct Args {}

/// The most peers whose ways are looked at.
const MOST: usize = 16;

pub(crate) async fn run(_: Args, context: &mut Context) -> Result<(), Error> {
    let network = context.network();
    let statuses = context
        .call(call::Status {
            network: network.clone(),
        })
        .await;
    let statuses = context.suggest(statuses, &[]).await?;
    let dns = context.call(call::DnsStatus { network }).await?;
    let reach = context.call(call::NetCheck {}).await?;
    let mut paths = Vec::new();
    for status in statuses.networks.iter().filter(|status| status.network.up) {
        let online = status
            .peers
            .iter()
            .filter(|peer| peer.reach != PeerReach::Offline);
        for peer in online.take(MOST.saturating_sub(paths.len())) {
            let told = call::PeerPath {
                network: Some(status.network.id.clone()),
                to: peer.device.clone(),
            };
            match context.call(told).await {
                Ok(told) => paths.push(told),
                // It was removed, or the network taken down, in this very moment.
                Err(error) if matches!(error.code, Code::NotFound | Code::Unreachable) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let diagnosis = Diagnosis::of(&statuses.networks, &dns, &reach, &paths);
    context.print("doctor", &diagnosis, render::diagnosis)?;
    match diagnosis.sick() {
        0 => Ok(()),
        1 => Err(Error::new(Code::Unhealthy, "one thing is not well")),
        sick => Err(Error::new(
            Code::Unhealthy,
            format!("{sick} things are not well"),
        )),
    }
}

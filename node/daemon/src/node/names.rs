//! Names: what this device calls its networks, who answers for them, and whether the system asks there.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::names::Zone;
use mesh_core::plan::Plan;
use mesh_ledger::ids::NetworkId;
use mesh_os::machine::Applied;
use mesh_os::resolver::ResolverState;
use tracing::warn;

use super::{Net, Node};
use crate::clock::now_ms;
use crate::dns::{PORT, Served, Server};

/// How long to wait before a port that was taken is tried again.
const AGAIN: Duration = Duration::from_secs(10);

impl Node {
    /// Settles what this device calls a network: as it is named, or with the first free number behind where another
    /// network of this device is called so already.
    pub(super) fn settle_alias(&mut self, id: NetworkId) {
        let taken = |alias: &_| {
            self.nets
                .values()
                .any(|net| net.settings.alias() == Some(alias))
        };
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        let (None, Some(name)) = (net.settings.alias(), &net.state().name) else {
            return;
        };
        let numbered = (2..).map(|n| name.numbered(n));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|alias| !taken(alias));
        if let (Some(alias), Some(net)) = (free, self.nets.get_mut(&id))
            && let Err(error) = net.settings.set_alias(alias)
        {
            warn!(network = %id, "{error}");
        }
    }

    /// Gives the name server what counts now.
    pub(super) fn publish_names(&self) {
        let up = self.nets.values().filter(|net| net.is_up());
        let zones = up.filter_map(|net| Some(Zone::of(net.state(), net.settings.alias()?)));
        let served = Served {
            names: zones.collect(),
            own: self.machine_addresses(),
        };
        if **self.names.load() != served {
            self.names.store(Arc::new(served));
        }
    }

    /// Answers for names on a network's addresses, and points the system there. Where the port is taken, it is tried again
    /// later.
    pub(super) async fn answer_names(&mut self, id: NetworkId, now: Duration) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let (Some(applied), Some(_)) = (&net.applied, net.settings.alias()) else {
            return;
        };
        let addresses: Vec<IpAddr> = super::net::inner_addresses(applied).collect();
        if let Some(dns) = net
            .dns
            .take_if(|dns| !dns.addresses().iter().all(|a| addresses.contains(a)))
        {
            dns.stop().await;
        }
        let later = net
            .dns_problem
            .as_ref()
            .is_some_and(|(_, again)| now < *again);
        if net.dns.is_some() || later {
            return;
        }
        match Server::start(&addresses, &self.names, PORT).await {
            Ok(dns) => {
                net.dns_problem = None;
                net.dns = Some(dns);
            }
            Err(error) => {
                if net.dns_problem.is_none() {
                    warn!(network = %id, "{error}");
                }
                net.dns_problem = Some((error.to_string(), now + AGAIN));
                return;
            }
        }
        let resolver = net
            .desired(now_ms())
            .and_then(|wanted| wanted.plan.resolver);
        let Some(applied) = &mut net.applied else {
            return;
        };
        let mut plan = Plan {
            resolver,
            ..applied.plan().clone()
        };
        Self::narrow_resolver(&mut plan, net.dns.as_ref());
        if let Err(error) = applied.update(&plan).await {
            warn!(network = %id, "{error}");
        }
        if let ResolverState::Failed(error) = applied.resolver() {
            warn!(network = %id, "the system's resolver does not follow: {error}");
        }
        // Its addresses may have changed, and with them who may ask.
        self.publish_names();
    }

    /// Leaves the addresses where somebody answers, and nothing if there is none.
    pub(super) fn narrow_resolver(plan: &mut Plan, dns: Option<&Server>) {
        let answering = dns.map(Server::addresses).unwrap_or_default();
        if let Some(resolver) = &mut plan.resolver {
            resolver.servers.retain(|server| answering.contains(server));
        }
        plan.resolver
            .take_if(|resolver| resolver.servers.is_empty());
    }

    /// Puts back what others changed on the machine, such as a file that was written anew when the machine moved to another
    /// network.
    pub(super) async fn mend(&mut self) {
        for net in self.nets.values_mut() {
            if let Some(applied) = &mut net.applied {
                let plan = applied.plan().clone();
                if let Err(error) = applied.update(&plan).await {
                    warn!(network = %net.id, "{error}");
                }
            }
        }
    }
}

/// Why names of a network mean nothing to other programs, if they do not.
pub(crate) fn problem(net: &Net) -> Option<String> {
    if let Some((problem, _)) = &net.dns_problem {
        return Some(problem.clone());
    }
    match net.applied.as_ref().map(Applied::resolver) {
        Some(ResolverState::Failed(error)) => Some(format!(
            "other programs are not pointed at the network's names: {error}"
        )),
        _ => None,
    }
}

/// Whether names are answered, and asked for here.
pub(crate) fn is_well(net: &Net) -> bool {
    let asked = net.applied.as_ref().map(Applied::resolver);
    net.dns.is_some() && matches!(asked, Some(ResolverState::InForce(_)))
}

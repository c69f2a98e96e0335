//! `mesh dns status` and `mesh dns query`.

use std::net::IpAddr;

use mesh_control::call::DnsQuery;
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_control::view::DnsView;
use mesh_core::names::{self, Answer, Found, Names};
use mesh_core::plan::Domain;
use mesh_os::machine::Applied;
use mesh_os::resolver::ResolverState;

use crate::dns::{Server, labels};
use crate::node::{Net, Node};

impl Node {
    pub(super) fn dns_status(&self, name: Option<&str>) -> Result<Reply, Error> {
        let meant = self.meant(name)?;
        let nets = meant.iter().filter_map(|id| self.nets.get(id));
        let mut networks: Vec<DnsView> = nets.map(view).collect();
        networks.sort_by(|a, b| (&a.network, &a.id).cmp(&(&b.network, &b.id)));
        Ok(Reply::DnsStatuses(reply::DnsStatuses { networks }))
    }

    pub(super) fn dns_query(&self, call: &DnsQuery) -> Result<Reply, Error> {
        let meant = self.meant(call.network.as_deref())?;
        let nets = meant.iter().filter_map(|id| self.nets.get(id));
        let up: Vec<&Net> = nets.filter(|net| net.is_up()).collect();
        if up.is_empty() {
            let error = Error::new(
                Code::Unreachable,
                "no network is up, so no name means anything",
            );
            return Err(error.hint("mesh up"));
        }
        let served = self.names.load();
        let mut domains: Vec<String> = vec![names::ROOT.to_owned()];
        domains.extend(up.iter().filter_map(|net| Some(domain(net)?.to_string())));
        look_up(&served.names, &domains, &call.name)
            .filter(|answer| is_of(answer, call.network.as_deref(), &up))
            .map(Reply::DnsAnswer)
            .ok_or_else(|| {
                let nets: Vec<String> = up.iter().map(|net| net.name()).collect();
                let message = format!("{} is no name or address in {}", call.name, nets.join(", "));
                Error::new(Code::NotFound, message)
            })
    }
}

/// The first of a name as it is and with each domain behind it that means something.
fn look_up(names: &Names, domains: &[String], name: &str) -> Option<reply::DnsAnswer> {
    if let Ok(address) = name.parse::<IpAddr>() {
        let Some(Answer {
            found: Found::Address(name),
            ..
        }) = names.find_address(&address)
        else {
            return None;
        };
        let addresses = vec![address.to_string()];
        return Some(reply::DnsAnswer { name, addresses });
    }
    let plain = name.strip_suffix('.').unwrap_or(name);
    // A dot at the end says that nothing is to be put behind it.
    let behind = domains.iter().filter(|_| plain == name);
    let full =
        std::iter::once(plain.to_owned()).chain(behind.map(|domain| format!("{plain}.{domain}")));
    let full = full.filter(|full| full.len() <= Domain::MAX);
    full.map(|full| full.to_ascii_lowercase()).find_map(|full| {
        match names.find(&labels(&full))?.found {
            Found::Host(host) => {
                let v4 = host.v4.map(|v4| v4.to_string());
                let addresses = v4.into_iter().chain([host.v6.to_string()]).collect();
                Some(reply::DnsAnswer {
                    name: full,
                    addresses,
                })
            }
            Found::Address(name) => Some(reply::DnsAnswer {
                name,
                addresses: Vec::new(),
            }),
            Found::Domain | Found::Nothing => None,
        }
    })
}

/// Whether an answer is of the network that was named, if one was.
fn is_of(answer: &reply::DnsAnswer, named: Option<&str>, nets: &[&Net]) -> bool {
    named.is_none()
        || nets.iter().filter_map(|net| domain(net)).any(|domain| {
            let host = answer.name.strip_suffix(domain.as_str());
            host.is_some_and(|host| host.ends_with('.'))
        })
}

fn domain(net: &Net) -> Option<Domain> {
    names::domain(net.settings.alias()?)
}

fn view(net: &Net) -> DnsView {
    let servers = net.dns.as_ref().map(Server::addresses).unwrap_or_default();
    let asked = net.applied.as_ref().map(Applied::resolver);
    let through = match asked {
        Some(ResolverState::InForce(way)) => Some(way.to_string()),
        _ => None,
    };
    let wanted = net
        .applied
        .as_ref()
        .and_then(|applied| applied.plan().resolver.as_ref());
    let search = wanted.map(|resolver| resolver.search.iter().map(ToString::to_string).collect());
    DnsView {
        network: net.name(),
        id: net.id.to_string(),
        up: net.is_up(),
        domain: domain(net).map(|domain| domain.to_string()),
        servers: servers.iter().map(ToString::to_string).collect(),
        through,
        search: search.unwrap_or_default(),
        problem: crate::node::names::problem(net),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nothing_is_put_behind_a_name_that_ends_in_a_dot_or_would_be_too_long() {
        let names = Names::default();
        for name in ["", ".", "bob", "bob.", "10.0.0.1", &"a.".repeat(200)] {
            assert_eq!(
                look_up(&names, &["mesh.internal".to_owned()], name),
                None,
                "{name}"
            );
        }
    }
}

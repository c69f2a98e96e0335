//! `mesh path` and `mesh netcheck`.

use std::collections::BTreeMap;

use iroh::TransportAddr;
use mesh_control::call::PeerPath;
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{EchoView, NatView, WayState, WayView};
use mesh_core::desired::peer_id;
use mesh_core::forward::forwarders;
use mesh_core::path::{Kind, Mapping, PairReport, Place, Report, Who};
use mesh_core::peer::PeerId;
use mesh_ledger::ids::ServerKey;
use mesh_os::firewall;

use super::Respond;
use crate::clock::now_ms;
use crate::node::report::member_name;
use crate::node::{Net, Node};
use crate::subnets::on_link;
use crate::ways::OwnReach;

impl Node {
    pub(super) fn peer_path(&self, call: &PeerPath, respond: Respond) {
        let begun = match self.path_begun(call) {
            Ok(begun) => begun,
            Err(error) => return drop(respond.send(Err(error))),
        };
        let report = self.ways.as_ref().map(|ways| ways.report(begun.who));
        tokio::spawn(async move {
            let report = match report {
                Some(report) => report.await.ok().flatten(),
                None => None,
            };
            // The tool may be gone.
            let _ = respond.send(Ok(Reply::PathTold(begun.told(report))));
        });
    }

    fn path_begun(&self, call: &PeerPath) -> Result<Begun, Error> {
        let net = self.net(call.network.as_deref())?;
        if !net.is_up() {
            let down = format!("{} is down", net.name());
            return Err(Error::new(Code::Unreachable, down).hint("mesh up"));
        }
        let found = self.find_device(net, &call.to);
        let device = found.ok_or_else(|| self.no_member(net, &call.to))?;
        if device == net.my_device() {
            return Err(Error::new(
                Code::Usage,
                format!("{} is this device", call.to),
            ));
        }
        let target = net.state().devices.get(&device);
        let target = target.ok_or_else(|| self.no_member(net, &call.to))?;
        let peer = peer_id(&device);
        let address = target
            .v4
            .map_or_else(|| target.v6.to_string(), |v4| v4.to_string());
        Ok(Begun {
            who: Who {
                network: net.id,
                peer,
            },
            network: net.name(),
            name: target.host.to_string(),
            address,
            path: self.path_text(net, &device),
            link: self.link_view(net, &peer),
            past_link: self.way_past_link(net, &peer).is_some(),
            members: forwarders(net.state(), &net.my_device(), now_ms())
                .into_iter()
                .map(|peer| (peer, member_name(net, &peer)))
                .collect(),
        })
    }

    /// The control link to a peer as a way.
    fn link_view(&self, net: &Net, peer: &mesh_core::peer::PeerId) -> Option<WayView> {
        let linked = self.links.get(net.links.get(peer)?)?;
        let (to, rtt) = linked.path()?;
        let to = match to {
            TransportAddr::Ip(address) => format!("direct {address}"),
            TransportAddr::Relay(url) => {
                let host = self.endpoint.relay_host(&url);
                format!("relay {}", host.as_deref().unwrap_or("(left)"))
            }
            _ => "unknown".to_owned(),
        };
        Some(WayView {
            to,
            kind: "link".to_owned(),
            state: WayState::Works,
            rtt_us: u64::try_from(rtt.as_micros()).ok(),
            max_datagram: None,
        })
    }

    pub(super) fn netcheck(&self, respond: Respond) {
        let mut ports: Vec<u16> = self.endpoint.ports().into_iter().collect();
        ports.extend(self.ways.iter().flat_map(crate::ways::Ways::ports));
        let servers = self
            .nets
            .values()
            .flat_map(|net| net.servers().into_values());
        let names: BTreeMap<ServerKey, String> = servers
            .map(|server| (server.key, format!("{}:{}", server.host, server.port)))
            .collect();
        if self.hidden {
            let hidden =
                "peers reach this machine through the servers' relays alone, as its mesh.toml says";
            let error = Error::new(Code::Conflict, hidden).hint("mesh server ls");
            return drop(respond.send(Err(error)));
        }
        let own = self.ways.as_ref().map(crate::ways::Ways::own);
        let mut clocks: Vec<i64> = self
            .nets
            .values()
            .flat_map(|net| net.clocks.values().copied())
            .collect();
        clocks.sort_unstable();
        let clock = clocks.get(clocks.len() / 2).copied();
        tokio::spawn(async move {
            let closed_by = firewall::closed_chains(&ports).await;
            let own = match own {
                Some(own) => own.await.ok(),
                None => None,
            };
            let answer = match own {
                Some(own) => Ok(Reply::NetChecked(reply::NetChecked {
                    closed_by,
                    clock_ahead_ms: clock,
                    ..checked(ports, own, &names)
                })),
                None => Err(Error::new(
                    Code::Failed,
                    "meshd has no UDP socket for packets, so they go over the control links alone",
                )
                .hint("mesh service log")),
            };
            let _ = respond.send(answer);
        });
    }
}

fn checked(
    ports: Vec<u16>,
    own: OwnReach,
    names: &BTreeMap<ServerKey, String>,
) -> reply::NetChecked {
    let echoes = names.iter().map(|(key, name)| EchoView {
        server: name.clone(),
        rtt_us: own
            .echoes
            .get(key)
            .copied()
            .flatten()
            .map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
    });
    reply::NetChecked {
        ports,
        nat: match own.mapping {
            Mapping::Unknown => NatView::Unknown,
            Mapping::None => NatView::None,
            Mapping::OneWitness => NatView::OneWitness,
            Mapping::Same => NatView::Same,
            Mapping::Changing => NatView::Changing,
        },
        ipv6: own.ipv6,
        mapped: own.mapped.map(|address| address.to_string()),
        candidates: own
            .candidates
            .iter()
            .map(|candidate| candidate.address.to_string())
            .collect(),
        echoes: echoes.collect(),
        closed_by: Vec::new(),
        clock_ahead_ms: None,
    }
}

/// What the node knows of a path before the ways are asked.
struct Begun {
    who: Who,
    network: String,
    name: String,
    address: String,
    path: String,
    link: Option<WayView>,
    /// Whether packets take another way than the link.
    past_link: bool,
    /// Those that may forward, by name.
    members: BTreeMap<PeerId, String>,
}

impl Begun {
    fn told(self, report: Option<Report>) -> reply::PathTold {
        let pairs = report
            .as_ref()
            .map(|report| report.pairs.as_slice())
            .unwrap_or_default();
        let chosen = pairs
            .iter()
            .find(|pair| pair.chosen && self.past_link)
            .map(|pair| pair.place);
        let why = self.why(report.as_ref(), chosen);
        let mut ways: Vec<WayView> = pairs
            .iter()
            .map(|pair| self.way(pair, chosen == Some(pair.place)))
            .collect();
        ways.extend(self.link.map(|link| WayView {
            state: if chosen.is_none() {
                WayState::InUse
            } else {
                link.state
            },
            ..link
        }));
        ways.sort_by_key(|way| (way.state as u8, way.rtt_us.unwrap_or(u64::MAX)));
        reply::PathTold {
            network: self.network,
            name: self.name,
            address: self.address,
            path: Some(self.path)
                .filter(|path| !path.is_empty())
                .unwrap_or_else(|| "offline".to_owned()),
            why,
            ways,
        }
    }

    fn way(&self, pair: &PairReport, in_use: bool) -> WayView {
        WayView {
            to: match pair.place {
                Place::Address(address) => address.to_string(),
                Place::Through(member) => self.through(&member),
            },
            kind: pair.kind.map_or("member", Kind::word).to_owned(),
            state: if in_use {
                WayState::InUse
            } else if pair.confirmed {
                WayState::Works
            } else if pair.asked {
                WayState::Silent
            } else {
                WayState::Untried
            },
            rtt_us: pair.rtt.and_then(|rtt| u64::try_from(rtt.as_micros()).ok()),
            max_datagram: pair
                .measured
                .then(|| u32::try_from(pair.max_datagram).unwrap_or(u32::MAX)),
        }
    }

    fn through(&self, member: &PeerId) -> String {
        let name = self.members.get(member);
        format!("through {}", name.map_or("a member", String::as_str))
    }

    /// Why packets take the way they take.
    fn why(&self, report: Option<&Report>, chosen: Option<Place>) -> String {
        let name = &self.name;
        let answering = |report: &Report| {
            let pairs = report.pairs.iter();
            pairs
                .filter(|pair| pair.confirmed && pair.place.address().is_some())
                .count()
        };
        match (report, chosen) {
            (Some(report), Some(Place::Address(address))) if answering(report) > 1 => {
                let kind = if on_link(address.ip()) {
                    "on this LAN"
                } else {
                    "the quickest"
                };
                format!("several of {name}'s addresses answer; this one is {kind}")
            }
            (Some(_), Some(Place::Address(_))) => {
                format!("it is the only one of {name}'s addresses that answers")
            }
            (Some(_), Some(Place::Through(member))) => {
                let through = self.through(&member);
                format!("none of {name}'s addresses answers; packets go {through}, who offers that")
            }
            (_, None) if self.link.is_none() => {
                format!("there is no link to {name}; it is dialled again and again")
            }
            (Some(report), None) if !report.awake => {
                "no packets for a while: the next one goes over the link, and wakes the straight way"
                    .to_owned()
            }
            (Some(report), None) if !report.called => format!(
                "{name} has not told where its packet socket can be reached; packets go over the link"
            ),
            (Some(_), None) => {
                format!("none of {name}'s addresses answers, so packets go over the link")
            }
            (None, _) => "this device has no packet socket, so packets go over the link".to_owned(),
        }
    }
}

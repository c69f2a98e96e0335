//! From a [`Ruleset`] to the table of one interface.
//!
//! ```text
//! table inet mesh_mesh0 {
//!   chain input    hook input:    from the interface → inward
//!   chain forward  hook forward:  from or to the interface → drop
//!   chain inward:  from a live peer's address to one of ours → judged; else drop
//!   chain judged:  a reply (ct direction) → accept; echo → accept; an offered port from its audience → accept;
//!                  else reject
//! }
//! ```
//! An offer is matched in each packet of the original direction; there is no "established → accept", so a withdrawn offer
//! cuts what it let in. "ct direction reply" accepts only what this host began, since in a connection that a peer began
//! the peer's packets are the original direction. The one difference to the filter in the process: an ICMP error about an
//! offered port's own answers is refused here, since nft cannot match the port that the error quotes. The text holds numbers and our own words alone.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use mesh_core::peer::PeerId;
use mesh_core::plan::{Audience, Open, Protocol, Refusal, Ruleset};
use nftables::batch::Batch;
use nftables::expr::{
    CT, Expression, Meta, MetaKey, NamedExpression, Payload, PayloadField, Range, SetItem,
};
use nftables::schema::{Chain, NfListObject, Rule, Table};
use nftables::stmt::{JumpTarget, Match, Operator, Reject, RejectType, Statement};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook, RejectCode};

/// The table's document for `nft -j`, whatever the table holds now.
#[must_use]
pub fn render(interface: &str, rules: &Ruleset) -> String {
    let mut table = Renderer::replacing(interface);
    table.chain("input", Some(NfHook::Input));
    table.chain("forward", Some(NfHook::Forward));
    table.chain("inward", None);
    table.chain("judged", None);

    let from = name(MetaKey::Iifname, interface);
    let to = name(MetaKey::Oifname, interface);
    table.rule("input", vec![from.clone(), goto("inward")]);
    table.rule("forward", vec![from, Statement::Drop(None)]);
    table.rule("forward", vec![to, Statement::Drop(None)]);

    let peers: BTreeSet<IpAddr> = rules.peers.values().flatten().copied().collect();
    for (source, target) in sides(&peers).into_iter().zip(sides(&rules.own)) {
        if let (Some(source), Some(target)) = (source, target) {
            table.rule(
                "inward",
                vec![
                    source.matches("saddr"),
                    target.matches("daddr"),
                    goto("judged"),
                ],
            );
        }
    }
    table.rule("inward", vec![Statement::Drop(None)]);

    let direction = NamedExpression::CT(CT {
        key: "direction".into(),
        family: None,
        dir: None,
    });
    table.rule(
        "judged",
        vec![equals(direction, word("reply")), Statement::Accept(None)],
    );
    for protocol in ["icmp", "icmpv6"] {
        table.rule(
            "judged",
            vec![
                equals(field(protocol, "type"), word("echo-request")),
                Statement::Accept(None),
            ],
        );
    }
    for open in &rules.open {
        let protocol = match open.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let ports = equals(field(protocol, "dport"), ports(open));
        match audience(rules, &open.audience) {
            None => table.rule("judged", vec![ports, Statement::Accept(None)]),
            Some(addresses) => {
                for side in sides(&addresses).into_iter().flatten() {
                    table.rule(
                        "judged",
                        vec![
                            side.matches("saddr"),
                            ports.clone(),
                            Statement::Accept(None),
                        ],
                    );
                }
            }
        }
    }
    match rules.refusal {
        Refusal::Drop => table.rule("judged", vec![Statement::Drop(None)]),
        Refusal::Reject => {
            let tcp = equals(
                NamedExpression::Meta(Meta {
                    key: MetaKey::L4proto,
                }),
                word("tcp"),
            );
            table.rule("judged", vec![tcp, reject(RejectType::TCPReset, None)]);
            table.rule(
                "judged",
                vec![reject(RejectType::ICMPX, Some(RejectCode::PortUnreach))],
            );
        }
    }
    table.finish()
}

/// The document that removes the table, if there is one.
pub(super) fn removal(interface: &str) -> String {
    let mut table = Renderer::new(interface);
    // Adding first makes deleting what is not there no error.
    table.batch.add(table.table());
    table.batch.delete(table.table());
    table.finish()
}

struct Renderer {
    name: String,
    batch: Batch<'static>,
}

impl Renderer {
    fn new(interface: &str) -> Self {
        Self {
            name: format!("mesh_{interface}"),
            batch: Batch::new(),
        }
    }

    fn replacing(interface: &str) -> Self {
        let mut renderer = Self::new(interface);
        renderer.batch.add(renderer.table());
        renderer.batch.delete(renderer.table());
        renderer.batch.add(renderer.table());
        renderer
    }

    fn table(&self) -> NfListObject<'static> {
        NfListObject::Table(Table {
            family: NfFamily::INet,
            name: self.name.clone().into(),
            handle: None,
        })
    }

    fn chain(&mut self, chain: &'static str, hook: Option<NfHook>) {
        self.batch.add(NfListObject::Chain(Chain {
            family: NfFamily::INet,
            table: self.name.clone().into(),
            name: chain.into(),
            _type: hook.map(|_| NfChainType::Filter),
            hook,
            prio: hook.map(|_| 0),
            policy: hook.map(|_| NfChainPolicy::Accept),
            ..Chain::default()
        }));
    }

    fn rule(&mut self, chain: &'static str, statements: Vec<Statement<'static>>) {
        self.batch.add(NfListObject::Rule(Rule {
            family: NfFamily::INet,
            table: self.name.clone().into(),
            chain: chain.into(),
            expr: statements.into(),
            ..Rule::default()
        }));
    }

    fn finish(self) -> String {
        // These types hold strings and numbers only: serialising them cannot fail.
        serde_json::to_string(&self.batch.to_nftables()).unwrap_or_default()
    }
}

/// Addresses of one family, at least one.
struct Side {
    protocol: &'static str,
    addresses: Vec<IpAddr>,
}

impl Side {
    fn matches(&self, name: &'static str) -> Statement<'static> {
        let items = self
            .addresses
            .iter()
            .map(|address| SetItem::Element(word(address.to_string())))
            .collect();
        equals(
            field(self.protocol, name),
            Expression::Named(NamedExpression::Set(items)),
        )
    }
}

/// The addresses by family: IPv4, IPv6.
fn sides(addresses: &BTreeSet<IpAddr>) -> [Option<Side>; 2] {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().copied().partition(IpAddr::is_ipv4);
    [("ip", v4), ("ip6", v6)].map(|(protocol, addresses)| {
        (!addresses.is_empty()).then_some(Side {
            protocol,
            addresses,
        })
    })
}

/// The addresses of the live peers of an audience; `None` for all of them.
fn audience(rules: &Ruleset, audience: &Audience) -> Option<BTreeSet<IpAddr>> {
    let Audience::Peers(peers) = audience else {
        return None;
    };
    let addresses = |peer: &PeerId| rules.peers.get(peer).into_iter().flatten().copied();
    Some(peers.iter().flat_map(addresses).collect())
}

fn ports(open: &Open) -> Expression<'static> {
    let number = |port: u16| Expression::Number(port.into());
    if open.ports.first() == open.ports.last() {
        return number(open.ports.first());
    }
    Expression::Range(Box::new(Range {
        range: [number(open.ports.first()), number(open.ports.last())],
    }))
}

fn equals(left: NamedExpression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match {
        left: Expression::Named(left),
        right,
        op: Operator::EQ,
    })
}

fn name(key: MetaKey, interface: &str) -> Statement<'static> {
    equals(
        NamedExpression::Meta(Meta { key }),
        word(interface.to_owned()),
    )
}

fn field(protocol: &'static str, field: &'static str) -> NamedExpression<'static> {
    NamedExpression::Payload(Payload::PayloadField(PayloadField {
        protocol: protocol.into(),
        field: field.into(),
    }))
}

fn word(word: impl Into<Cow<'static, str>>) -> Expression<'static> {
    Expression::String(word.into())
}

fn goto(chain: &'static str) -> Statement<'static> {
    Statement::Goto(JumpTarget {
        target: chain.into(),
    })
}

fn reject(kind: RejectType, code: Option<RejectCode>) -> Statement<'static> {
    Statement::Reject(Some(Reject::new(Some(kind), code)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use mesh_core::plan::PortRange;

    use super::*;

    #[test]
    fn every_command_names_our_own_table_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(&render("mesh3", &rules())).unwrap();
        for command in document["nftables"].as_array().unwrap() {
            let (verb, object) = command.as_object().unwrap().iter().next().unwrap();
            assert!(["add", "delete"].contains(&verb.as_str()), "{verb}");
            let (kind, body) = object.as_object().unwrap().iter().next().unwrap();
            let table = if kind == "table" {
                &body["name"]
            } else {
                &body["table"]
            };
            assert_eq!(
                (table.as_str(), body["family"].as_str()),
                (Some("mesh_mesh3"), Some("inet"))
            );
        }
    }

    #[test]
    fn no_rule_accepts_a_connection_because_it_is_established() {
        assert!(!render("mesh0", &rules()).contains("established"));
    }

    #[test]
    fn an_audience_without_a_live_peer_opens_nothing() {
        let mut rules = rules();
        rules.open[0].audience = Audience::Peers([PeerId([9; 32])].into());
        assert!(!render("mesh0", &rules).contains("dport"));
    }

    fn rules() -> Ruleset {
        let bob = PeerId([2; 32]);
        Ruleset {
            own: ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()].into(),
            peers: [(
                bob,
                ["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()].into(),
            )]
            .into(),
            open: vec![Open {
                protocol: Protocol::Tcp,
                ports: PortRange::new(8000, 8010).unwrap(),
                audience: Audience::Peers([bob].into()),
            }],
            refusal: Refusal::Reject,
            underlay: [].into(),
        }
    }
}

//! What `mesh doctor` makes of what the daemon knows: a line for each matter, with what to type where something is wrong.

use mesh_control::reply::{DnsStatuses, NetChecked, PathTold};
use mesh_control::view::{NatView, NetworkStatus, WayState};
use serde::Serialize;

use crate::render;

/// Everything that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    pub(crate) findings: Vec<Finding>,
}

/// One matter.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// What it is about, a short word.
    pub(crate) about: String,
    /// Whether it is as it should be.
    pub(crate) ok: bool,
    /// How it is.
    pub(crate) text: String,
    /// What to type, if it is not well and something helps.
    pub(crate) hint: Option<String>,
}

/// A clock that is wrong by less than this disturbs nothing.
const CLOCK: i64 = 30_000;
/// What a path of 1,500 bytes carries, in bytes of UDP payload.
const WHOLE: u32 = 1452;

impl Diagnosis {
    pub(crate) fn of(
        networks: &[NetworkStatus],
        dns: &DnsStatuses,
        reach: &NetChecked,
        paths: &[PathTold],
    ) -> Self {
        let mut found = Self {
            findings: Vec::new(),
        };
        networks.iter().for_each(|network| found.network(network));
        found.names(dns);
        found.udp(reach);
        found.router(reach);
        found.firewall(reach);
        found.clock(reach);
        paths.iter().for_each(|path| found.path(path));
        found
    }

    /// How many matters are not well.
    pub(crate) fn sick(&self) -> usize {
        self.findings.iter().filter(|finding| !finding.ok).count()
    }

    fn well(&mut self, about: &str, text: impl Into<String>) {
        self.add(about, true, text, None);
    }

    fn bad(&mut self, about: &str, text: impl Into<String>, hint: impl Into<Option<String>>) {
        self.add(about, false, text, hint.into());
    }

    fn add(&mut self, about: &str, ok: bool, text: impl Into<String>, hint: Option<String>) {
        self.findings.push(Finding {
            about: about.to_owned(),
            ok,
            text: text.into(),
            hint,
        });
    }

    fn network(&mut self, status: &NetworkStatus) {
        let name = &status.network.name;
        let before = self.sick();
        if !status.network.up {
            self.bad(name, "down", format!("mesh up -n {name}"));
        }
        for problem in &status.problems {
            self.bad(name, &problem.text, problem.hint.clone());
        }
        for server in status
            .servers
            .iter()
            .filter(|server| !render::server_is_well(server))
        {
            let text = format!("its server {} is not well", server.address);
            self.bad(name, text, format!("mesh server status -n {name}"));
        }
        if self.sick() == before {
            let network = &status.network;
            let text = format!(
                "up; {} of {} devices online",
                network.online, network.devices
            );
            self.well(name, text);
        }
    }

    fn names(&mut self, dns: &DnsStatuses) {
        let up = || dns.networks.iter().filter(|network| network.up);
        let mut sick = up()
            .filter_map(|network| Some((network, network.problem.as_ref()?)))
            .peekable();
        if sick.peek().is_none() && up().next().is_some() {
            return self.well("names", "answered, and the system asks here");
        }
        for (_, problem) in sick {
            self.bad("names", problem, "mesh dns status".to_owned());
        }
    }

    fn udp(&mut self, reach: &NetChecked) {
        let answered = reach
            .echoes
            .iter()
            .filter(|echo| echo.rtt_us.is_some())
            .count();
        match (reach.echoes.len(), answered) {
            (0, _) => self.well("udp", "not known: there is no server to ask"),
            (all, 0) => {
                let text = format!(
                    "none of {all} servers answers by UDP: packets go over a relay's TCP, which is slower. Let UDP out of this \
                     network, and into the servers' ports"
                );
                self.bad("udp", text, "mesh netcheck".to_owned());
            }
            (all, answered) => self.well("udp", format!("{answered} of {all} servers answer")),
        }
    }

    fn router(&mut self, reach: &NetChecked) {
        match reach.nat {
            NatView::Unknown => {}
            NatView::None => self.well("router", "none translates this machine's address"),
            NatView::OneWitness | NatView::Same => {
                self.well("router", "keeps one port for everybody")
            }
            NatView::Changing => {
                let port = reach.ports.last().copied().unwrap_or_default();
                let text = format!(
                    "gives each peer another port, so peers behind such a router are reached over a relay; a port forwarding of UDP \
                     {port} to this machine mends that"
                );
                self.bad("router", text, None);
            }
        }
    }

    fn firewall(&mut self, reach: &NetChecked) {
        let ports: Vec<String> = reach.ports.iter().map(ToString::to_string).collect();
        let ports = ports.join(", ");
        for chain in &reach.closed_by {
            let text = format!(
                "{chain} drops what comes to UDP {ports} unasked; peers that this machine does not ask first cannot begin"
            );
            let hint = format!("nft insert rule {chain} udp dport {{ {ports} }} accept");
            self.bad("firewall", text, hint);
        }
        if reach.closed_by.is_empty() {
            self.well(
                "firewall",
                format!("no other firewall of this machine drops UDP {ports} by default"),
            );
        }
    }

    fn clock(&mut self, reach: &NetChecked) {
        match reach.clock_ahead_ms {
            None => {}
            Some(ahead) if ahead.abs() < CLOCK => self.well("clock", "agrees with the peers'"),
            Some(ahead) => {
                let by = render::duration(std::time::Duration::from_millis(ahead.unsigned_abs()));
                let how = if ahead > 0 { "ahead of" } else { "behind" };
                let text = format!(
                    "{by} {how} what most peers' say: invites end at the wrong time, and handshakes may fail"
                );
                self.bad("clock", text, "timedatectl set-ntp true".to_owned());
            }
        }
    }

    fn path(&mut self, path: &PathTold) {
        let name = &path.name;
        let show = format!("mesh path {name} -n {}", path.network);
        let Some(way) = path.ways.iter().find(|way| way.state == WayState::InUse) else {
            return self.bad(name, "no way leads to it", show);
        };
        match way.max_datagram {
            Some(longest) if longest < WHOLE => {
                let text = format!(
                    "{} carries datagrams of {longest} bytes at most: longer ones take the link, in two parts",
                    way.to
                );
                self.bad(name, text, show);
            }
            Some(_) => self.well(name, format!("straight to {}", way.to)),
            // It becomes straight with traffic, or cannot: neither needs anybody.
            None => self.well(name, format!("{}: {}", way.to, path.why)),
        }
    }
}

//! What happens, from the log and from what this machine sees.

use mesh_control::reply::Log;
use mesh_control::state::{NetworkState, State};
use mesh_control::view::{LogEntry, PeerReach, PeerView, ServerState, ServerView};
use serde::Serialize;

use crate::render::{Line, Role};

/// Kinds beside those of the log.
pub(super) const LIVE: [&str; 10] = [
    "void", "counted", "online", "offline", "path", "server", "up", "down", "removed", "problem",
];

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Happening {
    /// What, in a word: a kind or finer word of the log, or one of [`LIVE`].
    pub(super) kind: String,
    /// The network's name.
    pub(super) network: String,
    /// Its id.
    pub(super) network_id: String,
    /// Whom or what it is about.
    pub(super) name: String,
    /// Who signed the event; empty without one.
    pub(super) by: String,
    /// A sentence.
    pub(super) text: String,
    /// The event's id in full; empty without one.
    pub(super) event: String,
    /// When the event's author says that it signed it; absent without one.
    pub(super) time_ms: Option<u64>,
    /// Further words for it.
    #[serde(skip)]
    words: Vec<String>,
}

impl Happening {
    /// Whether it is of that kind.
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind == kind || self.words.iter().any(|word| word == kind)
    }

    /// For a person.
    pub(super) fn lines(&self) -> Vec<Line> {
        let role = match self.kind.as_str() {
            "online" | "up" | "counted" => Role::Ok,
            "void" | "removed" => Role::Bad,
            "offline" | "down" | "problem" => Role::Care,
            _ => Role::Plain,
        };
        let event: String = self.event.chars().take(8).collect();
        let by = if self.by.is_empty() {
            String::new()
        } else {
            format!("{} ", self.by)
        };
        vec![
            Line::plain(format!("{}  ", self.network))
                .and(role, format!("{:<9}", self.kind))
                .and(Role::Plain, format!(" {by}{}", self.text))
                .and(
                    Role::Quiet,
                    if event.is_empty() {
                        String::new()
                    } else {
                        format!("  {event}")
                    },
                ),
        ]
    }
}

/// What a log that was read on tells.
pub(super) fn of_log(log: &Log, network_id: &str) -> Vec<Happening> {
    let turned = log.turned.iter().map(|entry| {
        let (kind, text) = match (entry.is_void(), entry.reason()) {
            (true, Some(reason)) => ("void", format!("{}; void: {reason}", entry.text)),
            (true, None) => ("void", entry.text.clone()),
            (false, _) => ("counted", entry.text.clone()),
        };
        of_entry(entry, kind.to_owned(), text, log, network_id)
    });
    let new = log.entries.iter().map(|entry| match entry.reason() {
        Some(reason) => {
            let text = format!("{}; void: {reason}", entry.text);
            of_entry(entry, "void".to_owned(), text, log, network_id)
        }
        None => {
            let kind = entry.topics.first().unwrap_or(&entry.kind).clone();
            let mut happening = of_entry(entry, kind, entry.text.clone(), log, network_id);
            happening.words.push(entry.kind.clone());
            happening.words.extend(entry.topics.iter().cloned());
            happening
        }
    });
    new.chain(turned).collect()
}

fn of_entry(
    entry: &LogEntry,
    kind: String,
    text: String,
    log: &Log,
    network_id: &str,
) -> Happening {
    Happening {
        kind,
        network: log.network.clone(),
        network_id: network_id.to_owned(),
        name: entry.about.clone().unwrap_or_else(|| entry.by.clone()),
        by: entry.by.clone(),
        text,
        event: entry.event.id.clone(),
        time_ms: Some(entry.time_ms),
        words: Vec::new(),
    }
}

/// What changed in what this machine sees. A network that is new is told by its events, if at all.
pub(super) fn between(before: &State, after: &State) -> Vec<Happening> {
    let mut happenings = Vec::new();
    for new in &after.networks {
        let id = &new.status.network.id;
        let known = before.networks.iter();
        if let Some(old) = known.into_iter().find(|old| old.status.network.id == *id) {
            of_network(old, new, &mut happenings);
        }
    }
    happenings
}

fn of_network(old: &NetworkState, new: &NetworkState, happenings: &mut Vec<Happening>) {
    let (was, is) = (&old.status.network, &new.status.network);
    let mut happened = |kind: &str, name: &str, text: String| {
        happenings.push(Happening {
            kind: kind.to_owned(),
            network: is.name.clone(),
            network_id: is.id.clone(),
            name: name.to_owned(),
            by: String::new(),
            text,
            event: String::new(),
            time_ms: None,
            words: Vec::new(),
        });
    };
    match (was.up, is.up) {
        (false, true) => happened("up", &is.name, format!("{} is up", is.name)),
        (true, false) => happened("down", &is.name, format!("{} is down", is.name)),
        _ => {}
    }
    if was.member && !is.member {
        let text = "this device was removed".to_owned();
        happened("removed", &is.host, text);
    }
    for peer in &new.status.peers {
        let before = old.status.peers.iter();
        let before = before.into_iter().find(|old| old.device == peer.device);
        if let Some((kind, text)) = of_peer(before, peer) {
            happened(kind, &peer.name, text);
        }
    }
    for server in &new.status.servers {
        let before = old.status.servers.iter();
        let before = before.into_iter().find(|old| old.key == server.key);
        if let Some(text) = of_server(before, server) {
            happened("server", &server.address, text);
        }
    }
    for problem in &new.status.problems {
        if !old.status.problems.contains(problem) {
            happened("problem", &is.name, problem.text.clone());
        }
    }
}

fn of_peer(before: Option<&PeerView>, peer: &PeerView) -> Option<(&'static str, String)> {
    let was = before.map_or(PeerReach::Offline, |before| before.reach);
    let (name, path) = (&peer.name, &peer.path);
    match (was, peer.reach) {
        (PeerReach::Offline, PeerReach::Offline) => None,
        (PeerReach::Offline, _) => Some(("online", format!("{name} is online: {path}"))),
        (_, PeerReach::Offline) => Some(("offline", format!("{name} is offline"))),
        _ if before.is_some_and(|before| before.path != *path) => {
            Some(("path", format!("{name} is reached {path}")))
        }
        _ => None,
    }
}

fn of_server(before: Option<&ServerView>, server: &ServerView) -> Option<String> {
    let before = before?;
    let address = &server.address;
    if server.accusations.len() > before.accusations.len() {
        let what = server.accusations.last().map(|told| told.what.as_str());
        return Some(format!("{address} lied: {}", what.unwrap_or_default()));
    }
    let text = match &server.state {
        ServerState::Connected => "connected".to_owned(),
        ServerState::Connecting => "connecting".to_owned(),
        ServerState::Unreachable { why } => format!("unreachable: {why}"),
        ServerState::Refused { why } => format!("refuses: {why}"),
    };
    (before.state != server.state).then(|| format!("{address} {text}"))
}

#[cfg(test)]
mod tests {
    use mesh_control::fake::examples;
    use mesh_control::view::Verdict;

    use super::*;

    #[test]
    fn who_comes_goes_and_changes_its_path_is_told_once() {
        let home = State {
            networks: vec![examples::network_state()],
        };
        assert_eq!(between(&home, &home), []);
        let mut later = home.clone();
        let peers = &mut later.networks[0].status.peers;
        peers[0].reach = PeerReach::Offline;
        peers[1].path = "direct".to_owned();
        peers[2].reach = PeerReach::Direct;
        let told = between(&home, &later);
        let told: Vec<(&str, &str)> = told
            .iter()
            .map(|told| (told.kind.as_str(), told.name.as_str()))
            .collect();
        assert_eq!(
            told,
            [("offline", "bob"), ("path", "carol"), ("online", "dave")]
        );
    }

    #[test]
    fn an_event_is_called_by_its_finest_word_and_found_by_all() {
        let mut kick = examples::entry(
            1,
            "5e90a7f1",
            "alice",
            "remove",
            "kicks bob",
            Verdict::Counted,
        );
        kick.topics = vec!["kick".to_owned()];
        kick.about = Some("bob".to_owned());
        let log = Log {
            network: "home".to_owned(),
            entries: vec![kick],
            ..Log::default()
        };
        let told = of_log(&log, "c0ffee01");
        assert_eq!(
            (told[0].kind.as_str(), told[0].name.as_str()),
            ("kick", "bob")
        );
        assert!(told[0].is("remove") && told[0].is("kick") && !told[0].is("admit"));
    }
}

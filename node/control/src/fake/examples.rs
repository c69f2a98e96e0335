//! One small network to tell tests about: `home` of alice (this device), bob, carol and dave.

use crate::state::NetworkState;
use crate::view::{
    AccusationView, Admitted, Audience, Check, EventRef, InviteState, InviteView, LogEntry,
    MemberDevice, MemberView, NetworkStatus, NetworkView, OfferView, Offered, PeerReach, PeerView,
    Ports, Proto, Rank, RelayUse, ServerState, ServerView, Spread, TipView, Verdict,
};

/// The clock of the examples: 2026-11-22 12:00:00 UTC, in milliseconds since 1970.
pub const NOW_MS: u64 = 1_795_348_800_000;

/// An id or key of 64 hex digits that begins with `short`.
pub fn id(short: &str) -> String {
    format!("{short:0<64}")
}

/// An event whose id begins with `short`.
pub fn event(short: &str) -> EventRef {
    EventRef {
        id: id(short),
        short: short.to_owned(),
    }
}

/// The network `home` as alice sees it.
pub fn network() -> NetworkView {
    NetworkView {
        id: id("c0ffee01"),
        short: "c0ffee01".to_owned(),
        name: "home".to_owned(),
        subnet: "10.73.20.0/24".to_owned(),
        subnet6: "fd12:3456:789a::/64".to_owned(),
        interface: Some("mesh0".to_owned()),
        up: true,
        member: true,
        host: "alice".to_owned(),
        address: "10.73.20.1".to_owned(),
        address6: "fd12:3456:789a::1".to_owned(),
        rank: Rank::Owner,
        devices: 4,
        online: 3,
        events: 48,
    }
}

/// A peer of `home`.
pub fn peer(name: &str, key: &str, last: u8, reach: PeerReach) -> PeerView {
    let online = reach != PeerReach::Offline;
    PeerView {
        device: id(key),
        user: id(&key.replace('d', "e")),
        name: name.to_owned(),
        address: format!("10.73.20.{last}"),
        address6: format!("fd12:3456:789a::{last}"),
        reach,
        path: match reach {
            PeerReach::Direct => "direct, same LAN".to_owned(),
            PeerReach::Relay => "relay vpn.example.org".to_owned(),
            PeerReach::Offline => String::new(),
        },
        endpoint: (reach == PeerReach::Direct).then(|| format!("192.168.1.{last}:51820")),
        rtt_us: online.then_some(600),
        last_seen_ms: Some(if online {
            NOW_MS
        } else {
            NOW_MS - 3 * 3_600_000
        }),
        handshake_ms: online.then_some(NOW_MS - 41_000),
        rx_bytes: 1_200_000_000,
        tx_bytes: 310_000_000,
        for_me: Vec::new(),
    }
}

/// The status of `home`: bob on the LAN, carol through a relay, dave offline.
pub fn status() -> NetworkStatus {
    let mut bob = peer("bob", "d0b0b001", 2, PeerReach::Direct);
    bob.for_me = vec!["ssh".to_owned(), "web".to_owned()];
    let mut carol = peer("carol", "dca40100", 3, PeerReach::Relay);
    carol.rtt_us = Some(41_300);
    let check = |name: &str| Check {
        name: name.to_owned(),
        ok: true,
    };
    NetworkStatus {
        network: network(),
        state_hash: "5c".repeat(32),
        pending: 0,
        peers_compared: 2,
        peers_same: 2,
        checks: vec![check("dns"), check("fw")],
        problems: Vec::new(),
        peers: vec![bob, carol, peer("dave", "dda7e001", 4, PeerReach::Offline)],
        servers: vec![server()],
    }
}

/// The server of `home`, which holds all its events.
pub fn server() -> ServerView {
    ServerView {
        key: id("5e77e401"),
        short: "5e77e401".to_owned(),
        address: "vpn.example.org:7443".to_owned(),
        state: ServerState::Connected,
        since_ms: NOW_MS - 2 * 3_600_000,
        events: Some(48),
        lacking: 0,
        rtt_us: Some(21_400),
        relay: RelayUse::Home,
        accusations: Vec::new(),
    }
}

/// The server of `home` after it told bob something else than alice.
pub fn lying_server() -> ServerView {
    let tip = |chain: &str, seconds: u64, heard_from: Option<&str>| TipView {
        events: 47,
        chain: id(chain),
        time_ms: NOW_MS - seconds * 1_000,
        heard_from: heard_from.map(str::to_owned),
    };
    ServerView {
        accusations: vec![AccusationView {
            what: "it showed two different logs".to_owned(),
            at_ms: NOW_MS - 60_000,
            tips: vec![tip("9c11d0aa", 75, None), tip("e204b7f3", 71, Some("bob"))],
        }],
        ..server()
    }
}

/// A member of `home` with one device.
pub fn member(name: &str, key: &str, last: u8, rank: Rank) -> MemberView {
    let admitted = Admitted {
        by: "alice".to_owned(),
        event: event("7f3a91c2"),
        time_ms: NOW_MS - 3 * 86_400_000,
        invite: Some(event("0a7711ef")),
    };
    MemberView {
        user: id(key),
        short: key.to_owned(),
        name: name.to_owned(),
        rank,
        me: name == "alice",
        admitted: (rank != Rank::Owner).then_some(admitted),
        devices: vec![MemberDevice {
            device: id(&key.replace('e', "d")),
            short: key.replace('e', "d"),
            name: name.to_owned(),
            address: format!("10.73.20.{last}"),
            address6: format!("fd12:3456:789a::{last}"),
            online: name != "dave",
            last_seen_ms: Some(if name == "dave" {
                NOW_MS - 3 * 3_600_000
            } else {
                NOW_MS
            }),
        }],
        tags: Vec::new(),
    }
}

/// The members of `home`.
pub fn members() -> Vec<MemberView> {
    vec![
        member("alice", "e000f3e2", 1, Rank::Owner),
        member("bob", "e0b0b001", 2, Rank::Admin),
        member("carol", "eca40100", 3, Rank::Member),
        member("dave", "eda7e001", 4, Rank::Member),
    ]
}

/// An invite of alice, made an hour ago for a day.
pub fn invite() -> InviteView {
    InviteView {
        event: event("0a7711ef"),
        by: "alice".to_owned(),
        to: None,
        note: None,
        used: 0,
        uses: 1,
        made_ms: NOW_MS - 3_600_000,
        expires_ms: NOW_MS + 23 * 3_600_000,
        countersign: false,
        state: InviteState::Open,
        tags: Vec::new(),
    }
}

/// bob's offer of ssh to all.
pub fn offer() -> OfferView {
    OfferView {
        event: event("4d19e702"),
        device: "bob".to_owned(),
        device_id: id("d0b0b001"),
        mine: false,
        for_me: true,
        what: Offered::Ports(Ports::one(Proto::Tcp, 22).unwrap_or(Ports::icmp())),
        name: Some("ssh".to_owned()),
        to: Audience::All,
        since_ms: NOW_MS - 2 * 86_400_000,
        until_ms: None,
        reach: PeerReach::Direct,
        last_seen_ms: Some(NOW_MS),
    }
}

/// What a watcher sees of `home`.
pub fn network_state() -> NetworkState {
    NetworkState {
        status: status(),
        offers: vec![offer()],
        invites: vec![invite()],
    }
}

/// One of three has not confirmed.
pub fn spread() -> Spread {
    Spread {
        have: 2,
        of: 3,
        missing: vec!["dave".to_owned()],
        servers: 0,
    }
}

/// An event of `home`'s log.
pub fn entry(
    position: u64,
    short: &str,
    by: &str,
    kind: &str,
    text: &str,
    verdict: Verdict,
) -> LogEntry {
    LogEntry {
        event: event(short),
        position,
        device: id("d0000001"),
        user: id("e0000001"),
        by: by.to_owned(),
        kind: kind.to_owned(),
        lamport: position,
        seq: position,
        time_ms: NOW_MS - 60_000 * (10 - position.min(10)),
        verdict,
        topics: Vec::new(),
        about: None,
        text: text.to_owned(),
        parents: Vec::new(),
    }
}

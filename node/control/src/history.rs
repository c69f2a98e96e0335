//! What the log's readers are told: one event whole, what changed, the network as it was, and why somebody reaches a port.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::view::{Audience, EventRef, InviteView, LogEntry, PeerReach, Ports, Rank, Verdict};

/// A moment of a network's history that something is told as of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsOf {
    /// The event; absent where a time was asked for.
    pub event: Option<EventRef>,
    /// What the event's author's clock said, or the time that was asked for: the events are then those whose own clocks
    /// said so or earlier.
    pub time_ms: u64,
    /// How many events there were.
    pub events: u64,
}

/// Answers [`LogShow`](crate::call::LogShow).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogShown {
    /// The network's name.
    pub network: String,
    /// The event as the log shows it.
    pub entry: LogEntry,
    /// The term of office its author held, if any.
    pub office: Option<Office>,
    /// Whether hash and signature hold, checked for this answer.
    pub signature: bool,
    /// Its length in bytes.
    pub bytes: u32,
    /// What became of its sealed part.
    pub sealed: Sealed,
    /// The epoch under which that is sealed, in full; absent where nothing is.
    pub epoch: Option<String>,
    /// The first checkpoint that seals its place in the order.
    pub checkpoint: Option<EventRef>,
    /// Names of the devices that are known to have it: they wrote something after it, or said that they hold the same
    /// events as this one.
    pub have: Vec<String>,
    /// How many devices there are.
    pub of: u32,
    /// Why it is void: the event that decided, then what gave that one its force, back to the genesis. Empty if it counts,
    /// or is void by itself.
    pub because: Vec<LogEntry>,
}

/// A term of office.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Office {
    /// Owner or admin.
    pub rank: Rank,
    /// What began it.
    pub from: EventRef,
    /// What ended it, if something did.
    pub to: Option<EventRef>,
}

/// What became of an event's sealed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sealed {
    /// It has none.
    Nothing,
    /// It is open here.
    Open,
    /// The key of its epoch is not here.
    Pending,
    /// It does not open under the key that its epoch names.
    Broken,
}

/// Answers [`LogDiff`](crate::call::LogDiff).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differences {
    /// The network's name.
    pub network: String,
    /// From when.
    pub from: AsOf,
    /// Until when; absent, until now.
    pub to: Option<AsOf>,
    /// What changed: members, then devices, offers, invites, servers, settings and epochs.
    pub changes: Vec<ChangeView>,
}

/// One change of a network's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// Whether something came, went or became another.
    pub sign: Sign,
    /// What it is about: `network`, `member`, `rank`, `name`, `tag`, `device`, `address`, `key`, `offer`, `invite`,
    /// `server`, `setting` or `epoch`.
    pub kind: String,
    /// Name of the member, device, server or setting, or the short id of the invite or epoch.
    pub name: String,
    /// What changed, in words.
    pub text: String,
    /// The event it came by, where that is known.
    pub event: Option<EventRef>,
}

/// Which way something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// It came.
    Added,
    /// It went.
    Removed,
    /// It became another.
    Changed,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "+",
            Self::Removed => "-",
            Self::Changed => "~",
        })
    }
}

/// Answers [`Past`](crate::call::Past).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The network's name then, or the start of its id where that is not known.
    pub network: String,
    /// The network's id.
    pub id: String,
    /// When.
    pub as_of: AsOf,
    /// IPv4 subnet; empty where it is not known.
    pub subnet: String,
    /// The members, by name.
    pub members: Vec<PastMember>,
    /// What the devices offered, by device, then port.
    pub offers: Vec<PastOffer>,
    /// The invites, newest first, as they were at the time of `as_of`.
    pub invites: Vec<InviteView>,
    /// Servers of the network, as `HOST:PORT`.
    pub servers: Vec<String>,
}

/// A member as it was. What is known of the present alone is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastMember {
    /// The user's key.
    pub user: String,
    /// Its first eight digits.
    pub short: String,
    /// What it was called.
    pub name: String,
    /// Its rank.
    pub rank: Rank,
    /// Its place among owner and admins, from 0, the most senior first; absent without a rank.
    pub seniority: Option<u32>,
    /// Who admitted it; absent for the owner who made the network.
    pub admitted: Option<crate::view::Admitted>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its devices, by name.
    pub devices: Vec<PastDevice>,
}

/// A device as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastDevice {
    /// The device's key.
    pub device: String,
    /// Its name, without the network's.
    pub name: String,
    /// Its IPv4 address.
    pub address: String,
    /// Its IPv6 address.
    pub address6: String,
}

/// An offer as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastOffer {
    /// The event that offers it.
    pub event: EventRef,
    /// Name of the device.
    pub device: String,
    /// What it offered: `22/tcp`, `10.8.0.0/16`, `exit`, ….
    pub what: String,
    /// What it was called.
    pub name: Option<String>,
    /// To whom, by names.
    pub to: Audience,
    /// When it was to end; absent, when withdrawn.
    pub until_ms: Option<u64>,
}

/// Answers [`Why`](crate::call::Why).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The network's name.
    pub network: String,
    /// Name of the device that wants.
    pub from: String,
    /// Name of the device that is wanted.
    pub to: String,
    /// The port.
    pub port: Ports,
    /// Whether it may: members, offer and the rules of both sides say so, as far as they are known.
    pub allowed: bool,
    /// The first thing that lacks, in words; absent if it may.
    pub lacks: Option<String>,
    /// Who can change that, and what to type there.
    pub remedy: Option<Remedy>,
    /// Who let the wanted device's user in, who let that one in, and so on, members that were removed since included; who
    /// founded the network, or took it over, first.
    pub lineage: Vec<Step>,
    /// The offer that opens the port.
    pub offer: Option<WhyOffer>,
    /// What the rules of the device that wants say.
    pub out: Option<Rule>,
    /// What the rules of the wanted device say.
    pub r#in: Option<Rule>,
    /// How packets get there; absent when the question is not about this device.
    pub path: Option<WhyPath>,
    /// What the wanted device offers to the one that wants, where no port was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<WhyOffer>,
}

/// Who can change something, and what to type there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// Name of the member or device to ask; absent, it is to be typed here.
    pub ask: Option<String>,
    /// A command.
    pub command: String,
}

/// A member of a lineage, and the event that admitted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// The event.
    pub event: EventRef,
    /// What removed it since; absent for a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<EventRef>,
}

/// An offer, as an explanation names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyOffer {
    /// What it opens: `22/tcp`.
    pub what: String,
    /// What it is called.
    pub name: Option<String>,
    /// To whom, by names.
    pub to: Audience,
    /// Name of the device that offers.
    pub by: String,
    /// The event that offers it.
    pub event: EventRef,
    /// When it ends; absent, when it is withdrawn.
    pub until_ms: Option<u64>,
}

/// What the rules of one side say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Whether they let it pass.
    pub passes: bool,
    /// Why not, in a word of the filter's, such as `not-offered`.
    pub reason: Option<String>,
    /// Who says so.
    pub said: Said,
}

/// How a rule is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It is in force in the filter of this device.
    Here,
    /// The other device said so when asked.
    Peer,
    /// The other device was asked and did not answer: it is what its rules must be by this device's copy of the ledger.
    NoAnswer,
    /// The other device is not linked to this one: as before.
    Offline,
    /// It is not for this device to ask: as before.
    Ledger,
}

/// How packets get somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyPath {
    /// Whether and how.
    pub reach: PeerReach,
    /// In words; empty when offline.
    pub path: String,
    /// Time there and back, in microseconds.
    pub rtt_us: Option<u64>,
    /// When it was heard from last.
    pub last_seen_ms: Option<u64>,
}

impl LogEntry {
    /// Whether it has no effect.
    pub fn is_void(&self) -> bool {
        matches!(self.verdict, Verdict::Void { .. })
    }

    /// Why it has no effect, if it has none.
    pub fn reason(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Void { reason } => Some(reason),
            _ => None,
        }
    }
}

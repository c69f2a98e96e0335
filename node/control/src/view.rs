//! The things the daemon tells about: networks, members, devices, invites, offers, events.
//!
//! Ids and keys are lower-case hex in full; `short` forms are their first eight digits, or more where eight are not
//! unique on this device. Times are milliseconds since 1970, `*_us` microseconds.

mod office;
mod reach;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use office::{Consequences, VoidAct};
pub use reach::{EchoView, NatView, WayState, WayView};

pub use crate::ports::{BadPorts, Offered, Ports, Proto};
pub use crate::servers::{AccusationView, RelayUse, ServerState, ServerView, TipView};

/// A network of this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// The network's id.
    pub id: String,
    /// Its first eight digits.
    pub short: String,
    /// Its name, a DNS label.
    pub name: String,
    /// IPv4 subnet, `10.73.20.0/24`.
    pub subnet: String,
    /// IPv6 subnet, a ULA /64.
    pub subnet6: String,
    /// The interface's name while it is up, `mesh0`.
    pub interface: Option<String>,
    /// Whether it is up: interface, addresses, routes and filter are in force.
    pub up: bool,
    /// Whether this device is still in it. A removed device keeps the ledger and nothing else.
    pub member: bool,
    /// This device's name in it, without the network's.
    pub host: String,
    /// This device's IPv4 address in it, without prefix length.
    pub address: String,
    /// This device's IPv6 address in it, without prefix length.
    pub address6: String,
    /// This user's rank.
    pub rank: Rank,
    /// Devices in it, this one included.
    pub devices: u32,
    /// Those heard from lately, this one included.
    pub online: u32,
    /// Events held.
    pub events: u64,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// Made the network, or was given it.
    Owner,
    /// Invites, admits, grants and kicks.
    Admin,
    /// Uses it and offers what its devices have.
    Member,
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
        })
    }
}

/// How a network is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// The network.
    pub network: NetworkView,
    /// A hash of all that the events amount to: equal on devices that hold the same events, with none sealed to them.
    pub state_hash: String,
    /// How many events are sealed under a key that is not here yet.
    pub pending: u64,
    /// Peers that were compared with lately.
    pub peers_compared: u32,
    /// Those of them that hold the same events.
    pub peers_same: u32,
    /// What is checked, such as dns and firewall, in the order to show.
    pub checks: Vec<Check>,
    /// What needs the reader, the worst first.
    pub problems: Vec<Problem>,
    /// Every other device in it, those online first, then by name.
    pub peers: Vec<PeerView>,
    /// Its servers, in the order of the list. What is wrong with one stands there, not among the problems.
    #[serde(default)]
    pub servers: Vec<ServerView>,
}

/// One thing that is checked all the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// A short word: `dns`, `fw`.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
}

/// Something that needs the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong, one line.
    pub text: String,
    /// A command that helps.
    pub hint: Option<String>,
}

/// Another device of the network, as seen from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// The device's key.
    pub device: String,
    /// Its user's key.
    pub user: String,
    /// Its name, without the network's.
    pub name: String,
    /// Its IPv4 address.
    pub address: String,
    /// Its IPv6 address.
    pub address6: String,
    /// How packets reach it.
    pub reach: PeerReach,
    /// The path and why it is this one, such as `direct, same LAN` or `relay vpn.example.org`; empty when offline.
    pub path: String,
    /// The UDP address it is reached at; absent through a relay.
    pub endpoint: Option<String>,
    /// Time there and back, in microseconds.
    pub rtt_us: Option<u64>,
    /// When it was heard from last; absent: never since the daemon started, and no record of before.
    pub last_seen_ms: Option<u64>,
    /// When the last WireGuard handshake with it ended.
    pub handshake_ms: Option<u64>,
    /// Payload bytes received from it since the daemon started.
    pub rx_bytes: u64,
    /// Payload bytes sent to it since the daemon started.
    pub tx_bytes: u64,
    /// What it offers to this device, the short words of the offers.
    pub for_me: Vec<String>,
}

/// How packets reach a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerReach {
    /// Straight, device to device.
    Direct,
    /// Through a relay.
    Relay,
    /// Not at all.
    Offline,
}

/// A user admitted to the network, with its devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// The user's key.
    pub user: String,
    /// Its first eight digits.
    pub short: String,
    /// What people call it: the name of its first device.
    pub name: String,
    /// Its rank.
    pub rank: Rank,
    /// Whether it is this device's user.
    pub me: bool,
    /// Who admitted it, and with which event; absent for the owner who made the network.
    pub admitted: Option<Admitted>,
    /// Its devices, by name.
    pub devices: Vec<MemberDevice>,
    /// Its tags, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// A setting of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingView {
    /// Its key.
    pub key: String,
    /// The value in force.
    pub value: String,
    /// What is in force if nobody sets it.
    pub default: String,
    /// What it does, one sentence.
    pub about: String,
}

/// How a member came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// Name of the member whose device signed the admission.
    pub by: String,
    /// The admission.
    pub event: EventRef,
    /// When, by that device's clock.
    pub time_ms: u64,
    /// The invite that was used.
    pub invite: Option<EventRef>,
}

/// A device of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDevice {
    /// The device's key.
    pub device: String,
    /// Its first eight digits.
    pub short: String,
    /// Its name, without the network's.
    pub name: String,
    /// Its IPv4 address.
    pub address: String,
    /// Its IPv6 address.
    pub address6: String,
    /// Whether it was heard from lately; true for this device.
    pub online: bool,
    /// When it was heard from last.
    pub last_seen_ms: Option<u64>,
}

/// This user's devices in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnDevices {
    /// The network's name.
    pub network: String,
    /// The network's id.
    pub id: String,
    /// What the user is called in it.
    pub user: String,
    /// By name.
    pub devices: Vec<OwnDevice>,
}

/// One of this user's devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnDevice {
    /// The device.
    #[serde(flatten)]
    pub device: MemberDevice,
    /// Whether it is this machine.
    pub me: bool,
    /// Whether it is what the user's bare name means.
    pub first: bool,
}

/// Where a user's secret key is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserKeyPlace {
    /// On this machine, for whoever is root there.
    #[default]
    Here,
    /// On this machine, under a passphrase.
    Protected,
    /// On another machine of the user alone.
    Elsewhere,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventRef {
    /// Its id in full.
    pub id: String,
    /// The first eight digits, or more where eight are not unique.
    pub short: String,
}

/// How far an event got: how many of the network's other devices confirmed that they stored it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// Other devices that have it.
    pub have: u32,
    /// Other devices there are.
    pub of: u32,
    /// Names of those that do not have it yet, by name, at most 100.
    pub missing: Vec<String>,
    /// Servers of the network that have stored it.
    #[serde(default)]
    pub servers: u32,
}

/// An invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteView {
    /// Its id: that of the event that made it.
    pub event: EventRef,
    /// Who made it.
    pub by: String,
    /// The user key it is for; absent, whoever holds the ticket can use it.
    pub to: Option<String>,
    /// The admins' note.
    pub note: Option<String>,
    /// How often it was used.
    pub used: u32,
    /// How often it can be used.
    pub uses: u32,
    /// When it was made.
    pub made_ms: u64,
    /// When it ends.
    pub expires_ms: u64,
    /// Whether only an admin's device admits by it.
    #[serde(default)]
    pub countersign: bool,
    /// What it is good for now.
    pub state: InviteState,
    /// Tags of who comes by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// What an invite is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InviteState {
    /// It can be used.
    Open,
    /// Every use is used.
    Used,
    /// Its time is over.
    Expired,
    /// It was closed, or fell with its issuer.
    Revoked,
}

impl fmt::Display for InviteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

/// An address a ticket names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// `192.168.1.5:51820`.
    pub address: String,
    /// Where it can be reached from.
    pub scope: ReachScope,
    /// Whether somebody did reach it there.
    pub confirmed: bool,
}

/// Where an address can be reached from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReachScope {
    /// From the same LAN.
    Lan,
    /// From anywhere.
    Public,
    /// Through a relay.
    Relay,
}

/// Something a device lets others use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferView {
    /// The event that offers it.
    pub event: EventRef,
    /// Name of the device.
    pub device: String,
    /// The device's key.
    pub device_id: String,
    /// Whether it is this device.
    pub mine: bool,
    /// Whether this device may use it; false for its own.
    pub for_me: bool,
    /// What it lets others use.
    pub what: Offered,
    /// What it is, such as `ssh`.
    pub name: Option<String>,
    /// To whom, by names.
    pub to: Audience,
    /// When it was offered, by the device's clock.
    pub since_ms: u64,
    /// When it ends; absent, when it is withdrawn.
    pub until_ms: Option<u64>,
    /// How the device is reached now; direct for this one.
    pub reach: PeerReach,
    /// When the device was heard from last.
    pub last_seen_ms: Option<u64>,
}

/// To whom something is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Every member.
    All,
    /// These members or devices, by name.
    Names(Vec<String>),
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The event.
    pub event: EventRef,
    /// Its place in the network's order, from 0; the same on every device that holds the same events.
    pub position: u64,
    /// Key of the device that signed it.
    pub device: String,
    /// Key of that device's user.
    pub user: String,
    /// Name of that device, or the start of its key where none is known.
    pub by: String,
    /// What it is: `genesis`, `invite`, `invite.close`, `admit`, `device.add`, `grant`, `remove`, `merge`, `private`, ….
    pub kind: String,
    /// Its Lamport number: one more than the greatest of its parents'.
    pub lamport: u64,
    /// Its number among its device's events, from 1.
    pub seq: u64,
    /// When its author's clock said it was made: testimony, never order.
    pub time_ms: u64,
    /// Whether it counts.
    pub verdict: Verdict,
    /// Finer words for what it does than its kind, which filters take too: `kick`, `leave`, `revoke`, `offer`, `withdraw`,
    /// `name`, `host`, `address`, `tag`, `setting`, `servers`, `approval`, `wireguard`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Name of the member or device it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// What it does, in words: `kicks mallory: key stolen`.
    pub text: String,
    /// Ids of the events it was made after.
    pub parents: Vec<String>,
}

/// Whether an event counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does.
    Counted,
    /// It does not, and why.
    Void {
        /// Such as `by mallory, kicked in 5e90a7f1`.
        reason: String,
    },
    /// Its act does; what it seals is under a key that is not here yet.
    Pending,
}

/// What this device is called in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkIdentity {
    /// The network's name.
    pub network: String,
    /// The network's id.
    pub id: String,
    /// The device's name in it, without the network's.
    pub host: String,
    /// Its IPv4 address.
    pub address: String,
    /// Its IPv6 address.
    pub address6: String,
    /// Its WireGuard public key there, base64 as `wg` shows it.
    pub wireguard: String,
}

/// How names of a network are answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsView {
    /// The network's name.
    pub network: String,
    /// The network's id.
    pub id: String,
    /// Whether it is up; names of others are not answered.
    pub up: bool,
    /// The domain of its names, such as `home.mesh.internal`; absent as long as the network's name is sealed.
    pub domain: Option<String>,
    /// Where this device answers.
    pub servers: Vec<String>,
    /// What points other programs there: `systemd-resolved`, or the path of a file; absent, nothing does.
    pub through: Option<String>,
    /// The domains that are tried behind a short name, in this order.
    pub search: Vec<String>,
    /// What is wrong, if something is.
    pub problem: Option<String>,
}

//! Everything a tool can ask the daemon for.
//!
//! `network` is a network's name or the start (≥ 4 hex digits) of its id; absent, it is the only network there is, and
//! with several the call is a `usage` error that names them. Names of members and devices are as `mesh member ls` shows
//! them, with or without `.NETWORK` behind; the start (≥ 4 hex digits) of a user or device key will do too.
//!
//! Calls that sign have `wait_ms`: how long the daemon may hold the reply for other devices to confirm that they have
//! the event. Absent, it waits for those online, at most half a second. It never makes the call fail: the reply's
//! [`Spread`](crate::view::Spread) says how far the event got.

mod carry;
mod code;
mod device;
mod office;
mod reach;

use serde::{Deserialize, Serialize};

use crate::reply::{self, Reply};
use crate::secret::Secret;
use crate::view::{Audience, Offered, Ports};
pub use carry::{Events, InviteAccept, JoinAnswer, JoinRequest, SyncImport, Upload};
pub use code::{InviteCode, InviteCodeWait, JoinCode};
pub use device::{
    DeviceCode, DeviceCodeWait, DeviceLink, DeviceList, DeviceRemove, IdExport, IdImport, IdProtect,
};
pub use office::{OwnerAccept, OwnerRecover, OwnerTransfer, Preview, Proposed, RecoveryWords};
pub use reach::{NetCheck, PeerPath};

/// A call with the reply it gets. Implemented by the parameters of every call.
pub trait Verb: Sized + Send {
    /// What a successful call answers.
    type Answer;
    /// The name on the wire.
    const NAME: &'static str;
    /// Wraps the parameters for the wire.
    fn into_call(self) -> Call;
    /// Takes the answer out of a reply; gives the reply back if it answers something else.
    fn answer(reply: Reply) -> Result<Self::Answer, Box<Reply>>;
}

macro_rules! verbs {
    ($($variant:ident $name:literal => $answer:ident,)*) => {
        /// A call and its parameters, on the wire `{"create":{"name":"home"}}`.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Call {
            $(#[doc = concat!("See [`", stringify!($variant), "`]; answered by [`reply::", stringify!($answer), "`].")]
            $variant($variant),)*
            /// Another call with the passphrase of the user key; answered as that is.
            WithKey(Box<WithKey>),
        }

        impl Call {
            /// The call's name on the wire.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::WithKey(with) => with.call.name(),
                }
            }
        }

        $(impl Verb for $variant {
            type Answer = reply::$answer;
            const NAME: &'static str = $name;
            fn into_call(self) -> Call {
                Call::$variant(self)
            }
            fn answer(reply: Reply) -> Result<Self::Answer, Box<Reply>> {
                match reply {
                    Reply::$answer(answer) => Ok(answer),
                    other => Err(Box::new(other)),
                }
            }
        })*
    };
}

verbs! {
    Create "create" => Created,
    Invite "invite" => Invited,
    InviteList "invite_list" => Invites,
    InviteRevoke "invite_revoke" => InviteRevoked,
    Join "join" => Joined,
    Up "up" => Networks,
    Down "down" => Networks,
    Leave "leave" => Left,
    Networks "networks" => Networks,
    Status "status" => Statuses,
    Members "members" => Members,
    Member "member" => Member,
    Kick "kick" => Kicked,
    AdminList "admin_list" => Members,
    AdminGrant "admin_grant" => Signed,
    AdminRevoke "admin_revoke" => Signed,
    Share "share" => Shared,
    Unshare "unshare" => Unshared,
    Offers "offers" => Offers,
    Log "log" => Log,
    LogVerify "log_verify" => Verified,
    LogShow "log_show" => LogShown,
    LogDiff "log_diff" => Differences,
    Past "past" => Past,
    Why "why" => Why,
    Ping "ping" => Pong,
    IdShow "id_show" => Identity,
    SyncNow "sync_now" => Synced,
    ServerAdd "server_add" => ServerChanged,
    ServerRemove "server_remove" => ServerChanged,
    ServerList "server_list" => Servers,
    DnsStatus "dns_status" => DnsStatuses,
    DnsQuery "dns_query" => DnsAnswer,
    MemberRename "member_rename" => Signed,
    MemberSetAddress "member_set_address" => Signed,
    MemberTag "member_tag" => Signed,
    Settings "settings" => Settings,
    SettingWrite "setting_write" => SettingWritten,
    IdRotate "id_rotate" => Rotated,
    DeviceCode "device_code" => DeviceCode,
    DeviceCodeWait "device_code_wait" => DeviceLinked,
    DeviceLink "device_link" => DeviceEntered,
    DeviceList "device_list" => Devices,
    DeviceRemove "device_remove" => DeviceRemoved,
    IdProtect "id_protect" => Identity,
    IdExport "id_export" => IdExported,
    IdImport "id_import" => Identity,
    Events "events" => Events,
    Upload "upload" => Uploaded,
    SyncImport "sync_import" => Imported,
    JoinRequest "join_request" => Requested,
    JoinAnswer "join_answer" => Joined,
    InviteAccept "invite_accept" => Accepted,
    Preview "preview" => Previewed,
    RecoveryWords "recovery_words" => NewWords,
    OwnerTransfer "owner_transfer" => OwnerChanged,
    OwnerAccept "owner_accept" => OwnerOffered,
    OwnerRecover "owner_recover" => OwnerChanged,
    PeerPath "path" => PathTold,
    NetCheck "netcheck" => NetChecked,
    InviteCode "invite_code" => InviteCode,
    InviteCodeWait "invite_code_wait" => CodeEnded,
    JoinCode "join_code" => Joined,
}

/// A call that needs the user key, where that is under a passphrase: the key is there for this one call. Such a call
/// without it fails with [`needs_passphrase`](crate::Error::needs_passphrase). Errors: `not_permitted` when the
/// passphrase is wrong; else those of the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithKey {
    /// The passphrase.
    pub passphrase: Secret,
    /// The call; not one of these again.
    pub call: Call,
}

/// A verb with the passphrase of the user key.
#[derive(Debug, Clone)]
pub struct Unlocked<V> {
    /// The passphrase.
    pub passphrase: Secret,
    /// The verb.
    pub verb: V,
}

impl<V: Verb> Verb for Unlocked<V> {
    type Answer = V::Answer;
    const NAME: &'static str = V::NAME;
    fn into_call(self) -> Call {
        Call::WithKey(Box::new(WithKey {
            passphrase: self.passphrase,
            call: self.verb.into_call(),
        }))
    }
    fn answer(reply: Reply) -> Result<Self::Answer, Box<Reply>> {
        V::answer(reply)
    }
}

/// Makes a network whose owner is this device's user, and brings it up. Errors: `conflict` when a network of that name
/// is here or the subnet clashes with an address of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// The network's name, a DNS label.
    pub name: String,
    /// This device's name in it; absent, the machine's host name made a DNS label.
    pub host: Option<String>,
    /// An IPv4 subnet as `10.73.20.0/24`; absent, a free one is picked.
    pub subnet: Option<String>,
    /// Its first servers, each as [`ServerAdd::server`].
    #[serde(default)]
    pub servers: Vec<Secret>,
}

/// Signs an invite and makes its ticket. Errors: `not_permitted` when this user is no admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// Which network.
    pub network: Option<String>,
    /// How often it can be used, ≥ 1.
    pub uses: u32,
    /// When it ends, in seconds from now, ≥ 1.
    pub expires_seconds: u64,
    /// The user key (64 hex digits) it is for: nobody else can use it. Absent, whoever holds the ticket can.
    pub to: Option<String>,
    /// A note for the admins' list, never in the ticket.
    pub note: Option<String>,
    /// Tags that who comes by it has from the start, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether only an admin's device admits by it, so that an invite is not used twice in a split network.
    #[serde(default)]
    pub countersign: bool,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// The invites of a network, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteList {
    /// Which network.
    pub network: Option<String>,
}

/// Closes an invite. Errors: `not_found`; `not_permitted` when it is a senior's; `conflict` when it is closed already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRevoke {
    /// Which network.
    pub network: Option<String>,
    /// The start (≥ 4 hex digits) of the invite's id.
    pub invite: String,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// Redeems a ticket through any member it reaches, and brings the network up. Errors: `usage` for a malformed ticket,
/// `conflict` when it is used, expired or revoked, or the name is taken, `unreachable` when no member answered in time,
/// `verification` when what came does not prove what the ticket promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The ticket's text.
    pub ticket: Secret,
    /// This device's name in the network; absent, the machine's host name made a DNS label.
    pub host: Option<String>,
    /// How long to try, in seconds.
    pub wait_seconds: u32,
    /// What came with the ticket in a file.
    #[serde(default)]
    pub carried: Option<Carried>,
}

/// What a file brought beside a ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Events that were sent with [`Upload`].
    pub upload: Option<u64>,
    /// Ids of events that every honest copy has: what a member sends must hold them.
    pub heads: Vec<String>,
    /// Who can be asked, beside those in the ticket: keys, and where they were.
    pub contacts: Vec<CarriedContact>,
}

/// Somebody who can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedContact {
    /// Whether it is a server; else it is a member's device.
    pub server: bool,
    /// Its key, 64 hex digits.
    pub key: String,
    /// `ADDRESS:PORT`, if that was known.
    pub address: Option<String>,
}

/// Brings one network up, or all. Answers those that are up now. Idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Up {
    /// Which network; absent, all.
    pub network: Option<String>,
}

/// Takes one network down, or all: interface, addresses, routes and rules go. Answers those that are down now.
/// Idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Down {
    /// Which network; absent, all.
    pub network: Option<String>,
}

/// Signs this device's user out of a network, takes it down and forgets it. Errors: `conflict` for the owner of a network
/// with other members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// Which network, never guessed.
    pub network: String,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// The networks of this device, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Networks {}

/// How a network is doing, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which network; absent, all.
    pub network: Option<String>,
}

/// The members of a network, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// Which network.
    pub network: Option<String>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which network.
    pub network: Option<String>,
    /// Name of the member or of one of its devices.
    pub name: String,
}

/// Removes a member with all its devices. Errors: `not_permitted` unless this user is senior to it; `not_found` when
/// `since` names no event of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kick {
    /// Which network.
    pub network: Option<String>,
    /// Name of the member or of one of its devices.
    pub name: String,
    /// Why, for the log.
    pub reason: Option<String>,
    /// From where on acts of the member are undone too; absent, what this device knows of them stands.
    #[serde(default)]
    pub since: Option<Moment>,
    /// Leaves invites open whose tickets the member may have.
    #[serde(default)]
    pub keep_invites: bool,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// The owner and the admins, by seniority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminList {
    /// Which network.
    pub network: Option<String>,
}

/// Makes a member an admin. Errors: `not_permitted`; `conflict` when it is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminGrant {
    /// Which network.
    pub network: Option<String>,
    /// Name of the member or of one of its devices.
    pub name: String,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// Takes an admin's rank away. Errors: `not_permitted` unless this user is senior to it; `conflict` when it is no admin;
/// `not_found` when `since` names no event of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminRevoke {
    /// Which network.
    pub network: Option<String>,
    /// Name of the member or of one of its devices.
    pub name: String,
    /// From where on what it did as an admin is undone; absent, what this device knows of it stands.
    #[serde(default)]
    pub since: Option<Moment>,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// Opens ports of this device to an audience; an offer of the same ports is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Which network.
    pub network: Option<String>,
    /// What is offered.
    pub what: Offered,
    /// To whom.
    pub to: Audience,
    /// For how long, in seconds; absent, until it is unshared.
    pub for_seconds: Option<u64>,
    /// What it is, a DNS label such as `ssh`.
    pub name: Option<String>,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// Withdraws this device's offer of exactly this. Errors: `not_found`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unshare {
    /// Which network.
    pub network: Option<String>,
    /// What is offered no longer.
    pub what: Offered,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// The offers in force: this device's own and those for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// Which network.
    pub network: Option<String>,
}

/// The events of a network in its order, the same on every device that has the same events. Errors: `not_found` for a name,
/// kind or event that there never was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Which network.
    pub network: Option<String>,
    /// Only what passes all of these.
    pub filters: LogFilters,
    /// At most this many, the last in the order; absent or above 10,000: 10,000.
    pub limit: Option<u32>,
    /// The log as it was then; absent, as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
    /// Only what was added since an earlier answer, whose cursor this is; then the answer tells what turned, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
}

/// Which events to list: all that are set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFilters {
    /// Signed by this member or device, present or former.
    pub by: Option<String>,
    /// About this member, device, invite or event.
    pub about: Option<String>,
    /// Of this kind, as [`LogEntry::kind`](crate::view::LogEntry::kind) or one of
    /// [`LogEntry::topics`](crate::view::LogEntry::topics) spells it; or `void`: of any kind, and does not count.
    pub r#type: Option<String>,
    /// Those that have this event in their past, or whose author's clock said this or later.
    pub since: Option<Moment>,
    /// That event and its past, or those whose author's clock said this or earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
}

/// A place in a network's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// An event, by the start of its id, ≥ 4 hex digits.
    Event(String),
    /// What the clocks of the authors said, in milliseconds since 1970: testimony.
    TimeMs(u64),
}

/// How far an answer told the log, so that a later one can go on from there. Opaque but for its bound: a tool gives back
/// what it was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Ids of events that, with their past, were told; at most 512.
    pub heads: Vec<String>,
    /// How many turns of verdicts were told. It starts anew with the daemon.
    pub turns: u64,
}

/// One event whole. Errors: `not_found`; `usage` when several begin so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogShow {
    /// Which network.
    pub network: Option<String>,
    /// The start of its id, ≥ 4 hex digits.
    pub event: String,
}

/// What changed in a network's state from one moment to another. Errors as of [`LogShow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDiff {
    /// Which network.
    pub network: Option<String>,
    /// From when.
    pub from: Moment,
    /// Until when; absent, until now.
    pub to: Option<Moment>,
}

/// The network as it was: its members, offers and invites. Presence is of the present alone. Errors as of [`LogShow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Which network.
    pub network: Option<String>,
    /// When.
    pub at: Moment,
}

/// Why a device may reach another, or not, from the genesis to the rule of the filter. The other side is asked what its
/// filter says, for at most two seconds. Errors: `not_found` when a name is nobody's and never was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Which network.
    pub network: Option<String>,
    /// Name of the device that is to be reached, or of a member, which is its first device.
    pub to: String,
    /// One port of it, or ICMP: whether it can be pinged.
    pub port: Ports,
    /// The device that wants to reach it; absent, this one.
    pub from: Option<String>,
}

/// Reads the store again, checks every hash and signature, and folds anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogVerify {
    /// Which network.
    pub network: Option<String>,
}

/// Sends one ICMP echo through the tunnel. Errors: `unreachable` after the timeout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Which network.
    pub network: Option<String>,
    /// A device's name or mesh address.
    pub to: String,
    /// How long to wait, in milliseconds, at most 60,000.
    pub timeout_ms: u32,
}

/// The keys of this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdShow {}

/// Compares heads with every peer online now, and fetches and sends what is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncNow {
    /// Which network.
    pub network: Option<String>,
}

/// Lists a server that stores the network's events and relays for its members; one that is listed with the same key gets
/// the new address and permit. Errors: `usage` when the text names no server; `not_permitted` when this user is no admin;
/// `conflict` when it is listed just so, or the list is full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAdd {
    /// Which network.
    pub network: Option<String>,
    /// `HOST:PORT#KEY/PERMIT` as `mesh-server run` prints it, or `HOST:PORT#KEY` where the server hosts the network
    /// already or hosts anybody's.
    pub server: Secret,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// Takes a server off the list. It keeps what it has, which is sealed, and gets no more. Errors: `not_found`;
/// `not_permitted` when this user is no admin; `usage` when several are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRemove {
    /// Which network.
    pub network: Option<String>,
    /// The start (≥ 4 hex digits) of its key, its `HOST` or its `HOST:PORT`.
    pub server: String,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// The servers of a network, in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerList {
    /// Which network.
    pub network: Option<String>,
}

/// How names of a network are answered, or of all networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsStatus {
    /// Which network; absent, all.
    pub network: Option<String>,
}

/// Looks a name or a mesh address up as this device's name server answers it, with the domains that the system tries behind
/// a short name. Errors: `not_found` when it is nothing in the networks that are up; `unreachable` when none is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsQuery {
    /// Which network; absent, all that are up.
    pub network: Option<String>,
    /// Such as `bob`, `bob.home`, `bob.home.mesh.internal` or `10.73.20.2`; at most 253 characters.
    pub name: String,
}

/// Calls a member something else, or a device of one. A member whose only device is called as it is takes that along.
/// Errors: `conflict` when the name is another's, or is its name already; `not_permitted` unless it is this user, or this
/// user is an admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRename {
    /// Which network.
    pub network: Option<String>,
    /// `NAME` of a member; `HOST`, where no member is called so, or `HOST.NETWORK` of a device.
    pub name: String,
    /// The new name, a DNS label.
    pub new: String,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// Gives a device another IPv4 address. Errors: `usage` for one outside the subnet; `conflict` for one that is taken, with
/// the name of who has it; `not_permitted` when this user is no admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSetAddress {
    /// Which network.
    pub network: Option<String>,
    /// Name of the device.
    pub name: String,
    /// The address, as `10.73.20.9`.
    pub address: String,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// Changes the tags of a member. Errors: `conflict` when nothing changes; `not_permitted` when this user is no admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberTag {
    /// Which network.
    pub network: Option<String>,
    /// Name of the member or of one of its devices.
    pub name: String,
    /// Tags it gets, DNS labels, with or without `tag:` in front.
    pub add: Vec<String>,
    /// Tags it loses; with those it gets, at most 8.
    pub remove: Vec<String>,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// The settings of a network, by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Which network.
    pub network: Option<String>,
}

/// Sets a setting of a network, or sets it back. Errors: `not_found` for a key that is no setting; `usage` for a value that
/// it cannot have; `conflict` when it has it already; `not_permitted` when this user is no admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingWrite {
    /// Which network.
    pub network: Option<String>,
    /// Its key.
    pub key: String,
    /// Its value; absent, the default.
    pub value: Option<String>,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// Makes another WireGuard key for this device in one network. Connections go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRotate {
    /// Which network.
    pub network: Option<String>,
    /// See the module.
    pub wait_ms: Option<u64>,
}

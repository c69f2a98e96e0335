//! What a successful call answers.

mod code;
mod reach;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::call::CarriedContact;
use crate::call::Cursor;
use crate::history::AsOf;
pub use crate::history::{Differences, LogShown, Past, Why};
use crate::secret::Secret;
use crate::view::{
    Consequences, DnsView, EventRef, InviteView, LogEntry, MemberView, NetworkIdentity,
    NetworkStatus, NetworkView, OfferView, OwnDevices, Reach, ServerView, SettingView, Spread,
    UserKeyPlace,
};
pub use code::{CodeEnded, CodeOutcome, InviteCode};
pub use reach::{NetChecked, PathTold};

/// The answer to a call, on the wire `{"created":{..}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // One is made per call and moved twice.
pub enum Reply {
    /// A network was made.
    Created(Created),
    /// An invite was made.
    Invited(Invited),
    /// Invites of a network.
    Invites(Invites),
    /// An invite was closed.
    InviteRevoked(InviteRevoked),
    /// A network was joined.
    Joined(Joined),
    /// Networks of this device.
    Networks(Networks),
    /// A network was left.
    Left(Left),
    /// How networks are doing.
    Statuses(Statuses),
    /// Members of a network.
    Members(Members),
    /// One member.
    Member(Member),
    /// A member was removed.
    Kicked(Kicked),
    /// An event about a member was signed.
    Signed(Signed),
    /// A port was opened.
    Shared(Shared),
    /// A port was closed.
    Unshared(Unshared),
    /// Offers in force.
    Offers(Offers),
    /// Events.
    Log(Log),
    /// The ledger was checked.
    Verified(Verified),
    /// One event.
    LogShown(LogShown),
    /// What changed.
    Differences(Differences),
    /// A network as it was.
    Past(Past),
    /// Why a device may reach another, or not.
    Why(Why),
    /// An echo came back.
    Pong(Pong),
    /// The keys of this device.
    Identity(Identity),
    /// Peers were asked.
    Synced(Synced),
    /// The list of servers was changed.
    ServerChanged(ServerChanged),
    /// Servers of a network.
    Servers(Servers),
    /// How names are answered.
    DnsStatuses(DnsStatuses),
    /// What a name means.
    DnsAnswer(DnsAnswer),
    /// Settings of a network.
    Settings(Settings),
    /// A setting was changed.
    SettingWritten(SettingWritten),
    /// A key was changed.
    Rotated(Rotated),
    /// A code for a further device.
    DeviceCode(DeviceCode),
    /// A further device was linked here.
    DeviceLinked(DeviceLinked),
    /// This device is a further one of a user.
    DeviceEntered(DeviceEntered),
    /// This user's devices.
    Devices(Devices),
    /// A device was removed.
    DeviceRemoved(DeviceRemoved),
    /// The user key, written down.
    IdExported(IdExported),
    /// Events as they were signed.
    Events(Events),
    /// Events were taken for a later call.
    Uploaded(Uploaded),
    /// Events from a file were merged.
    Imported(Imported),
    /// A redemption was signed.
    Requested(Requested),
    /// A redemption was accepted.
    Accepted(Accepted),
    /// The ways to a device.
    PathTold(PathTold),
    /// How this machine is reached.
    NetChecked(NetChecked),
    /// What an act would do.
    Previewed(Previewed),
    /// New recovery words.
    NewWords(NewWords),
    /// The network has a new owner.
    OwnerChanged(OwnerChanged),
    /// An offer of the owner, or what came of it.
    OwnerOffered(OwnerOffered),
    /// A code that hands over a ticket.
    InviteCode(InviteCode),
    /// What came of it.
    CodeEnded(CodeEnded),
}

/// Answers [`Create`](crate::call::Create).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The new network.
    pub network: NetworkView,
    /// The 24 recovery words with one space between, never stored and never shown again.
    pub recovery_words: Secret,
}

/// Answers [`Invite`](crate::call::Invite).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// The network's name.
    pub network: String,
    /// What the invited person types.
    pub ticket: Secret,
    /// The invite as the list shows it.
    pub invite: InviteView,
    /// How many other devices have the event.
    pub spread: Spread,
    /// The addresses in the ticket, those most likely to work first.
    pub reach: Vec<Reach>,
    /// The servers in the ticket, as `HOST:PORT`: through them it works while this device is off.
    #[serde(default)]
    pub servers: Vec<String>,
    /// Sentences that say where the ticket will not work and what would help, such as `off this LAN it needs …`.
    pub limits: Vec<String>,
    /// All who can be asked: more than fit into a ticket, for a file.
    #[serde(default)]
    pub contacts: Vec<CarriedContact>,
}

/// Answers [`InviteList`](crate::call::InviteList).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invites {
    /// The network's name.
    pub network: String,
    /// Newest first.
    pub invites: Vec<InviteView>,
}

/// Answers [`InviteRevoke`](crate::call::InviteRevoke).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRevoked {
    /// The network's name.
    pub network: String,
    /// The invite that is closed.
    pub invite: EventRef,
    /// The event that closed it.
    pub event: EventRef,
    /// How many other devices have the event.
    pub spread: Spread,
}

/// Answers [`Join`](crate::call::Join).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The network.
    pub network: NetworkView,
    /// Name of the member whose device admitted this one.
    pub admitted_by: String,
    /// The first eight hex digits of that member's user key, or more where eight are not unique.
    pub admitted_by_short: String,
    /// How many events were checked.
    pub events: u64,
}

/// Answers [`Networks`](crate::call::Networks), [`Up`](crate::call::Up) and [`Down`](crate::call::Down).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Networks {
    /// By name.
    pub networks: Vec<NetworkView>,
}

/// Answers [`Leave`](crate::call::Leave).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The network's name.
    pub network: String,
    /// The event that says so.
    pub event: EventRef,
    /// How many other devices have it.
    pub spread: Spread,
}

/// Answers [`Status`](crate::call::Status).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statuses {
    /// By name.
    pub networks: Vec<NetworkStatus>,
}

/// Answers [`Members`](crate::call::Members) and [`AdminList`](crate::call::AdminList).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// The network's name.
    pub network: String,
    /// Members by name, admins by seniority.
    pub members: Vec<MemberView>,
}

/// Answers [`Member`](crate::call::Member).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The network's name.
    pub network: String,
    /// The member.
    pub member: MemberView,
}

/// Answers [`Kick`](crate::call::Kick).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kicked {
    /// The network's name.
    pub network: String,
    /// The removed member's name.
    pub name: String,
    /// The removal.
    pub event: EventRef,
    /// How many other devices have it; `missing` names the rest.
    pub spread: Spread,
    /// How many devices lost the network by it.
    pub devices_removed: u32,
    /// How many events it made void.
    pub acts_voided: u32,
    /// Short ids of the invites it closed.
    pub invites_closed: Vec<String>,
    /// Short ids of live invites that it had no room for, and that only others may close.
    #[serde(default)]
    pub invites_left: Vec<String>,
    /// What else became otherwise by it.
    #[serde(default)]
    pub consequences: Consequences,
}

/// Answers [`AdminGrant`](crate::call::AdminGrant), [`AdminRevoke`](crate::call::AdminRevoke),
/// [`MemberRename`](crate::call::MemberRename), [`MemberSetAddress`](crate::call::MemberSetAddress) and
/// [`MemberTag`](crate::call::MemberTag).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The network's name.
    pub network: String,
    /// The member or device it is about, as it was called before.
    pub name: String,
    /// What was signed.
    pub event: EventRef,
    /// How many other devices have it.
    pub spread: Spread,
    /// How many events it made void.
    pub acts_voided: u32,
    /// What else became otherwise by it.
    #[serde(default)]
    pub consequences: Consequences,
}

/// Answers [`Share`](crate::call::Share).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// The network's name.
    pub network: String,
    /// The offer in force.
    pub offer: OfferView,
    /// How many other devices have it.
    pub spread: Spread,
}

/// Answers [`Unshare`](crate::call::Unshare).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unshared {
    /// The network's name.
    pub network: String,
    /// The offer that was in force.
    pub offer: OfferView,
    /// What withdrew it.
    pub event: EventRef,
    /// How many other devices have that.
    pub spread: Spread,
}

/// Answers [`Offers`](crate::call::Offers).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// The network's name.
    pub network: String,
    /// By device, then by what is offered.
    pub offers: Vec<OfferView>,
    /// Bytes that this device has forwarded for others since its daemon started.
    #[serde(default)]
    pub forwarded: u64,
}

/// Answers [`Log`](crate::call::Log).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The network's name.
    pub network: String,
    /// First event first.
    pub entries: Vec<LogEntry>,
    /// Whether the limit left older ones out.
    pub more: bool,
    /// When it is told as of; absent, as of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<AsOf>,
    /// Events told before, by the cursor that was asked after, that counted then and are void now, or the reverse, and pass
    /// the filters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turned: Vec<LogEntry>,
    /// Where a later call can go on; absent for the past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

/// Answers [`LogVerify`](crate::call::LogVerify).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The network's name.
    pub network: String,
    /// How many events were checked.
    pub events: u64,
    /// Whether all of them are whole and the fold of them is the state in force.
    pub ok: bool,
    /// Those that are not, in the order of the log.
    pub damaged: Vec<Damage>,
    /// The newest checkpoint that counts: the hashes that it states were compared with what it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<EventRef>,
}

/// An event that does not verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Which event.
    pub event: EventRef,
    /// What is wrong with it.
    pub problem: String,
}

/// Answers [`Ping`](crate::call::Ping).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The device's name.
    pub name: String,
    /// The mesh address that answered.
    pub address: String,
    /// Time there and back, in microseconds.
    pub rtt_us: u64,
    /// How packets get there, such as `direct, same LAN`.
    pub path: String,
}

/// Answers [`IdShow`](crate::call::IdShow), [`IdProtect`](crate::call::IdProtect) and [`IdImport`](crate::call::IdImport).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user's key, 64 hex digits.
    pub user: String,
    /// The device's key, 64 hex digits.
    pub device: String,
    /// Where the user's secret key is.
    #[serde(default)]
    pub user_key: UserKeyPlace,
    /// What this device is called in each network, by the network's name.
    pub networks: Vec<NetworkIdentity>,
}

/// Answers [`SyncNow`](crate::call::SyncNow).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// The network's name.
    pub network: String,
    /// Peers asked.
    pub peers: u32,
    /// Peers that hold the same events now.
    pub same: u32,
    /// Events that came.
    pub received: u64,
    /// Events that went.
    pub sent: u64,
}

/// Answers [`ServerAdd`](crate::call::ServerAdd) and [`ServerRemove`](crate::call::ServerRemove).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerChanged {
    /// The network's name.
    pub network: String,
    /// The server, as it is after it was added, as it was before it was taken off.
    pub server: ServerView,
    /// What was signed.
    pub event: EventRef,
    /// How many other devices have it.
    pub spread: Spread,
}

/// Answers [`ServerList`](crate::call::ServerList).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers {
    /// The network's name.
    pub network: String,
    /// In the order of the list.
    pub servers: Vec<ServerView>,
}

/// Answers [`DnsStatus`](crate::call::DnsStatus).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsStatuses {
    /// By the networks' names.
    pub networks: Vec<DnsView>,
}

/// Answers [`DnsQuery`](crate::call::DnsQuery).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsAnswer {
    /// The full name, without the dot at its end.
    pub name: String,
    /// Its addresses, IPv4 first; for an address that was looked up, that one.
    pub addresses: Vec<String>,
}

/// Answers [`Settings`](crate::call::Settings).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The network's name.
    pub network: String,
    /// All there are, by key.
    pub settings: Vec<SettingView>,
}

/// Answers [`SettingWrite`](crate::call::SettingWrite).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingWritten {
    /// The network's name.
    pub network: String,
    /// The setting as it is now.
    pub setting: SettingView,
    /// What was signed.
    pub event: EventRef,
    /// How many other devices have it.
    pub spread: Spread,
}

/// Answers [`IdRotate`](crate::call::IdRotate).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// The network's name.
    pub network: String,
    /// The new key's public half, as `wg` prints it.
    pub wireguard: String,
    /// What was signed.
    pub event: EventRef,
    /// How many other devices have it; `missing` names those that do not know the new key yet.
    pub spread: Spread,
}

/// Answers [`DeviceCode`](crate::call::DeviceCode).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCode {
    /// What is typed on the other machine.
    pub code: Secret,
    /// When it ends.
    pub expires_ms: u64,
    /// Where this device can be reached from other networks than this LAN, as far as it knows: `192.168.1.5:51820`. Empty if
    /// it takes codes on the LAN alone.
    pub addresses: Vec<String>,
    /// Names of the networks that the other machine enters.
    pub networks: Vec<String>,
    /// Whether it gets the user key.
    pub key: bool,
}

/// Answers [`DeviceCodeWait`](crate::call::DeviceCodeWait).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLinked {
    /// The new device's key.
    pub device: String,
    /// Its first eight digits.
    pub short: String,
    /// What it is called, and in which networks, as `HOST.NETWORK`.
    pub names: Vec<String>,
    /// Whether it has the user key.
    pub key: bool,
}

/// Answers [`DeviceLink`](crate::call::DeviceLink).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceEntered {
    /// The user's key.
    pub user: String,
    /// The first eight digits of the device that showed the code.
    pub by_short: String,
    /// Where the user's secret key is from now on, as this machine sees it.
    pub user_key: UserKeyPlace,
    /// The networks that were entered.
    pub networks: Vec<NetworkView>,
    /// What went wrong with others, one line each.
    pub problems: Vec<String>,
}

/// Answers [`DeviceList`](crate::call::DeviceList).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// The user's key.
    pub user: String,
    /// By the networks' names.
    pub networks: Vec<OwnDevices>,
}

/// Answers [`DeviceRemove`](crate::call::DeviceRemove).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRemoved {
    /// The network's name.
    pub network: String,
    /// The device's name.
    pub name: String,
    /// Name of its user, who stays a member.
    pub user: String,
    /// Whether it was one of this user's own, removed by the user key.
    pub own: bool,
    /// The removal.
    pub event: EventRef,
    /// How many other devices have it.
    pub spread: Spread,
    /// How many events it made void.
    pub acts_voided: u32,
    /// Short ids of the invites that the device had made and that were closed.
    pub invites_closed: Vec<String>,
}

/// Answers [`IdExport`](crate::call::IdExport).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdExported {
    /// The user's key, 64 hex digits.
    pub user: String,
    /// The secret key under the passphrase, one line of text.
    pub key: Secret,
}

/// Answers [`Events`](crate::call::Events).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The network's name.
    pub network: String,
    /// Its id.
    pub id: String,
    /// Their bytes.
    pub events: Vec<Bytes>,
    /// Where the next ones begin, if there are more.
    pub next: Option<u64>,
}

/// Answers [`Upload`](crate::call::Upload).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// What to call it by.
    pub upload: u64,
    /// How many events there are so far.
    pub events: u64,
}

/// Answers [`SyncImport`](crate::call::SyncImport).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The network's name.
    pub network: String,
    /// How many events are new here.
    pub added: u64,
    /// How many were here already.
    pub known: u64,
    /// How many wait for events that are neither here nor in what was imported.
    pub waiting: u64,
    /// Some of those that they wait for.
    pub missing: Vec<EventRef>,
    /// Those that no member lets pass.
    pub refused: Vec<Damage>,
}

/// A joiner's redemption or a member's answer, sealed for the other by what the ticket carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The joining device's key.
    pub joiner: String,
    /// The public half of the invite's key.
    pub invite: String,
    /// Sealed.
    pub body: Bytes,
}

/// Answers [`JoinRequest`](crate::call::JoinRequest).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// The network's id.
    pub network: String,
    /// The sealed redemption.
    pub letter: Letter,
}

/// Answers [`InviteAccept`](crate::call::InviteAccept).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The network's name.
    pub network: String,
    /// Its id.
    pub id: String,
    /// What the joining device is called.
    pub name: String,
    /// The admission.
    pub event: EventRef,
    /// How many other devices have it.
    pub spread: Spread,
    /// The sealed answer.
    pub letter: Letter,
}

/// Answers [`Preview`](crate::call::Preview).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previewed {
    /// The network's name.
    pub network: String,
    /// The member it is about.
    pub name: String,
    /// What would be signed, event by event, as the log would say it.
    pub signs: Vec<String>,
    /// Short ids of the invites it would close.
    pub invites_closed: Vec<String>,
    /// What would become otherwise.
    pub consequences: Consequences,
}

/// Answers [`RecoveryWords`](crate::call::RecoveryWords).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewWords {
    /// 24 words with one space between, never stored and never shown again.
    pub recovery_words: Secret,
    /// Their public half, 64 hex digits.
    pub recovery: String,
}

/// Answers [`OwnerTransfer`](crate::call::OwnerTransfer) and [`OwnerRecover`](crate::call::OwnerRecover).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerChanged {
    /// The network's name.
    pub network: String,
    /// The new owner's name.
    pub owner: String,
    /// The owner until then.
    pub before: String,
    /// What was signed.
    pub event: EventRef,
    /// How many other devices have it.
    pub spread: Spread,
    /// What else became otherwise by it.
    pub consequences: Consequences,
}

/// Answers [`OwnerAccept`](crate::call::OwnerAccept).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerOffered {
    /// The network's name.
    pub network: String,
    /// The owner who offers it.
    pub by: String,
    /// When the offer ends.
    pub until_ms: u64,
    /// What came of it, once it is accepted.
    pub changed: Option<OwnerChanged>,
}

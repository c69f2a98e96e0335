//! What tools ask for: one function per call, answered at once or when others have confirmed.

mod carry;
mod codes;
mod create;
mod devices;
mod dns;
mod invites;
mod key;
mod keys;
mod log;
mod members;
mod networks;
mod offers;
mod owner;
mod reach;
mod registers;
mod removals;
mod servers;
pub(super) mod why;

use mesh_control::call::Call;
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{EventRef, Spread};
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::{EventId, NetworkId};
use mesh_ledger::network::AuthorError;
use mesh_ledger::text::Label;
use mesh_ledger::verdict::Reason;
use owner::new_words;
pub(in crate::node) use removals::{Plan, name_of};
use tokio::sync::oneshot;

pub(super) use carry::{TICKET, network_id, not_in, parents_first};

use super::{Net, Node};
use crate::clock::now_ms;

pub(crate) use key::Opened;

/// Where an answer goes. The tool may be gone by then: what it asked for is done all the same.
pub(crate) type Respond = oneshot::Sender<Result<Reply, Error>>;

/// What a call that signed has done.
struct Signed {
    network: NetworkId,
    event: EventId,
    wait_ms: Option<u64>,
    finish: Box<dyn FnOnce(Spread) -> Reply + Send>,
}

impl Node {
    /// Does what a tool asks.
    pub(crate) async fn call(&mut self, call: Call, respond: Respond) {
        let result = match call {
            Call::Create(call) if !call.servers.is_empty() => {
                return self.create_with_servers(call, respond);
            }
            Call::Create(call) => self.create(&call).await,
            Call::Join(call) => return self.join_call(&call, respond),
            Call::Ping(call) => return self.ping(&call, respond),
            Call::PeerPath(call) => return self.peer_path(&call, respond),
            Call::NetCheck(_) => return self.netcheck(respond),
            Call::Networks(_) => Ok(self.networks(None)),
            Call::Up(call) => self.up(call.network.as_deref()).await,
            Call::Down(call) => self.down(call.network.as_deref()).await,
            Call::Status(call) => self.status(call.network.as_deref()),
            Call::Members(call) => self.members(call.network.as_deref()),
            Call::Member(call) => self.member(call.network.as_deref(), &call.name),
            Call::AdminList(call) => self.admin_list(call.network.as_deref()),
            Call::InviteList(call) => self.invite_list(call.network.as_deref()),
            Call::Offers(call) => self.offers(call.network.as_deref()),
            Call::Log(call) => self.log(&call),
            Call::LogVerify(call) => self.log_verify(call.network.as_deref()),
            Call::LogShow(call) => self.log_show(&call),
            Call::LogDiff(call) => self.log_diff(&call),
            Call::Past(call) => self.past(&call),
            Call::Why(call) => return self.why(&call, respond),
            Call::IdShow(_) => Ok(self.id_show()),
            Call::SyncNow(call) => self.sync_now(call.network.as_deref()),
            Call::Leave(call) => return self.leave(&call, respond).await,
            Call::Invite(call) => return self.signed(respond, |node| node.invite(&call)).await,
            Call::InviteRevoke(call) => {
                return self.signed(respond, |node| node.invite_revoke(&call)).await;
            }
            Call::Kick(call) => return self.signed(respond, |node| node.kick(&call)).await,
            Call::AdminGrant(call) => {
                return self.signed(respond, |node| node.admin_grant(&call)).await;
            }
            Call::AdminRevoke(call) => {
                return self.signed(respond, |node| node.admin_revoke(&call)).await;
            }
            Call::Share(call) => return self.signed(respond, |node| node.share(&call)).await,
            Call::Unshare(call) => return self.signed(respond, |node| node.unshare(&call)).await,
            Call::ServerList(call) => self.server_list(call.network.as_deref()),
            Call::ServerAdd(call) => return self.server_add(&call, respond),
            Call::ServerRemove(call) => {
                return self.signed(respond, |node| node.server_remove(&call)).await;
            }
            Call::MemberRename(call) => {
                return self.signed(respond, |node| node.member_rename(&call)).await;
            }
            Call::MemberSetAddress(call) => {
                return self
                    .signed(respond, |node| node.member_set_address(&call))
                    .await;
            }
            Call::MemberTag(call) => {
                return self.signed(respond, |node| node.member_tag(&call)).await;
            }
            Call::Settings(call) => self.settings(call.network.as_deref()),
            Call::SettingWrite(call) => {
                return self.signed(respond, |node| node.setting_write(&call)).await;
            }
            Call::IdRotate(call) => {
                return self.signed(respond, |node| node.id_rotate(&call)).await;
            }
            Call::DnsStatus(call) => self.dns_status(call.network.as_deref()),
            Call::DnsQuery(call) => self.dns_query(&call),
            Call::DeviceCode(call) => self.device_code(&call).await,
            Call::DeviceCodeWait(_) => return self.wait_for_code(respond),
            Call::DeviceLink(call) => return self.device_link(&call, respond),
            Call::DeviceList(call) => self.device_list(call.network.as_deref()),
            Call::DeviceRemove(call) => {
                return self.signed(respond, |node| node.device_remove(&call)).await;
            }
            Call::InviteCode(call) => self.invite_code(&call).await,
            Call::InviteCodeWait(_) => return self.wait_for_invitation(respond),
            Call::JoinCode(call) => return self.join_code(&call, respond),
            Call::IdProtect(call) => self.id_protect(&call),
            Call::IdExport(call) => self.id_export(&call),
            Call::IdImport(call) => self.id_import(&call),
            Call::WithKey(with) => return self.with_key(*with, respond).await,
            Call::Events(call) => self.events_of(&call),
            Call::Upload(call) => self.upload(call),
            Call::SyncImport(call) => return self.sync_import(&call, respond),
            Call::JoinRequest(call) => self.join_request(&call),
            Call::JoinAnswer(call) => self.join_answer(&call).await,
            Call::InviteAccept(call) => return self.invite_accept(&call, respond).await,
            Call::Preview(call) => self.preview(&call),
            Call::RecoveryWords(_) => new_words(),
            Call::OwnerTransfer(call) => return self.owner_transfer(&call, respond),
            Call::OwnerAccept(call) => return self.owner_accept(&call, respond),
            Call::OwnerRecover(call) => {
                return self.signed(respond, |node| node.owner_recover(&call)).await;
            }
        };
        let _ = respond.send(result);
    }

    async fn signed(
        &mut self,
        respond: Respond,
        sign: impl FnOnce(&mut Self) -> Result<Signed, Error>,
    ) {
        match sign(self) {
            Ok(Signed {
                network,
                event,
                wait_ms,
                finish,
            }) => {
                self.changed(network, None).await;
                self.reply_after_spread(network, event, wait_ms, respond, finish);
            }
            Err(error) => drop(respond.send(Err(error))),
        }
    }

    /// The network that a call means.
    fn find_network(&self, name: Option<&str>) -> Result<NetworkId, Error> {
        let names = || {
            let mut names: Vec<String> = self.nets.values().map(Net::name).collect();
            names.sort();
            names.join(", ")
        };
        let Some(name) = name else {
            let mut members = self.nets.values();
            return match (members.next(), members.next()) {
                (Some(net), None) => Ok(net.id),
                (None, _) => Err(self.no_network("this device is in no network")),
                _ => Err(Error::new(
                    Code::Usage,
                    format!("this device is in several networks: {}", names()),
                )
                .hint("the same command with -n NETWORK")),
            };
        };
        let found: Vec<NetworkId> = self
            .nets
            .values()
            .filter(|net| {
                net.name() == name || crate::view::names::is_prefix(name, &net.id.to_string())
            })
            .map(|net| net.id)
            .collect();
        match found[..] {
            [one] => Ok(one),
            [] => Err(self.no_network(&format!("no network {name:?} here"))),
            _ => Err(Error::new(
                Code::Usage,
                format!("several networks are called {name}: use the start of its id"),
            )
            .hint("mesh networks")),
        }
    }

    fn no_network(&self, what: &str) -> Error {
        match self.broken.first() {
            Some((_, why)) => Error::new(
                Code::Verification,
                format!("{what}; and a network could not be opened: {why}"),
            )
            .hint("mesh log verify"),
            None if self.nets.is_empty() => {
                Error::new(Code::NotFound, what).hint("mesh create NAME, or mesh join TICKET")
            }
            None => Error::new(Code::NotFound, what).hint("mesh networks"),
        }
    }

    fn net(&self, name: Option<&str>) -> Result<&Net, Error> {
        self.net_of(&self.find_network(name)?)
    }

    fn net_of(&self, id: &NetworkId) -> Result<&Net, Error> {
        self.nets
            .get(id)
            .ok_or_else(|| Error::new(Code::NotFound, "the network is gone"))
    }

    /// The network that a call means, if this device is in it.
    fn member_net(&self, name: Option<&str>) -> Result<&Net, Error> {
        let net = self.net(name)?;
        if net.is_member() {
            Ok(net)
        } else {
            Err(Error::new(
                Code::NotPermitted,
                format!("this device was removed from {}", net.name()),
            )
            .hint("mesh status, and ask an admin for a direct invite"))
        }
    }

    /// Signs an act in a network.
    pub(super) fn author(
        &mut self,
        id: NetworkId,
        act: Act,
        attributes: Option<Attributes>,
    ) -> Result<EventId, Error> {
        let Some(net) = self.nets.get_mut(&id) else {
            return Err(Error::new(Code::NotFound, "the network is gone"));
        };
        match net
            .ledger
            .author(&self.identity.device, act, attributes, now_ms())
        {
            Ok(event) => Ok(event.id()),
            Err(error) => Err(authoring(&error)),
        }
    }

    fn sync_now(&mut self, name: Option<&str>) -> Result<Reply, Error> {
        let id = self.find_network(name)?;
        let Some(net) = self.nets.get(&id) else {
            return Err(Error::new(Code::NotFound, "the network is gone"));
        };
        let (mine, missing) = (net.ledger.heads_digest(), net.ledger.missing());
        let mut synced = reply::Synced {
            network: net.name(),
            peers: 0,
            same: 0,
            received: 0,
            sent: 0,
        };
        for linked in self
            .links
            .values_mut()
            .filter(|linked| linked.network == id && linked.member)
        {
            synced.peers += 1;
            synced.same += u32::from(linked.heads == Some(mine));
            if linked.sync.is_idle() {
                for message in linked.sync.start(net.ledger.index()) {
                    linked
                        .link
                        .send(mesh_core::link::Frame::Sync(message.encode()));
                }
            }
            for message in mesh_ledger::wire::Sync::fetch(&missing) {
                linked
                    .link
                    .send(mesh_core::link::Frame::Sync(message.encode()));
            }
        }
        let asked = self.look_at_mirrors(id);
        if synced.peers == 0 && asked == 0 {
            return Err(
                Error::new(Code::Unreachable, "no peer is online, and no server")
                    .hint("mesh status"),
            );
        }
        Ok(Reply::Synced(synced))
    }
}

/// What a person is told when an event was not written.
fn authoring(error: &AuthorError) -> Error {
    match error {
        AuthorError::Void(Reason::NotAdmin { .. }) => Error::new(
            Code::NotPermitted,
            "only the owner and admins can do that, and you are neither",
        )
        .hint("mesh admin ls"),
        AuthorError::Void(reason) => {
            let code = match reason {
                Reason::Outranked { .. }
                | Reason::OwnerStays
                | Reason::NotIssuer { .. }
                | Reason::OnlyOwn { .. }
                | Reason::OnlyItself { .. }
                | Reason::TermEnded { .. }
                | Reason::UserRemoved { .. }
                | Reason::DeviceRemoved { .. }
                | Reason::NotAdmitted => Code::NotPermitted,
                _ => Code::Conflict,
            };
            Error::new(code, format!("it would not count: {reason}"))
        }
        error => Error::new(Code::Failed, error.to_string()),
    }
}

pub(in crate::node) fn event_ref(id: &EventId) -> EventRef {
    crate::view::event_ref(id)
}

/// A name that somebody typed.
fn label(text: &str) -> Result<Label, Error> {
    text.parse::<Label>()
        .map_err(|error| Error::new(Code::Usage, error.to_string()))
}

/// The name this device gets: the one that was typed, or the machine's host name made a label.
fn host_label(typed: Option<&str>) -> Result<Label, Error> {
    if let Some(text) = typed {
        return label(text);
    }
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    let first = name
        .split('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let plain: String = first
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(Label::MAX)
        .collect();
    plain.trim_matches('-').parse().map_err(|_| {
        Error::new(
            Code::Usage,
            format!("the machine's name {name:?} cannot serve as a host name"),
        )
        .hint("add --as HOST")
    })
}

//! `mesh invite --code`, `mesh join CODE`.

use std::time::Duration;

use mesh_control::Secret;
use mesh_control::call::{InviteCode, JoinCode};
use mesh_control::error::{Code, Error};
use mesh_control::reply::Reply;
use mesh_ledger::code;
use mesh_ledger::state::StandingInvite;

use super::create::ticket;
use super::{Respond, host_label};
use crate::clock::now_ms;
use crate::node::device::enter::{Joins, Purpose};
use crate::node::device::{MAX_WRONG, typed};
use crate::node::{Net, Node};

/// A code is there for a conversation, not for a week. Seconds.
pub(super) const SHORTEST_CODE: u32 = 30;
/// The longest.
pub(super) const LONGEST_CODE: u32 = 3_600;
/// The longest that a machine looks for who shows a code, in seconds.
pub(super) const LONGEST_WAIT: u32 = 3_600;

impl Node {
    pub(super) async fn invite_code(&mut self, call: &InviteCode) -> Result<Reply, Error> {
        let ticket = ticket(&call.ticket)?;
        let key = ticket.invite_secret().public();
        let net = self.nets.get(&ticket.network());
        let net = net.filter(|net| net.is_member()).ok_or_else(|| {
            let error = "this machine is not in the network that the ticket is for";
            Error::new(Code::NotFound, error).hint("mesh networks")
        })?;
        let mut invites = net.state().invites.values();
        let invite = invites.find(|invite| invite.key == key).ok_or_else(|| {
            let error = format!("the ticket's invite is not known in {}", net.name());
            Error::new(Code::NotFound, error).hint("mesh sync now, then again")
        })?;
        let now = now_ms();
        open(net, invite, now)?;
        let seconds = call.for_seconds.clamp(SHORTEST_CODE, LONGEST_CODE);
        let expires = invite.expires.min(now + u64::from(seconds) * 1_000);
        let wrong = self.wrong_words.get(&key).copied().unwrap_or_default();
        if call.go_on {
            self.wrong_words.remove(&key);
        } else if wrong >= MAX_WRONG {
            let error = format!(
                "somebody typed wrong words {wrong} times, perhaps to guess: the codes of this invite have stopped"
            );
            let error = Error::new(Code::Conflict, error);
            return Err(error.hint("for another invite: mesh invite --code"));
        }
        self.show_ticket(&ticket, expires).await
    }

    pub(super) fn join_code(&mut self, call: &JoinCode, respond: Respond) {
        let begun = (|| {
            let (code, at) = typed_code(&call.code)?;
            let joins = Joins {
                host: host_label(call.host.as_deref())?,
                user: self.user_secret()?,
                wait: wait(call.wait_seconds),
            };
            Ok((code, call.at.clone().or(at), joins))
        })();
        match begun {
            Ok((code, at, joins)) => {
                let wait = joins.wait;
                self.enter(code, at, Purpose::Join(Box::new(joins)), wait, respond);
            }
            Err(error) => drop(respond.send(Err(error))),
        }
    }
}

/// A code as it was typed, and where it is shown if that was said.
pub(super) fn typed_code(text: &Secret) -> Result<(code::Code, Option<String>), Error> {
    let (code, at) = typed(text.reveal());
    let code = code.parse::<code::Code>();
    let code = code.map_err(|error| {
        Error::new(Code::Usage, error.to_string())
            .hint("type it as the other machine shows it, as 7-crossbow-orca-basil")
    });
    Ok((code?, at))
}

/// So many seconds, within bounds.
pub(super) fn wait(seconds: u32) -> Duration {
    Duration::from_secs(seconds.clamp(1, LONGEST_WAIT).into())
}

/// Whether somebody can join by an invite.
fn open(net: &Net, invite: &StandingInvite, now: u64) -> Result<(), Error> {
    let why = if let Some(by) = invite.closed {
        format!("it was closed in {}", by.short())
    } else if invite.expires <= now {
        "it has expired".to_owned()
    } else if invite.used >= invite.max_uses {
        "it is used up".to_owned()
    } else {
        return Ok(());
    };
    let error = format!("nobody can join {} by this ticket: {why}", net.name());
    Err(Error::new(Code::Conflict, error).hint("mesh invite --code"))
}

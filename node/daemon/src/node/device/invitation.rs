//! A code that invites somebody: it hands a ticket to the device that knows its words, and has served once that device is a
//! member. The words transport, the ticket authorises.

use mesh_control::error::{Code as ErrorCode, Error};
use mesh_control::reply::{self, CodeOutcome, Reply};
use mesh_core::handover::Said;
use mesh_core::link::Frame;
use mesh_ledger::code::{Channel, Confirmation, Way};
use mesh_ledger::ids::{InviteKey, NetworkId};
use mesh_ledger::ticket::Ticket;
use tracing::info;
use zeroize::Zeroizing;

use super::What;
use crate::node::calls::Respond;
use crate::node::{Net, Node};

/// After so many wrong words an invite's codes stop until its inviter says go on.
pub(in crate::node) const MAX_WRONG: u32 = 5;

/// What such a code stands for.
pub(super) struct Invitation {
    text: Zeroizing<String>,
    network: NetworkId,
    invite: InviteKey,
}

impl Invitation {
    /// The ticket, sealed for who proved to know the words, with the proof that this device knows them.
    pub(super) fn frame(&self, channel: &Channel, confirmation: Confirmation) -> Frame {
        let sealed = channel.seal(Way::Inviter, 0, self.text.as_bytes());
        let said = Said::Ticket(confirmation, sealed.unwrap_or_default());
        Frame::Code(said.encode().to_vec())
    }
}

impl Node {
    /// Shows a code for a ticket until then, in milliseconds since 1970.
    pub(in crate::node) async fn show_ticket(
        &mut self,
        ticket: &Ticket,
        expires: u64,
    ) -> Result<Reply, Error> {
        let network = ticket.network();
        let name = self.nets.get(&network).map_or_else(String::new, Net::name);
        let what = What::Invitation(Invitation {
            text: ticket.text(),
            network,
            invite: ticket.invite_secret().public(),
        });
        let (code, addresses) = self.put_up(what, expires).await?;
        Ok(Reply::InviteCode(reply::InviteCode {
            network: name,
            code,
            expires_ms: expires,
            addresses,
        }))
    }

    /// Answers when the code has let somebody in or has come to nothing.
    pub(in crate::node) fn wait_for_invitation(&mut self, respond: Respond) {
        let shown = self.sharing.as_mut();
        let shown = shown.filter(|sharing| matches!(sharing.what, What::Invitation(_)));
        match shown {
            Some(sharing) => {
                let burnt = sharing.keeper.is_burnt();
                sharing.waiting.push(respond);
                if burnt {
                    self.tell_burnt();
                }
            }
            None => {
                let error = Error::new(ErrorCode::NotFound, "no code is shown");
                let _ = respond.send(Err(error.hint("mesh invite --code")));
            }
        }
    }

    /// The code that is shown has served if the device that took the ticket is a member by now.
    pub(in crate::node) fn settle_code(&mut self, id: NetworkId) {
        let Some(sharing) = &self.sharing else {
            return;
        };
        let What::Invitation(invitation) = &sharing.what else {
            return;
        };
        let joined = sharing.keeper.serves().and_then(|device| {
            let net = self.nets.get(&id).filter(|_| invitation.network == id)?;
            net.state().devices.get(&device)
        });
        let Some(joined) = joined else {
            return;
        };
        let outcome = CodeOutcome::Joined {
            name: joined.host.to_string(),
            device: joined.id.to_string(),
            short: joined.id.short(),
        };
        info!(network = %id, device = %joined.id.short(), "joined by a code");
        self.tell_outcome(&outcome);
        self.sharing = None;
        self.announce_on_lan();
    }

    /// Somebody confirmed other words than those of the code that is shown.
    pub(super) fn invitation_burnt(&mut self) {
        if let Some(invite) = self.shown_invite() {
            let wrong = self.wrong_words.entry(invite).or_default();
            *wrong = wrong.saturating_add(1);
        }
        self.tell_burnt();
    }

    /// The time of the code that is shown is over.
    pub(super) fn end_old_invitation(&mut self) {
        let Some(sharing) = &self.sharing else {
            return;
        };
        let taken = sharing.keeper.serves().is_some();
        self.tell_outcome(&CodeOutcome::Expired { taken });
        self.sharing = None;
        self.announce_on_lan();
    }

    fn tell_burnt(&mut self) {
        let invite = self.shown_invite();
        let wrong = invite.and_then(|invite| self.wrong_words.get(&invite).copied());
        let wrong = wrong.unwrap_or_default();
        let stopped = wrong >= MAX_WRONG;
        self.tell_outcome(&CodeOutcome::Burnt { wrong, stopped });
    }

    fn shown_invite(&self) -> Option<InviteKey> {
        match &self.sharing.as_ref()?.what {
            What::Invitation(invitation) => Some(invitation.invite),
            What::Device { .. } => None,
        }
    }

    fn tell_outcome(&mut self, outcome: &CodeOutcome) {
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        let What::Invitation(invitation) = &sharing.what else {
            return;
        };
        let net = self.nets.get(&invitation.network);
        let network = net.map_or_else(|| invitation.network.short(), Net::name);
        for respond in sharing.waiting.drain(..) {
            let _ = respond.send(Ok(Reply::CodeEnded(reply::CodeEnded {
                network: network.clone(),
                outcome: outcome.clone(),
            })));
        }
    }
}

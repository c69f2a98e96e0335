//! Redeeming an invite: what joiner and sponsor send each other, and the sponsor's judgement.
//!
//! 1. The joiner sends a [`Challenge`]: which invite key, and a nonce.
//! 2. The sponsor answers with an [`Introduction`]: the invite's id, and a proof by the contact secret that it is a member
//!    and no server in between.
//! 3. The joiner sends a [`Request`], signed by its user and device and by the invite key.
//! 4. The sponsor judges it, writes the `admit`, finds it counted, and only then sends an [`Answer`] with the newest
//!    epoch key sealed to the joiner's box key, and the ledger.
//!
//! The same request sent again gets the same kind of answer and costs no use. Somebody else who replays it gets
//! ciphertext.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{AuthorError, Ledger};
use crate::epoch::HandedKey;
use crate::event::act::{Admit, InviteKind, Redemption, redemption_message};
use crate::event::attributes::Joining;
use crate::event::{Act, Attributes};
use crate::ids::{BoxKey, DeviceId, EventId, InviteKey, NetworkId, UserId};
use crate::keys::{DeviceSecret, Domain, Signature, UserSecret, certified};
use crate::state::Rank;
use crate::store::Store;
use crate::text::Note;
use crate::ticket::Ticket;
use crate::verdict::Reason;

/// The most bytes of any of these messages.
pub const MAX_MESSAGE: usize = 2048;

/// The joiner asks a possible sponsor to prove itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The network.
    pub network: NetworkId,
    /// The public half of the ticket's key.
    pub key: InviteKey,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
}

/// The sponsor names the invite and proves that it is a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The invite event.
    pub invite: EventId,
    /// A keyed hash under the invite's contact secret.
    pub proof: [u8; 32],
}

/// The joiner's keys and wishes, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The network.
    pub network: NetworkId,
    /// The joiner.
    pub user: UserId,
    /// Its device, which must be the one that sends this.
    pub device: DeviceId,
    /// Where epoch keys for it are sealed to.
    pub box_key: BoxKey,
    /// The user's word for the device.
    pub certificate: Signature,
    /// Host name, address, WireGuard key.
    pub joining: Joining,
    /// The signatures.
    pub redemption: Redemption,
}

/// The sponsor has admitted the joiner. The ledger's events follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The admission.
    pub admit: EventId,
    /// The newest epoch's key, sealed to the joiner's box key.
    pub key: HandedKey,
    /// How many events there are.
    pub events: u64,
}

/// What a sponsor sends back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To a challenge.
    Introduced(Introduction),
    /// To a request.
    Admitted(Answer),
    /// To either.
    Refused(RedeemError),
}

/// Why a redemption is refused: what the joiner is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RedeemError {
    /// It is for another network.
    #[error("the member asked is not in that network")]
    Foreign,
    /// No such invite.
    #[error(
        "no invite has that ticket's key: the member may not have heard of it yet; try another, or ask for a new ticket"
    )]
    UnknownInvite,
    /// Its time is over.
    #[error("the invite has expired: ask for a new ticket")]
    Expired,
    /// Others have used it.
    #[error("the invite is used up: ask for a new ticket")]
    UsedUp,
    /// It was withdrawn, or its issuer fell.
    #[error("the invite was closed: ask for a new ticket")]
    Closed,
    /// It is for another user.
    #[error("the invite is for another user")]
    NotInvited,
    /// An admin's device must admit.
    #[error("by this invite only an admin's device admits: ask one that is online")]
    NeedsAdmin,
    /// The joiner was removed.
    #[error("this user or device was removed from the network: only an admin lets it in again")]
    Barred,
    /// Another device sent it than the one it names.
    #[error("the request names another device than the one that sends it")]
    OtherDevice,
    /// A signature does not verify.
    #[error("a signature of the request does not verify: {0}")]
    Signature(Proof),
    /// The sponsor has no key to hand over yet.
    #[error("the member asked has no current key yet: try again, or another member")]
    NoKey,
    /// The admission would be void.
    #[error("the admission would not count: {0}")]
    Void(Note),
    /// The sponsor could not write it.
    #[error("the member asked could not record the admission: try another")]
    Unrecorded,
}

/// One of the proofs of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// The certificate.
    Certificate,
    /// By the user key.
    User,
    /// By the device key.
    Device,
    /// By the invite key.
    Invite,
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Certificate => "the device's certificate",
            Self::User => "the user's",
            Self::Device => "the device's",
            Self::Invite => "the invite's",
        })
    }
}

macro_rules! message {
    ($($name:ident)*) => {$(
        impl $name {
            /// The bytes to send.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                postcard::to_stdvec(self).unwrap_or_default()
            }

            /// Reads received bytes; `None` if they are too many or not such a message.
            #[must_use]
            pub fn decode(bytes: &[u8]) -> Option<Self> {
                if bytes.len() > MAX_MESSAGE {
                    return None;
                }
                let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
                rest.is_empty().then_some(value)
            }
        }
    )*};
}

message! { Challenge Request Reply }

impl Challenge {
    /// Asks for the invite of a ticket. The nonce is fresh random bytes.
    #[must_use]
    pub fn new(ticket: &Ticket, nonce: [u8; 32]) -> Self {
        Self {
            network: ticket.network(),
            key: ticket.invite_secret().public(),
            nonce,
        }
    }
}

impl Introduction {
    fn new(
        contact: &[u8; 32],
        challenge: &Challenge,
        invite: EventId,
        sponsor: &DeviceId,
        joiner: &DeviceId,
    ) -> Self {
        let key = Zeroizing::new(blake3::derive_key("mesh introduction 1", contact));
        let mut hasher = blake3::Hasher::new_keyed(&key);
        for part in [
            &challenge.network.0,
            &challenge.key.0,
            &challenge.nonce,
            &invite.0,
            &sponsor.0,
            &joiner.0,
        ] {
            hasher.update(part);
        }
        Self {
            invite,
            proof: *hasher.finalize().as_bytes(),
        }
    }

    /// Whether `sponsor`, the device at the other end of the link, holds the contact secret of the joiner's ticket.
    #[must_use]
    pub fn proves(
        &self,
        ticket: &Ticket,
        challenge: &Challenge,
        sponsor: &DeviceId,
        joiner: &DeviceId,
    ) -> bool {
        let due = Self::new(&ticket.contact(), challenge, self.invite, sponsor, joiner);
        // blake3's own hash type compares in constant time.
        blake3::Hash::from(due.proof) == blake3::Hash::from(self.proof)
    }
}

impl Request {
    /// Signs a request to be admitted by a ticket's invite.
    #[must_use]
    pub fn new(
        ticket: &Ticket,
        invite: EventId,
        user: &UserSecret,
        device: &DeviceSecret,
        box_key: BoxKey,
        joining: Joining,
    ) -> Self {
        let network = ticket.network();
        let certificate = user.certify(&device.public());
        let message = redemption_message(
            &network,
            &invite,
            &user.public(),
            &device.public(),
            &box_key,
            &certificate,
            &joining.digest(),
        );
        Self {
            network,
            user: user.public(),
            device: device.public(),
            box_key,
            certificate,
            joining,
            redemption: Redemption {
                invite,
                by_user: user.sign(Domain::Redemption, &message),
                by_device: device.sign(Domain::Redemption, &message),
                by_invite: ticket.invite_secret().sign(Domain::Redemption, &message),
            },
        }
    }

    /// The act and the attributes that admit this joiner.
    #[must_use]
    pub fn admission(&self, at: u64) -> (Act, Attributes) {
        let act = Act::Admit(Admit {
            user: self.user,
            device: self.device,
            box_key: self.box_key,
            certificate: self.certificate,
            digest: self.joining.digest(),
            redemption: Some(self.redemption.clone()),
            at,
        });
        (act, Attributes::Joining(self.joining.clone()))
    }

    fn proven(&self, kind: InviteKind, key: &InviteKey) -> Result<(), Proof> {
        let message = redemption_message(
            &self.network,
            &self.redemption.invite,
            &self.user,
            &self.device,
            &self.box_key,
            &self.certificate,
            &self.joining.digest(),
        );
        let Redemption {
            by_user,
            by_device,
            by_invite,
            ..
        } = &self.redemption;
        if !certified(&self.user, &self.device, &self.certificate) {
            Err(Proof::Certificate)
        } else if !self.user.verifies(Domain::Redemption, &message, by_user) {
            Err(Proof::User)
        } else if !self
            .device
            .verifies(Domain::Redemption, &message, by_device)
        {
            Err(Proof::Device)
        } else if !matches!(kind, InviteKind::Direct(_))
            && !key.verifies(Domain::Redemption, &message, by_invite)
        {
            Err(Proof::Invite)
        } else {
            Ok(())
        }
    }
}

impl<S: Store> Ledger<S> {
    /// Answers a challenge: proves to the joiner that this device is a member.
    ///
    /// # Errors
    /// [`RedeemError`] if no live invite has that key.
    pub fn introduce(
        &self,
        challenge: &Challenge,
        sponsor: &DeviceId,
        joiner: &DeviceId,
    ) -> Result<Introduction, RedeemError> {
        if challenge.network != self.network {
            return Err(RedeemError::Foreign);
        }
        let named = || {
            let all = self.state().invites.iter();
            all.filter(|(_, invite)| invite.key == challenge.key)
        };
        let (id, invite) = named()
            .find(|(_, invite)| invite.closed.is_none())
            .or_else(|| named().next())
            .ok_or(RedeemError::UnknownInvite)?;
        Ok(Introduction::new(
            &invite.contact,
            challenge,
            *id,
            sponsor,
            joiner,
        ))
    }

    /// Judges a request that came from device `from` and that `sponsor`, a device of ours, would admit now.
    ///
    /// # Errors
    /// [`RedeemError`] says why not, as the joiner is told.
    pub fn judge_redemption(
        &self,
        request: &Request,
        from: &DeviceId,
        sponsor: &DeviceId,
        now: u64,
    ) -> Result<(Act, Attributes), RedeemError> {
        if request.network != self.network {
            return Err(RedeemError::Foreign);
        }
        if request.device != *from {
            return Err(RedeemError::OtherDevice);
        }
        let authority = &self.fold().authority;
        let invite = authority
            .invites
            .get(&request.redemption.invite)
            .ok_or(RedeemError::UnknownInvite)?;
        // The proofs first: who cannot redeem learns nothing about the invite.
        request
            .proven(invite.kind, &invite.key)
            .map_err(RedeemError::Signature)?;
        authority
            .usable(&request.redemption.invite, &request.user, now)
            .map_err(|reason| refusal(&reason))?;
        let sponsor_is_admin = self
            .state()
            .member_of(sponsor)
            .is_some_and(|member| member.rank != Rank::Member);
        if invite.countersign && !sponsor_is_admin {
            return Err(RedeemError::NeedsAdmin);
        }
        Ok(request.admission(now))
    }

    /// Admits a joiner: judges the request, writes the `admit`, finds it counted, and seals the newest epoch key to the
    /// joiner. A device that is a member already, with the same box key, is just answered: its first answer may have been
    /// lost. `seed` is fresh random bytes.
    ///
    /// # Errors
    /// [`RedeemError`] says why not, as the joiner is told; nothing is written then.
    pub fn redeem(
        &mut self,
        request: &Request,
        from: &DeviceId,
        sponsor: &DeviceSecret,
        seed: &[u8; 32],
        now: u64,
    ) -> Result<Answer, RedeemError> {
        if self.newest_key().is_none() {
            return Err(RedeemError::NoKey);
        }
        let admit = match self.already(request, from) {
            Some(admit) => admit,
            None => {
                let (act, attributes) =
                    self.judge_redemption(request, from, &sponsor.public(), now)?;
                self.author(sponsor, act, Some(attributes), now)
                    .map_err(|error| match error {
                        AuthorError::Void(reason) => refusal(&reason),
                        AuthorError::NoKey => RedeemError::NoKey,
                        _ => RedeemError::Unrecorded,
                    })?
                    .id()
            }
        };
        let key = self
            .hand_key(&request.box_key, seed)
            .ok_or(RedeemError::NoKey)?;
        Ok(Answer {
            admit,
            key,
            events: self.graph.len() as u64,
        })
    }

    fn already(&self, request: &Request, from: &DeviceId) -> Option<EventId> {
        let device = self.fold().authority.devices.get(from)?;
        (request.network == self.network
            && request.device == *from
            && device.user == request.user
            && device.box_key == request.box_key)
            .then_some(device.event)
    }
}

fn refusal(reason: &Reason) -> RedeemError {
    match reason {
        Reason::UnknownInvite { .. } | Reason::InviteVoid { .. } => RedeemError::UnknownInvite,
        Reason::InviteExpired { .. } | Reason::InviteSealed { .. } => RedeemError::Expired,
        Reason::InviteUsedUp { .. } => RedeemError::UsedUp,
        Reason::InviteClosed { .. } | Reason::InviteLapsed { .. } => RedeemError::Closed,
        Reason::NotInvited { .. } => RedeemError::NotInvited,
        Reason::NeedsCountersign { .. } => RedeemError::NeedsAdmin,
        Reason::Barred { .. } => RedeemError::Barred,
        other => {
            let text: String = other.to_string().chars().take(Note::MAX).collect();
            text.parse()
                .map_or(RedeemError::Unrecorded, RedeemError::Void)
        }
    }
}

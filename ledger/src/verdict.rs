//! What the fold makes of one event, and why: the sentences of `mesh log`.

mod verdicts;

use std::fmt;

use crate::event::attributes::MAX_NAMES;
use crate::ids::{DeviceId, EpochId, EventId, UserId};
use crate::text::Label;
pub(crate) use verdicts::Name;
pub use verdicts::Verdicts;

/// What the fold makes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Counted,
    /// Its act counts; its attributes are sealed under an epoch whose key is not here yet.
    Pending,
    /// It has no effect.
    Void(Reason),
}

impl Verdict {
    /// Whether its act counts.
    #[must_use]
    pub fn counts(&self) -> bool {
        !matches!(self, Self::Void(_))
    }

    /// Why it has no effect, if it has none.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Void(reason) => Some(reason),
            _ => None,
        }
    }
}

/// A user in a sentence: by name, if the state ever knew one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The user.
    pub user: UserId,
    /// The name, last known.
    pub name: Option<Label>,
}

impl From<UserId> for Who {
    fn from(user: UserId) -> Self {
        Self { user, name: None }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}"),
            None => write!(f, "user {}", self.user.short()),
        }
    }
}

/// Why an event has no effect. Where another event decided, it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No admission of the author's device lies in its past.
    NotAdmitted,
    /// There is one, but it is void.
    AdmissionVoid {
        /// The void admission.
        admission: EventId,
    },
    /// The author's user was removed, and this event lies outside the removal's past (or cut).
    UserRemoved {
        /// The author's user.
        who: Who,
        /// The removal.
        by: EventId,
    },
    /// The author's device was removed, and this event lies outside the removal's past (or cut).
    DeviceRemoved {
        /// The author's user.
        who: Who,
        /// The device.
        device: DeviceId,
        /// The removal.
        by: EventId,
    },
    /// Only an admin may do that.
    NotAdmin {
        /// The author's user.
        who: Who,
    },
    /// The author's term of office had ended.
    TermEnded {
        /// The author's user.
        who: Who,
        /// The removal or succession that ended it.
        by: EventId,
    },
    /// The target holds a term more senior than the author's.
    Outranked {
        /// The target.
        who: Who,
        /// The event that began that term.
        term: EventId,
    },
    /// The owner neither leaves nor is removed.
    OwnerStays,
    /// Nobody grants himself a term.
    OwnGrant,
    /// The target is no member.
    NotAMember {
        /// The target.
        who: Who,
    },
    /// The target was removed; the grant does not bring it back.
    TargetRemoved {
        /// The target.
        who: Who,
        /// The removal.
        by: EventId,
    },
    /// No such device was certified before.
    NoSuchDevice {
        /// The device.
        device: DeviceId,
    },
    /// No such term of that user was granted before.
    NoSuchTerm {
        /// What was named as its grant.
        grant: EventId,
    },
    /// The cut names events that do not lie in the event's past.
    CutOutside,
    /// A user's own further device is removed by the user's key, and with a cut.
    NeedsUserKey,
    /// A certificate, or a signature in the act, does not verify.
    Unproven(&'static str),
    /// The invite it names is not one of its past.
    UnknownInvite {
        /// What was named.
        invite: EventId,
    },
    /// The invite itself is void.
    InviteVoid {
        /// The invite.
        invite: EventId,
    },
    /// The invite's issuer had fallen.
    InviteLapsed {
        /// The invite.
        invite: EventId,
        /// The removal or succession.
        by: EventId,
    },
    /// The invite was closed.
    InviteClosed {
        /// The invite.
        invite: EventId,
        /// The closing, or the removal that carried it.
        by: EventId,
    },
    /// The invite had expired, by the admitting member's own clock.
    InviteExpired {
        /// The invite.
        invite: EventId,
    },
    /// A checkpoint later than the invite's expiry does not know of the admission.
    InviteSealed {
        /// The invite.
        invite: EventId,
        /// The checkpoint.
        by: EventId,
    },
    /// The invite has no use left.
    InviteUsedUp {
        /// The invite.
        invite: EventId,
        /// The last admission that used it.
        by: Option<EventId>,
    },
    /// The invite is for another user.
    NotInvited {
        /// The invite.
        invite: EventId,
    },
    /// The invite asks that an admin admits.
    NeedsCountersign {
        /// The invite.
        invite: EventId,
    },
    /// Only an admin admits without an invite.
    NeedsInvite {
        /// The author's user.
        who: Who,
    },
    /// The joiner was removed, and this does not bring it back.
    Barred {
        /// The joiner.
        who: Who,
        /// The removal.
        by: EventId,
    },
    /// Neither the issuer nor a senior closes that invite.
    NotIssuer {
        /// The invite.
        invite: EventId,
    },
    /// The recovery key that signed is not the present term's.
    WrongRecoveryKey,
    /// Another succession of the same term counts.
    RivalSuccession {
        /// The one that counts.
        by: EventId,
    },
    /// The checkpoint does not say what it covers.
    BadCheckpoint,
    /// No removal asks for a new epoch, and the author is no admin.
    EpochNotDue,
    /// That epoch was not begun before.
    UnknownEpoch {
        /// The epoch.
        epoch: EpochId,
    },
    /// Only the device itself does that.
    OnlyItself {
        /// The device.
        device: DeviceId,
        /// What: `offers`, …
        verb: &'static str,
    },
    /// Only the user itself or an admin does that.
    OnlyOwn {
        /// What the register holds.
        what: &'static str,
    },
    /// The user set as many names as one who is no admin may ([`MAX_NAMES`]).
    NamesUsedUp,
    /// The address is none of the network's.
    OutsideSubnet,
    /// The sealed part does not open under the key its epoch commits to, or makes no sense.
    Unreadable,
}

impl Reason {
    /// The event that decided, if it was another one.
    #[must_use]
    pub fn decided_by(&self) -> Option<EventId> {
        match self {
            Self::UserRemoved { by, .. }
            | Self::DeviceRemoved { by, .. }
            | Self::TermEnded { by, .. }
            | Self::TargetRemoved { by, .. }
            | Self::InviteLapsed { by, .. }
            | Self::InviteClosed { by, .. }
            | Self::InviteSealed { by, .. }
            | Self::Barred { by, .. }
            | Self::RivalSuccession { by } => Some(*by),
            Self::AdmissionVoid { admission: event }
            | Self::Outranked { term: event, .. }
            | Self::NoSuchTerm { grant: event }
            | Self::UnknownInvite { invite: event }
            | Self::InviteVoid { invite: event }
            | Self::InviteExpired { invite: event }
            | Self::NotInvited { invite: event }
            | Self::NeedsCountersign { invite: event }
            | Self::NotIssuer { invite: event } => Some(*event),
            Self::InviteUsedUp { invite, by } => Some(by.unwrap_or(*invite)),
            _ => None,
        }
    }

    /// The user of whom it speaks, if it speaks of one.
    pub(crate) fn user(&self) -> Option<UserId> {
        match self {
            Self::UserRemoved { who, .. }
            | Self::DeviceRemoved { who, .. }
            | Self::NotAdmin { who }
            | Self::TermEnded { who, .. }
            | Self::Outranked { who, .. }
            | Self::NotAMember { who }
            | Self::TargetRemoved { who, .. }
            | Self::NeedsInvite { who }
            | Self::Barred { who, .. } => Some(who.user),
            _ => None,
        }
    }

    /// Puts names to users.
    fn name(&mut self, name: Name<'_>) {
        match self {
            Self::UserRemoved { who, .. }
            | Self::DeviceRemoved { who, .. }
            | Self::NotAdmin { who }
            | Self::TermEnded { who, .. }
            | Self::Outranked { who, .. }
            | Self::NotAMember { who }
            | Self::TargetRemoved { who, .. }
            | Self::NeedsInvite { who }
            | Self::Barred { who, .. } => who.name = name(&who.user),
            _ => {}
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAdmitted => f.write_str("by a device that was not admitted"),
            Self::AdmissionVoid { admission } => {
                write!(
                    f,
                    "by a device whose admission {} is void",
                    admission.short()
                )
            }
            Self::UserRemoved { who, by } => {
                write!(f, "by {who}'s device; {who} was removed in {}", by.short())
            }
            Self::DeviceRemoved { who, by, .. } => {
                write!(f, "by {who}'s device, removed in {}", by.short())
            }
            Self::NotAdmin { who } => write!(f, "by {who}, who was no admin"),
            Self::TermEnded { who, by } => {
                write!(f, "by {who}, whose term ended in {}", by.short())
            }
            Self::Outranked { who, term } => {
                write!(f, "outranked: {who} is senior by {}", term.short())
            }
            Self::OwnerStays => {
                f.write_str("the owner cannot go; the network must be handed over first")
            }
            Self::OwnGrant => f.write_str("nobody makes himself an admin"),
            Self::NotAMember { who } => write!(f, "{who} was no member"),
            Self::TargetRemoved { who, by } => write!(f, "{who} was removed in {}", by.short()),
            Self::NoSuchDevice { device } => {
                write!(f, "there was no device {}", device.short())
            }
            Self::NoSuchTerm { grant } => write!(f, "{} granted no such term", grant.short()),
            Self::CutOutside => f.write_str("its cut does not lie in its past"),
            Self::NeedsUserKey => {
                f.write_str("a user's own device is removed by the user's key, with a cut")
            }
            Self::Unproven(what) => write!(f, "{what} does not verify"),
            Self::UnknownInvite { invite } => write!(f, "there was no invite {}", invite.short()),
            Self::InviteVoid { invite } => write!(f, "the invite {} is void", invite.short()),
            Self::InviteLapsed { invite, by } => write!(
                f,
                "the invite {} lapsed when its issuer fell in {}",
                invite.short(),
                by.short()
            ),
            Self::InviteClosed { invite, by } => {
                write!(
                    f,
                    "the invite {} was closed by {}",
                    invite.short(),
                    by.short()
                )
            }
            Self::InviteExpired { invite } => {
                write!(f, "the invite {} had expired", invite.short())
            }
            Self::InviteSealed { invite, by } => write!(
                f,
                "the invite {} had expired before checkpoint {}, which does not know of this",
                invite.short(),
                by.short()
            ),
            Self::InviteUsedUp {
                invite,
                by: Some(by),
            } => {
                write!(
                    f,
                    "the invite {} was used up by {}",
                    invite.short(),
                    by.short()
                )
            }
            Self::InviteUsedUp { invite, by: None } => {
                write!(f, "the invite {} allows no use", invite.short())
            }
            Self::NotInvited { invite } => {
                write!(f, "the invite {} is for somebody else", invite.short())
            }
            Self::NeedsCountersign { invite } => {
                write!(f, "the invite {} asks that an admin admits", invite.short())
            }
            Self::NeedsInvite { who } => {
                write!(f, "without an invite, by {who}, who was no admin")
            }
            Self::Barred { who, by } => write!(
                f,
                "{who} was removed in {}, and returns only by an admin's own admission or direct invite",
                by.short()
            ),
            Self::NotIssuer { invite } => write!(
                f,
                "only the issuer of {}, or a senior, closes it",
                invite.short()
            ),
            Self::WrongRecoveryKey => {
                f.write_str("not signed by the recovery key of the present owner's term")
            }
            Self::RivalSuccession { by } => {
                write!(f, "the succession {} counts instead", by.short())
            }
            Self::BadCheckpoint => f.write_str("it does not cover what it says"),
            Self::EpochNotDue => {
                f.write_str("no removal asked for a new epoch, and the author was no admin")
            }
            Self::UnknownEpoch { epoch } => write!(f, "there was no epoch {}", epoch.short()),
            Self::OnlyItself { verb, .. } => write!(f, "only the device itself {verb}"),
            Self::OnlyOwn { what } => {
                write!(f, "only the user itself or an admin sets its {what}")
            }
            Self::NamesUsedUp => write!(
                f,
                "its user has set {MAX_NAMES} names already; an admin sets further ones"
            ),
            Self::OutsideSubnet => f.write_str("the address is outside the network's subnet"),
            Self::Unreadable => f.write_str("its sealed part does not open"),
        }
    }
}

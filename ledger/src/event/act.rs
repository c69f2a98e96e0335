//! Acts: the clear part of an event, all that authority needs. The order of the variants and fields is the format.

use serde::{Deserialize, Serialize};

use crate::ids::{
    BoxKey, DeviceId, Digest, EpochId, EventId, InviteKey, NetworkId, RecoveryKey, UserId,
};
use crate::keys::Signature;

/// The most heads of a `cut`.
pub const MAX_CUT: usize = 16;
/// The most invites one removal closes.
pub const MAX_CLOSES: usize = 32;
/// The most key boxes in one event.
pub const MAX_BOXES: usize = 48;
/// The most former epochs a rotation follows.
pub const MAX_FOLLOWS: usize = 16;

/// What an event does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Founds a network; its hash is the network's id.
    Genesis(Genesis),
    /// Permission to join.
    Invite(Invite),
    /// Ends an invite; beats redemptions not in its past.
    InviteClose(InviteClose),
    /// Admits a user with a first device.
    Admit(Admit),
    /// A user's own further device.
    DeviceAdd(DeviceAdd),
    /// Makes a member an admin. The term of office is this event.
    Grant(Grant),
    /// Removes a user, a device, a term of office, or oneself.
    Remove(Remove),
    /// Ends an owner's term and installs a successor.
    OwnerSet(OwnerSet),
    /// Register writes, all of them sealed.
    Private,
    /// Begins an epoch.
    EpochRotate(EpochRotate),
    /// Hands an epoch's key to more devices.
    EpochKeys(EpochKeys),
    /// Seals the order of what it covers.
    Checkpoint(Checkpoint),
    /// Joins heads, and does nothing else.
    Merge,
}

/// Which act, without what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Genesis,
    Invite,
    InviteClose,
    Admit,
    DeviceAdd,
    Grant,
    Remove,
    OwnerSet,
    Private,
    EpochRotate,
    EpochKeys,
    Checkpoint,
    Merge,
}

impl Kind {
    /// A word for it, as the log shows it. What has attributes only is `private`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Invite => "invite",
            Self::InviteClose => "invite.close",
            Self::Admit => "admit",
            Self::DeviceAdd => "device.add",
            Self::Grant => "grant",
            Self::Remove => "remove",
            Self::OwnerSet => "owner.set",
            Self::Private => "private",
            Self::EpochRotate => "epoch.rotate",
            Self::EpochKeys => "epoch.keys",
            Self::Checkpoint => "checkpoint",
            Self::Merge => "merge",
        }
    }

    /// Whether such an act may bring keys of epochs.
    #[must_use]
    pub fn carries_keys(self) -> bool {
        matches!(self, Self::EpochRotate | Self::EpochKeys)
    }

    /// Whether such an act carries a certificate: it says that a device is a user's.
    #[must_use]
    pub fn certifies(self) -> bool {
        matches!(
            self,
            Self::Genesis | Self::Admit | Self::DeviceAdd | Self::OwnerSet
        )
    }
}

/// See [`Act::Genesis`]. Sealed: [`super::attributes::Founding`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The owner.
    pub owner: UserId,
    /// The owner's device, which is the author.
    pub device: DeviceId,
    /// Where epoch keys for that device are sealed to.
    pub box_key: BoxKey,
    /// The owner's word for the device.
    pub certificate: Signature,
    /// What ends the owner's term.
    pub recovery: RecoveryKey,
    /// The network's policy, for good.
    pub policy: Policy,
    /// Makes two networks with the same founder and name differ.
    pub nonce: [u8; 16],
}

/// What is settled when a network is founded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Whether an offered route or exit works without an admin's approval.
    pub free_routes: bool,
}

/// Whom an invite is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InviteKind {
    /// Whoever holds the ticket.
    Bearer,
    /// One user, who signs instead of the invite key.
    Direct(UserId),
    /// Whoever asks, through a public listing.
    Open,
}

/// See [`Act::Invite`]. Sealed: [`super::attributes::Invitation`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The public half of the ticket's key.
    pub key: InviteKey,
    /// Whom it is for.
    pub kind: InviteKind,
    /// How many users it admits.
    pub max_uses: u32,
    /// When it ends, milliseconds since 1970, judged by the admitting member's `at`.
    pub expires: u64,
    /// Whether an admin's device must admit.
    pub countersign: bool,
}

/// See [`Act::InviteClose`]. Nothing is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteClose {
    /// The invite event.
    pub invite: EventId,
}

/// See [`Act::Admit`]. Sealed: [`super::attributes::Joining`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admit {
    /// The joiner.
    pub user: UserId,
    /// The joiner's device.
    pub device: DeviceId,
    /// Where epoch keys for that device are sealed to.
    pub box_key: BoxKey,
    /// The joiner's word for the device.
    pub certificate: Signature,
    /// blake3(salt ‖ attributes), which the joiner signed.
    pub digest: Digest,
    /// The invite, with the joiner's signatures; an admin may admit without.
    pub redemption: Option<Redemption>,
    /// When the sponsor admitted, milliseconds since 1970 by its clock.
    pub at: u64,
}

/// A joiner's proof that it holds an invite and wants these keys admitted. Each signature covers
/// [`redemption_message`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// The invite event.
    pub invite: EventId,
    /// By the joiner's user key.
    pub by_user: Signature,
    /// By the joiner's device key.
    pub by_device: Signature,
    /// By the invite key. In a direct invite the named user's signature is enough, and this repeats it.
    pub by_invite: Signature,
}

/// What the three signatures of a redemption cover (under [`crate::keys::Domain::Redemption`]).
#[must_use]
pub fn redemption_message(
    network: &NetworkId,
    invite: &EventId,
    user: &UserId,
    device: &DeviceId,
    box_key: &BoxKey,
    certificate: &Signature,
    digest: &Digest,
) -> Vec<u8> {
    let mut message = Vec::with_capacity(32 * 6 + 64);
    for part in [&network.0, &invite.0, &user.0, &device.0, &box_key.0] {
        message.extend_from_slice(part);
    }
    message.extend_from_slice(&certificate.to_bytes());
    message.extend_from_slice(&digest.0);
    message
}

/// See [`Act::DeviceAdd`]. Sealed: [`super::attributes::Joining`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAdd {
    /// Whose device it is.
    pub user: UserId,
    /// The device, which is the author.
    pub device: DeviceId,
    /// Where epoch keys for it are sealed to.
    pub box_key: BoxKey,
    /// The user's word for it.
    pub certificate: Signature,
}

/// See [`Act::Grant`]. Nothing is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The member who becomes an admin.
    pub user: UserId,
}

/// What a removal removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A user with all devices: a kick, or, by oneself, a leave.
    User(UserId),
    /// One device.
    Device(DeviceId),
    /// A term of office: the user stays a member.
    Term {
        /// The admin.
        user: UserId,
        /// The grant that began the term.
        grant: EventId,
    },
}

/// See [`Act::Remove`]. Sealed: [`super::attributes::Reason`], or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    /// What goes.
    pub target: Target,
    /// If there is one: what of the target's acts still counts is what lies in the past of these heads (or is one of
    /// them), instead of the removal's own past.
    pub cut: Option<Vec<EventId>>,
    /// Invites that end with it.
    pub closes: Vec<EventId>,
    /// A user's signature that removes a device of its own, from whichever device: over [`own_device_message`].
    pub by_user: Option<Signature>,
}

/// What a user signs to remove a device of its own (under [`crate::keys::Domain::OwnDevice`]).
#[must_use]
pub fn own_device_message(
    network: &NetworkId,
    device: &DeviceId,
    cut: Option<&[EventId]>,
) -> Vec<u8> {
    let mut message = Vec::with_capacity(65 + 32 * MAX_CUT);
    message.extend_from_slice(&network.0);
    message.extend_from_slice(&device.0);
    message.push(u8::from(cut.is_some()));
    for head in cut.unwrap_or_default() {
        message.extend_from_slice(&head.0);
    }
    message
}

/// See [`Act::OwnerSet`]. Nothing is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerSet {
    /// The next owner.
    pub successor: UserId,
    /// A device of it.
    pub device: DeviceId,
    /// Where epoch keys for that device are sealed to.
    pub box_key: BoxKey,
    /// Its word for the device.
    pub certificate: Signature,
    /// What ends the successor's term one day.
    pub recovery: RecoveryKey,
    /// The present owner's acts that still count lie in the past of these heads.
    pub cut: Vec<EventId>,
    /// By the present term's recovery key, over [`succession_message`].
    pub by_recovery: Signature,
    /// By the successor's user key, over the same.
    pub by_successor: Signature,
}

/// What both signatures of a succession cover (under [`crate::keys::Domain::Succession`]).
#[must_use]
pub fn succession_message(network: &NetworkId, act: &OwnerSet) -> Vec<u8> {
    let mut message = Vec::with_capacity(32 * 5 + 64 + 32 * MAX_CUT);
    for part in [
        &network.0,
        &act.successor.0,
        &act.device.0,
        &act.box_key.0,
        &act.recovery.0,
    ] {
        message.extend_from_slice(part);
    }
    message.extend_from_slice(&act.certificate.to_bytes());
    for head in &act.cut {
        message.extend_from_slice(&head.0);
    }
    message
}

/// A key sealed to one device: `ciphertext` under a key of (ephemeral X25519, that device's box key).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBox {
    /// The first eight bytes of the device's box key.
    pub to: [u8; 8],
    /// 32 bytes of key and 16 of tag.
    pub ciphertext: SealedKey,
}

/// 32 bytes of key, encrypted, and a 16-byte tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey(pub [u8; 32], pub [u8; 16]);

/// See [`Act::EpochRotate`]. Nothing else is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRotate {
    /// The new epoch, which commits to its key.
    pub epoch: EpochId,
    /// Former epochs, their keys sealed under the new one.
    pub follows: Vec<(EpochId, SealedKey)>,
    /// The ephemeral X25519 key of the boxes.
    pub ephemeral: BoxKey,
    /// The new key for each device.
    pub boxes: Vec<KeyBox>,
}

/// See [`Act::EpochKeys`]. Nothing else is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochKeys {
    /// The epoch.
    pub epoch: EpochId,
    /// The ephemeral X25519 key of the boxes.
    pub ephemeral: BoxKey,
    /// The key for each device.
    pub boxes: Vec<KeyBox>,
}

/// See [`Act::Checkpoint`]. Nothing is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What it covers: these and their past.
    pub heads: Vec<EventId>,
    /// The hash of the authority fold of that.
    pub authority: Digest,
    /// The hash of the state fold of that.
    pub state: Digest,
    /// How many events that is.
    pub count: u64,
}

impl Act {
    /// Every word that [`Self::kind`] has.
    pub const KINDS: [&str; 13] = [
        "genesis",
        "invite",
        "invite.close",
        "admit",
        "device.add",
        "grant",
        "remove",
        "owner.set",
        "private",
        "epoch.rotate",
        "epoch.keys",
        "checkpoint",
        "merge",
    ];

    /// Which act it is.
    #[must_use]
    pub fn variant(&self) -> Kind {
        match self {
            Self::Genesis(_) => Kind::Genesis,
            Self::Invite(_) => Kind::Invite,
            Self::InviteClose(_) => Kind::InviteClose,
            Self::Admit(_) => Kind::Admit,
            Self::DeviceAdd(_) => Kind::DeviceAdd,
            Self::Grant(_) => Kind::Grant,
            Self::Remove(_) => Kind::Remove,
            Self::OwnerSet(_) => Kind::OwnerSet,
            Self::Private => Kind::Private,
            Self::EpochRotate(_) => Kind::EpochRotate,
            Self::EpochKeys(_) => Kind::EpochKeys,
            Self::Checkpoint(_) => Kind::Checkpoint,
            Self::Merge => Kind::Merge,
        }
    }

    /// A word for the kind, as the log shows it. What has attributes only is `private`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.variant().word()
    }

    /// Whether such an event has sealed attributes: always, never, or (`None`) as it likes.
    #[must_use]
    pub fn has_attributes(&self) -> Option<bool> {
        match self {
            Self::Genesis(_)
            | Self::Invite(_)
            | Self::Admit(_)
            | Self::DeviceAdd(_)
            | Self::Private => Some(true),
            Self::Remove(_) => None,
            _ => Some(false),
        }
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Encoding into memory cannot fail: no type here has a serializer that does.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Decodes, and refuses trailing bytes, lists that are too long, and encodings that are not the one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (act, rest) = postcard::take_from_bytes::<Self>(bytes).ok()?;
        (rest.is_empty() && act.bounded() && act.encode() == bytes).then_some(act)
    }

    fn bounded(&self) -> bool {
        match self {
            Self::Remove(act) => {
                act.cut.as_ref().is_none_or(|cut| ascending(cut, MAX_CUT))
                    && ascending(&act.closes, MAX_CLOSES)
            }
            Self::OwnerSet(act) => ascending(&act.cut, MAX_CUT),
            Self::EpochRotate(act) => {
                act.boxes.len() <= MAX_BOXES && act.follows.len() <= MAX_FOLLOWS
            }
            Self::EpochKeys(act) => act.boxes.len() <= MAX_BOXES,
            Self::Checkpoint(act) => ascending(&act.heads, MAX_CUT),
            _ => true,
        }
    }
}

fn ascending(ids: &[EventId], most: usize) -> bool {
    ids.len() <= most && ids.is_sorted_by(|a, b| a < b)
}

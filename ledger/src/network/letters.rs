//! Redemptions that came sealed, by a server or in a file, for whichever member reads them first.

use zeroize::Zeroizing;

use super::Ledger;
use super::redeem::Request;
use crate::ids::{DeviceId, EventId, InviteKey};
use crate::mirror::letter::{BadLetter, Way, open};
use crate::store::Store;

/// A redemption that this device could open.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The invite it names.
    pub invite: EventId,
    /// The secret under which the answer is to be sealed.
    pub contact: Zeroizing<[u8; 32]>,
    /// What it says. Nothing of it is judged yet.
    pub request: Request,
}

impl<S: Store> Ledger<S> {
    /// Opens a redemption with the contact secret of the invite whose key it names.
    ///
    /// # Errors
    /// [`BadLetter`] if no invite known here opens it.
    pub fn open_redemption(
        &self,
        joiner: &DeviceId,
        invite: &InviteKey,
        body: &[u8],
    ) -> Result<Opened, BadLetter> {
        let invites = self.state().invites.iter();
        let (id, invite) = invites
            .filter(|(_, issued)| issued.key == *invite)
            .min_by_key(|(_, issued)| issued.closed.is_some())
            .ok_or(BadLetter::Closed)?;
        let contact = Zeroizing::new(invite.contact);
        let opened = open(&contact, &self.network, joiner, Way::Redemption, body)?;
        Ok(Opened {
            invite: *id,
            contact,
            request: Request::decode(&opened).ok_or(BadLetter::Closed)?,
        })
    }
}

//! Acts by which a device and a user name each other, by device.

use super::*;

impl Graph {
    /// The users whose a device said it is, with the acts that both signed and whose signatures hold.
    pub(crate) fn mutual(&self, device: &DeviceId) -> impl Iterator<Item = (UserId, &[Idx])> {
        let all = (*device, UserId([0; 32]))..=(*device, UserId([0xff; 32]));
        let pairs = self.mutual.range(all);
        pairs.map(|((_, user), acts)| (*user, acts.as_slice()))
    }

    /// The acts by which a device said that it is this user's.
    pub(crate) fn mutual_of(&self, device: &DeviceId, user: &UserId) -> &[Idx] {
        let acts = self.mutual.get(&(*device, *user));
        acts.map(SmallVec::as_slice).unwrap_or_default()
    }

    pub(super) fn note_mutual(&mut self, idx: Idx, device: DeviceId, user: UserId) {
        if self.proof(idx) != Proof::Holds {
            return;
        }
        let last = self.mutual_of(&device, &user).last();
        if last.is_none_or(|last| !self.precedes(*last, idx)) {
            self.mutual.entry((device, user)).or_default().push(idx);
        }
    }

    pub(super) fn forget_mutual(&mut self, idx: Idx) {
        let Some((user, device)) = mutual(self.event(idx).act()) else {
            return;
        };
        if let Some(acts) = self.mutual.get_mut(&(device, user)) {
            if acts.last() == Some(&idx) {
                acts.pop();
            }
            if acts.is_empty() {
                self.mutual.remove(&(device, user));
            }
        }
    }
}

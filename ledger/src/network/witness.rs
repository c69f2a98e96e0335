//! Witnessing a succession: what decides between rivals is what members have seen (`authority::succession`).

use super::Ledger;
use crate::authority::Seniority;
use crate::ids::DeviceId;
use crate::store::Store;

impl<S: Store> Ledger<S> {
    /// Returns whether a succession made the present owner, and no event of a member's device shows yet that it has seen it. Its
    /// daemon then writes an empty `merge`. It reads the places of the events behind the device's last one.
    #[must_use]
    pub fn is_witness_wanted(&self, device: &DeviceId) -> bool {
        let authority = &self.fold().authority;
        let Some(live) = authority.devices.get(device) else {
            return false;
        };
        let began = authority.terms.iter().find(|(_, term)| {
            term.holder == authority.owner
                && term.ended.is_none()
                && matches!(term.rank, Seniority::Owner(_))
        });
        let Some(start) = began.and_then(|(event, _)| self.graph().find(event)) else {
            return false;
        };
        // The genesis has no rivals, and the new owner's word counts for little.
        if start.0 == 0 || live.user == authority.owner {
            return false;
        }
        let graph = self.graph();
        let mut back = graph.indices().rev();
        let last = back.find(|idx| graph.author(*idx) == *device);
        last.is_none_or(|last| last != start && !graph.precedes(start, last))
    }
}

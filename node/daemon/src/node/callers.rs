//! Callers: which devices may dial this one, and by which names it dials others.

use mesh_core::callers::Expected;
use mesh_core::peer::PeerId;
use mesh_ledger::alpn::Name;

use super::{Net, Node};
use crate::clock::now_ms;

const HOUR: u64 = 3_600_000;

impl Node {
    /// Tells the endpoint which callers are expected now. A removed device is a stranger from here on.
    pub(crate) fn expect_callers(&mut self) {
        let now = now_ms();
        let mut expected = Expected::default();
        let nets = self.nets.values_mut();
        for net in nets.filter(|net| net.is_up() || net.awaits_return()) {
            net.callers
                .follow(&net.ledger, &self.me, &self.identity.boxes, now);
            expected.add(&net.callers);
        }
        if let Some(mailbox) = self.sharing.as_ref().and_then(|code| code.mailbox(now)) {
            expected.add_code(mailbox, &self.me, now);
        }
        self.callers_hour = now / HOUR;
        self.endpoint.set_expected(expected);
    }

    /// The same once an hour, for the names change.
    pub(crate) fn expect_callers_hourly(&mut self) {
        if self.callers_hour != now_ms() / HOUR {
            self.expect_callers();
        }
    }
}

impl Net {
    /// Returns by which names to dial a peer. One that was never linked, or that did not answer the last time, may not have heard of
    /// this device, or may have another clock.
    pub(crate) fn names_for(&self, peer: &PeerId) -> Vec<Name> {
        let device = mesh_core::desired::device_id(peer);
        let stranger =
            self.unanswered.contains(peer) || self.settings.seen(&device.to_string()).is_none();
        self.callers.names_for(&self.me, peer, stranger, now_ms())
    }
}

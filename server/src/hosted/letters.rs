//! Letters left and answered.

use mesh_ledger::ids::DeviceId;
use mesh_ledger::mirror::Response;
use mesh_ledger::mirror::letter::Letter;
use mesh_ledger::mirror::message::{Failure, Standing};
use tracing::warn;

use super::{Inner, Networks, Visitor, is_live};
use crate::mailbox::{Room, Waiting};
use crate::rights;

impl Networks {
    pub(super) fn leave(
        &self,
        inner: &mut Inner,
        visitor: &Visitor,
        body: Vec<u8>,
    ) -> Result<Response, Failure> {
        let (now, limits) = (self.now(), &self.terms.limits);
        let invite = visitor.invite.ok_or(Failure::NotPermitted)?;
        let live = inner
            .log
            .authority()
            .and_then(|authority| rights::invite(authority, &invite, now))
            .is_some_and(|(_, live)| live);
        if !live {
            return Err(Failure::NotPermitted);
        }
        inner.mailbox.expire(now, limits);
        let there = inner
            .mailbox
            .may_leave(&visitor.device, &invite, &body, limits)?;
        if let Some(id) = there {
            return Ok(Response::Left(id));
        }
        let letter = Letter {
            id: 0,
            from: visitor.device,
            invite,
            body,
        };
        let waiting = Waiting {
            letter,
            to: None,
            at: now,
        };
        self.store_letter(inner, visitor, waiting, &[])
    }

    pub(super) fn reply(
        &self,
        inner: &mut Inner,
        visitor: &Visitor,
        letter: u64,
        body: Vec<u8>,
    ) -> Result<Response, Failure> {
        let limits = &self.terms.limits;
        if !is_live(inner, visitor) {
            return Err(Failure::NotPermitted);
        }
        let answered = inner.mailbox.may_reply(letter, &body)?;
        let joiner = answered.from;
        let waiting = Waiting {
            to: Some(joiner),
            letter: Letter {
                id: 0,
                from: visitor.device,
                invite: answered.invite,
                body,
            },
            at: self.now(),
        };
        let authority = inner.log.authority();
        let user = |device: &DeviceId| Some(authority?.devices.get(device)?.user);
        let own = |device: &DeviceId| {
            *device == visitor.device
                || user(device).is_some_and(|other| Some(other) == user(&visitor.device))
        };
        // Only who holds the invite's secret can open a reply, so the server cannot tell one from garbage. The letter stays
        // until the joiner shows that it has its answer.
        match inner.mailbox.may_answer(&waiting, own, limits)? {
            Room::Same(id) => Ok(Response::Left(id)),
            Room::Instead(older) => self.store_letter(inner, visitor, waiting, &older),
        }
    }

    /// A joiner opens as a member: it has its answer, and nobody needs to answer its letters any more.
    pub(super) fn has_its_answer(&self, inner: &mut Inner, device: &DeviceId) {
        let answered = inner.mailbox.left_by(device);
        if answered.is_empty() {
            return;
        }
        match self.store.remove_letters(&answered) {
            Ok(()) => answered.iter().for_each(|id| inner.mailbox.remove(*id)),
            // They end by themselves.
            Err(error) => warn!("cannot remove letters that were answered: {error}"),
        }
    }

    fn store_letter(
        &self,
        inner: &mut Inner,
        visitor: &Visitor,
        mut waiting: Waiting,
        needless: &[u64],
    ) -> Result<Response, Failure> {
        let network = visitor.network();
        let id = self
            .store
            .add_letter(&network, &waiting, needless)
            .map_err(|error| {
                warn!("cannot store a letter: {error}");
                Failure::Disk
            })?;
        waiting.letter.id = id;
        inner.mailbox.add(waiting);
        for letter in needless {
            inner.mailbox.remove(*letter);
        }
        visitor.hosted.changed();
        Ok(Response::Left(id))
    }
}

/// The letters that a session has not been handed yet.
pub(super) fn next(inner: &Inner, visitor: &mut Visitor) -> Option<Vec<Letter>> {
    let letters = match (&visitor.standing, &visitor.invite) {
        (Standing::Live, _) => inner.mailbox.for_members(visitor.letter),
        (Standing::Joiner { .. }, Some(invite)) => {
            inner
                .mailbox
                .for_joiner(&visitor.device, invite, visitor.letter)
        }
        _ => Vec::new(),
    };
    visitor.letter = letters.last()?.id;
    Some(letters)
}

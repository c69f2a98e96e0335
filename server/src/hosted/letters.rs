//! Letters left and answered.

use mesh_ledger::mirror::Response;
use mesh_ledger::mirror::letter::Letter;
use mesh_ledger::mirror::message::{Failure, Standing};
use tracing::warn;

use super::{Inner, Networks, Visitor, is_live};
use crate::mailbox::Waiting;
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
        let waiting = Waiting {
            to: Some(answered.from),
            letter: Letter {
                id: 0,
                from: visitor.device,
                invite: answered.invite,
                body,
            },
            at: self.now(),
        };
        let mut needless = inner.mailbox.answered(&waiting, limits);
        needless.push(letter);
        self.store_letter(inner, visitor, waiting, &needless)
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

//! Letters that wait in one network: joiners' redemptions for its members, members' replies for joiners.
//!
//! What they say is sealed for who holds the invite's secret, so a server cannot tell a reply from garbage. A redemption therefore
//! waits until the joiner has come as a member, which it does when it has its answer, or until its time is over. Each user has room
//! for some replies, of which the newest stay, and takes no other user's.

use std::collections::BTreeMap;

use mesh_ledger::ids::{DeviceId, InviteKey};
use mesh_ledger::mirror::letter::{Letter, MAX_LETTER};
use mesh_ledger::mirror::message::{Failure, MAX_LETTERS};

use crate::quota::Limits;

/// A letter, for whom it is, and since when it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The letter.
    pub letter: Letter,
    /// The joiner it is for; none if it is for the members.
    pub to: Option<DeviceId>,
    /// Milliseconds since 1970.
    pub at: u64,
}

/// Where a reply goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    /// The very same waits already, under this number.
    Same(u64),
    /// In place of these older ones of the same user.
    Instead(Vec<u64>),
}

/// The letters of one network, by number.
#[derive(Debug, Default)]
pub struct Mailbox {
    letters: BTreeMap<u64, Waiting>,
}

impl Mailbox {
    /// A mailbox with what was kept.
    #[must_use]
    pub fn new(letters: impl IntoIterator<Item = Waiting>) -> Self {
        Self {
            letters: letters
                .into_iter()
                .map(|waiting| (waiting.letter.id, waiting))
                .collect(),
        }
    }

    /// How many letters wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Whether a joiner may leave a letter; its number if the very same waits already.
    ///
    /// # Errors
    /// [`Failure::Quota`] if too many wait, [`Failure::NotPermitted`] if it is too long.
    pub fn may_leave(
        &self,
        from: &DeviceId,
        invite: &InviteKey,
        body: &[u8],
        limits: &Limits,
    ) -> Result<Option<u64>, Failure> {
        if body.is_empty() || body.len() > MAX_LETTER {
            return Err(Failure::NotPermitted);
        }
        let (mut all, mut of_invite, mut of_joiner) = (0, 0, 0);
        let redemptions = self.letters.values().filter(|waiting| waiting.to.is_none());
        for waiting in redemptions {
            all += 1;
            if waiting.letter.invite != *invite {
                continue;
            }
            of_invite += 1;
            if waiting.letter.from == *from {
                of_joiner += 1;
                if waiting.letter.body == body {
                    return Ok(Some(waiting.letter.id));
                }
            }
        }
        if all >= limits.letters
            || of_invite >= limits.letters_per_invite
            || of_joiner >= limits.letters_per_joiner
        {
            return Err(Failure::Quota);
        }
        Ok(None)
    }

    /// The redemption that a member wants to reply to.
    ///
    /// # Errors
    /// [`Failure::NotFound`] if it does not wait any more, [`Failure::NotPermitted`] if the reply is too long.
    pub fn may_reply(&self, letter: u64, body: &[u8]) -> Result<&Letter, Failure> {
        if body.is_empty() || body.len() > MAX_LETTER {
            return Err(Failure::NotPermitted);
        }
        self.letters
            .get(&letter)
            .filter(|waiting| waiting.to.is_none())
            .map(|waiting| &waiting.letter)
            .ok_or(Failure::NotFound)
    }

    /// Where a reply goes; `own` tells which devices are of the user who replies.
    ///
    /// # Errors
    /// [`Failure::Quota`] if too many others have replied already.
    pub fn may_answer(
        &self,
        reply: &Waiting,
        own: impl Fn(&DeviceId) -> bool,
        limits: &Limits,
    ) -> Result<Room, Failure> {
        let (mut of_user, mut all, mut of_joiner) = (Vec::new(), 0, 0);
        for (id, waiting) in &self.letters {
            if waiting.to.is_none() {
                continue;
            }
            all += 1;
            if waiting.to != reply.to || waiting.letter.invite != reply.letter.invite {
                continue;
            }
            of_joiner += 1;
            if own(&waiting.letter.from) {
                if waiting.letter.body == reply.letter.body {
                    return Ok(Room::Same(*id));
                }
                of_user.push(*id);
            }
        }
        of_user.truncate((of_user.len() + 1).saturating_sub(limits.letters_per_joiner));
        let full = all >= limits.replies || of_joiner >= limits.replies_per_joiner;
        if of_user.is_empty() && full {
            return Err(Failure::Quota);
        }
        Ok(Room::Instead(of_user))
    }

    /// The redemptions that a joiner left.
    #[must_use]
    pub fn left_by(&self, joiner: &DeviceId) -> Vec<u64> {
        let left = |waiting: &&Waiting| waiting.to.is_none() && waiting.letter.from == *joiner;
        let letters = self.letters.values().filter(left);
        letters.map(|waiting| waiting.letter.id).collect()
    }

    /// A letter was stored.
    pub fn add(&mut self, waiting: Waiting) {
        self.letters.insert(waiting.letter.id, waiting);
    }

    /// A letter is done with.
    pub fn remove(&mut self, letter: u64) {
        self.letters.remove(&letter);
    }

    /// Forgets what waits for too long; returns whether there was something.
    pub fn expire(&mut self, now: u64, limits: &Limits) -> bool {
        let before = self.letters.len();
        // One from the future was stored before the clock jumped back; it has its whole time from now on.
        self.letters
            .retain(|_, waiting| now.saturating_sub(waiting.at) < limits.letter_age);
        self.letters.len() < before
    }

    /// The redemptions with numbers after this one, as many as go into a message.
    #[must_use]
    pub fn for_members(&self, after: u64) -> Vec<Letter> {
        self.select(after, |waiting| waiting.to.is_none())
    }

    /// The replies to this joiner under this invite with numbers after this one, as many as go into a message.
    #[must_use]
    pub fn for_joiner(&self, joiner: &DeviceId, invite: &InviteKey, after: u64) -> Vec<Letter> {
        self.select(after, |waiting| {
            waiting.to.as_ref() == Some(joiner) && waiting.letter.invite == *invite
        })
    }

    fn select(&self, after: u64, wanted: impl Fn(&Waiting) -> bool) -> Vec<Letter> {
        self.letters
            .range(after.saturating_add(1)..)
            .map(|(_, waiting)| waiting)
            .filter(|waiting| wanted(waiting))
            .take(MAX_LETTERS)
            .map(|waiting| waiting.letter.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn waiting(id: u64, from: u8, to: Option<u8>) -> Waiting {
        Waiting {
            letter: Letter {
                id,
                from: DeviceId([from; 32]),
                invite: InviteKey([1; 32]),
                body: id.to_be_bytes().to_vec(),
            },
            to: to.map(|to| DeviceId([to; 32])),
            at: 1000,
        }
    }

    #[test]
    fn a_joiner_leaves_two_letters_and_the_same_one_again_is_no_third() {
        let limits = Limits::default();
        let (joiner, invite) = (DeviceId([5; 32]), InviteKey([1; 32]));
        let mailbox = Mailbox::new([waiting(1, 5, None), waiting(2, 5, None)]);
        let leave = |from: &DeviceId, body: &[u8]| mailbox.may_leave(from, &invite, body, &limits);
        assert_eq!(leave(&joiner, b"third"), Err(Failure::Quota));
        assert_eq!(leave(&joiner, &2u64.to_be_bytes()), Ok(Some(2)));
        assert_eq!(leave(&DeviceId([6; 32]), b"first"), Ok(None));
        assert!(leave(&DeviceId([6; 32]), &[0; MAX_LETTER + 1]).is_err());
        assert!(leave(&DeviceId([6; 32]), &[]).is_err());
    }

    #[test]
    fn the_holders_of_one_invite_cannot_fill_the_mailbox() {
        let limits = Limits {
            letters_per_invite: 3,
            ..Limits::default()
        };
        let mailbox = Mailbox::new((1..=3).map(|n| waiting(n, n as u8, None)));
        let from = DeviceId([9; 32]);
        let leave = |invite| mailbox.may_leave(&from, &InviteKey([invite; 32]), b"x", &limits);
        assert_eq!(leave(1), Err(Failure::Quota));
        assert_eq!(leave(2), Ok(None));
    }

    #[test]
    fn each_reads_only_what_is_for_them() {
        let mailbox = Mailbox::new([
            waiting(1, 5, None),
            waiting(2, 8, Some(5)),
            waiting(3, 8, Some(6)),
        ]);
        let ids = |letters: Vec<Letter>| letters.iter().map(|l| l.id).collect::<Vec<_>>();
        let invite = InviteKey([1; 32]);
        assert_eq!(ids(mailbox.for_members(0)), [1]);
        assert_eq!(ids(mailbox.for_members(1)), [0; 0]);
        let joiner = DeviceId([5; 32]);
        assert_eq!(ids(mailbox.for_joiner(&joiner, &invite, 0)), [2]);
        let other = InviteKey([2; 32]);
        assert_eq!(ids(mailbox.for_joiner(&joiner, &other, 0)), [0; 0]);
        assert_eq!(mailbox.may_reply(2, b"x"), Err(Failure::NotFound));
        assert_eq!(mailbox.may_reply(9, b"x"), Err(Failure::NotFound));
        assert!(mailbox.may_reply(1, b"x").is_ok());
    }

    #[test]
    fn of_many_replies_of_one_user_the_newest_stay_and_no_other_users_goes() {
        let limits = Limits {
            replies_per_joiner: 4,
            ..Limits::default()
        };
        let mailbox = Mailbox::new([
            waiting(1, 8, Some(5)),
            waiting(2, 8, Some(5)),
            waiting(3, 8, Some(6)),
            waiting(4, 5, None),
            waiting(5, 7, Some(5)),
            waiting(6, 9, Some(5)),
        ]);
        let answer = |from: u8, to: u8| {
            let own = |device: &DeviceId| *device == DeviceId([from; 32]);
            mailbox.may_answer(&waiting(0, from, Some(to)), own, &limits)
        };
        assert_eq!(answer(8, 5), Ok(Room::Instead(vec![1])));
        assert_eq!(answer(8, 6), Ok(Room::Instead(Vec::new())));
        // The joiner's room is full, for who has none of it.
        assert_eq!(answer(4, 5), Err(Failure::Quota));
        assert_eq!(answer(7, 5), Err(Failure::Quota));
        let again = Waiting {
            letter: waiting(2, 8, None).letter,
            ..waiting(0, 8, Some(5))
        };
        let own = |device: &DeviceId| *device == DeviceId([8; 32]);
        assert_eq!(mailbox.may_answer(&again, own, &limits), Ok(Room::Same(2)));
    }

    #[test]
    fn letters_expire() {
        let limits = Limits::default();
        let mut mailbox = Mailbox::new([waiting(1, 5, None)]);
        assert!(!mailbox.expire(1000 + limits.letter_age - 1, &limits));
        assert!(!mailbox.expire(0, &limits));
        assert!(mailbox.expire(1000 + limits.letter_age, &limits));
        assert!(mailbox.is_empty());
    }
}

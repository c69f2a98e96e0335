//! What people do: one method per kind of event, each signed by who does it on top of what a side has seen.

use super::*;

impl World {
    pub fn merge(&mut self, side: &mut Side, who: &Person) -> EventId {
        self.sign(side, &who.device, Act::Merge, None, 0)
    }

    pub fn invite(&mut self, side: &mut Side, who: &Person, uses: u32) -> Ticket {
        self.invite_as(side, who, InviteKind::Bearer, uses, LATE, false, &[])
    }

    #[allow(clippy::too_many_arguments)]
    pub fn invite_as(
        &mut self,
        side: &mut Side,
        who: &Person,
        kind: InviteKind,
        max_uses: u32,
        expires: u64,
        countersign: bool,
        tags: &[&str],
    ) -> Ticket {
        self.invites += 1;
        let key = InviteSecret::from_seed(blake3::hash(&self.invites.to_be_bytes()).as_bytes());
        let act = Act::Invite(Invite {
            key: key.public(),
            kind,
            max_uses,
            expires,
            countersign,
        });
        let attributes = Attributes::Invitation(Invitation {
            contact: [3; 32],
            note: None,
            tags: tags.iter().map(|tag| label(tag)).collect(),
        });
        let invite = self.sign(side, &who.device, act, Some(attributes), 0);
        Ticket { invite, key }
    }

    pub fn close(&mut self, side: &mut Side, who: &Person, ticket: &Ticket) -> EventId {
        let act = Act::InviteClose(InviteClose {
            invite: ticket.invite,
        });
        self.sign(side, &who.device, act, None, 0)
    }

    pub fn redemption(&self, joiner: &Person, ticket: &Ticket, digest: Digest) -> Redemption {
        let message = redemption_message(
            &self.network,
            &ticket.invite,
            &joiner.id(),
            &joiner.device_id(),
            &joiner.box_key(),
            &joiner.user.certify(&joiner.device_id()),
            &digest,
        );
        Redemption {
            invite: ticket.invite,
            by_user: joiner.user.sign(Domain::Redemption, &message),
            by_device: joiner.device.sign(Domain::Redemption, &message),
            by_invite: ticket.key.sign(Domain::Redemption, &message),
        }
    }

    pub fn admit_act(
        &self,
        joiner: &Person,
        joining: &Joining,
        ticket: Option<&Ticket>,
        at: u64,
    ) -> Admit {
        let digest = joining.digest();
        Admit {
            user: joiner.id(),
            device: joiner.device_id(),
            box_key: joiner.box_key(),
            certificate: joiner.user.certify(&joiner.device_id()),
            digest,
            redemption: ticket.map(|ticket| self.redemption(joiner, ticket, digest)),
            at,
        }
    }

    pub fn admit(
        &mut self,
        side: &mut Side,
        sponsor: &Person,
        joiner: &Person,
        ticket: Option<&Ticket>,
    ) -> EventId {
        self.admit_at(side, sponsor, joiner, ticket, 0)
    }

    pub fn admit_at(
        &mut self,
        side: &mut Side,
        sponsor: &Person,
        joiner: &Person,
        ticket: Option<&Ticket>,
        at: u64,
    ) -> EventId {
        self.admit_with(side, sponsor, joiner, ticket, at, joiner.joining())
    }

    pub fn admit_with(
        &mut self,
        side: &mut Side,
        sponsor: &Person,
        joiner: &Person,
        ticket: Option<&Ticket>,
        at: u64,
        joining: Joining,
    ) -> EventId {
        let act = Act::Admit(self.admit_act(joiner, &joining, ticket, at));
        self.sign(
            side,
            &sponsor.device,
            act,
            Some(Attributes::Joining(joining)),
            at,
        )
    }

    /// A person invited and admitted by `sponsor`, an admin.
    pub fn newcomer(&mut self, side: &mut Side, sponsor: &Person, name: &str) -> Person {
        let person = Person::new(name);
        let ticket = self.invite(side, sponsor, 1);
        self.admit(side, sponsor, &person, Some(&ticket));
        person
    }

    pub fn add_device(&mut self, side: &mut Side, device: &Person) -> EventId {
        let act = Act::DeviceAdd(DeviceAdd {
            user: device.id(),
            device: device.device_id(),
            box_key: device.box_key(),
            certificate: device.user.certify(&device.device_id()),
        });
        let attributes = Attributes::Joining(device.joining());
        self.sign(side, &device.device, act, Some(attributes), 0)
    }

    pub fn grant(&mut self, side: &mut Side, who: &Person, to: &Person) -> EventId {
        let act = Act::Grant(Grant { user: to.id() });
        self.sign(side, &who.device, act, None, 0)
    }

    pub fn remove(
        &mut self,
        side: &mut Side,
        who: &Person,
        target: Target,
        cut: Option<&Side>,
        closes: &[EventId],
    ) -> EventId {
        let act = Act::Remove(Remove {
            target,
            cut: cut.map(|cut| cut.0.iter().copied().collect()),
            closes: closes
                .iter()
                .copied()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            by_user: None,
        });
        self.sign(side, &who.device, act, None, 0)
    }

    pub fn kick(&mut self, side: &mut Side, who: &Person, target: &Person) -> EventId {
        self.remove(side, who, Target::User(target.id()), None, &[])
    }

    pub fn revoke(
        &mut self,
        side: &mut Side,
        who: &Person,
        target: &Person,
        grant: EventId,
        since: Option<&Side>,
    ) -> EventId {
        let target = Target::Term {
            user: target.id(),
            grant,
        };
        self.remove(side, who, target, since, &[])
    }

    /// A removal of `device` by the key of its user, carried by `who`.
    pub fn remove_own(
        &mut self,
        side: &mut Side,
        who: &Person,
        device: &Person,
        cut: Option<&Side>,
    ) -> EventId {
        let cut: Option<Vec<EventId>> = cut.map(|cut| cut.0.iter().copied().collect());
        let message = own_device_message(&self.network, &device.device_id(), cut.as_deref());
        let act = Act::Remove(Remove {
            target: Target::Device(device.device_id()),
            cut,
            closes: Vec::new(),
            by_user: Some(device.user.sign(Domain::OwnDevice, &message)),
        });
        self.sign(side, &who.device, act, None, 0)
    }

    pub fn succession(
        &self,
        to: &Person,
        words: &RecoverySecret,
        next: &RecoverySecret,
        cut: &Side,
    ) -> OwnerSet {
        let none = Signature::from_bytes(&[0; 64]);
        let mut act = OwnerSet {
            successor: to.id(),
            device: to.device_id(),
            box_key: to.box_key(),
            certificate: to.user.certify(&to.device_id()),
            recovery: next.public(),
            cut: cut.0.iter().copied().collect(),
            by_recovery: none,
            by_successor: none,
        };
        let message = succession_message(&self.network, &act);
        act.by_recovery = words.sign(Domain::Succession, &message);
        act.by_successor = to.user.sign(Domain::Succession, &message);
        act
    }

    pub fn hand_over(
        &mut self,
        side: &mut Side,
        carrier: &Person,
        to: &Person,
        words: &RecoverySecret,
        next: &RecoverySecret,
        cut: &Side,
    ) -> EventId {
        let act = Act::OwnerSet(self.succession(to, words, next, cut));
        self.sign(side, &carrier.device, act, None, 0)
    }

    pub fn write(&mut self, side: &mut Side, who: &Person, writes: Vec<Write>) -> EventId {
        let attributes = Some(Attributes::Writes(writes));
        self.sign(side, &who.device, Act::Private, attributes, 0)
    }

    /// Offers a TCP port of `device` to everyone, signed by `who`.
    pub fn offer(&mut self, side: &mut Side, who: &Person, device: &Person, port: u16) -> EventId {
        let write = Write::Offer {
            device: device.device_id(),
            slot: 0,
            offer: Some(tcp(port, Audience::Everyone)),
        };
        self.write(side, who, vec![write])
    }

    pub fn rotate(&mut self, side: &mut Side, who: &Person, epoch: u8) -> EventId {
        let act = Act::EpochRotate(EpochRotate {
            epoch: EpochId([epoch; 32]),
            follows: Vec::new(),
            ephemeral: BoxKey([1; 32]),
            boxes: Vec::new(),
        });
        self.sign(side, &who.device, act, None, 0)
    }

    /// Boxes of an epoch's key, for nobody.
    pub fn hand_keys(&mut self, side: &mut Side, who: &Person, epoch: u8) -> EventId {
        let act = Act::EpochKeys(EpochKeys {
            epoch: EpochId([epoch; 32]),
            ephemeral: BoxKey([1; 32]),
            boxes: Vec::new(),
        });
        self.sign(side, &who.device, act, None, 0)
    }

    /// A checkpoint of all that a side has seen, which is so many events, with hashes that nobody checks.
    pub fn seal(&mut self, side: &mut Side, who: &Person, count: u64) -> EventId {
        let act = Act::Checkpoint(Checkpoint {
            heads: side.0.iter().copied().collect(),
            authority: Digest([0; 32]),
            state: Digest([0; 32]),
            count,
        });
        self.sign(side, &who.device, act, None, 0)
    }

    /// A checkpoint of all that a side has seen.
    pub fn checkpoint(&mut self, side: &mut Side, who: &Person, time: u64) -> EventId {
        let heads: Vec<EventId> = side.0.iter().copied().collect();
        let places: Vec<Idx> = heads.iter().map(|id| self.idx(*id)).collect();
        let count = self.graph.past_of(&places).total();
        let part = self.part(side).fold();
        let act = Act::Checkpoint(Checkpoint {
            heads,
            authority: part.authority.hash(),
            state: part.state.hash(),
            count,
        });
        self.sign(side, &who.device, act, None, time)
    }
}

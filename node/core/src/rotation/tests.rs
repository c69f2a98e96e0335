//! Who rotates when, and what a rotation is owed to.
#![allow(clippy::unwrap_used)]

use mesh_ledger::epoch;
use mesh_ledger::event::act::{Admit, Grant, Policy, Remove};
use mesh_ledger::event::attributes::Joining;
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::WgKey;
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::{FoundingArgs, Ledger};
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::store::memory::MemoryStore;

use super::*;

const NOW: u64 = 1_795_000_000_000;
const ALICE: u8 = 1;
const MALLORY: u8 = 2;
const TRENT: u8 = 3;

#[test]
fn who_removed_rotates_at_once_and_the_others_one_after_the_other() {
    let [a, b, c] = [1, 2, 3].map(|byte| DeviceId([byte; 32]));
    let authors = BTreeSet::from([b]);
    let devices = [c, b, a];
    assert_eq!(wait(&authors, &devices, &b), Duration::ZERO);
    assert_eq!(wait(&authors, &devices, &c), TURN);
    assert_eq!(wait(&authors, &devices, &a), TURN * 3);
    assert_eq!(wait(&authors, &devices, &DeviceId([9; 32])), TURN * 4);
}

#[test]
fn a_term_whose_end_undoes_an_admission_is_owed_a_rotation_until_one_knows_of_it() {
    let mut world = World::new();
    let grant = world.grant(MALLORY);
    let before = world.heads();
    world.admit(MALLORY, TRENT);
    assert!(world.owed().is_empty(), "nobody has fallen");
    let ending = world.revoke(grant, before);
    assert_eq!(world.owed(), [ending].into());
    // Read from nothing, as after a restart.
    assert_eq!(world.owed_anew(), [ending].into());
    world.rotate(&[ALICE, MALLORY]);
    assert!(world.owed().is_empty());
    assert!(world.owed_anew().is_empty());
    // Who was shut out once has no later key either, so a later end that undoes nothing asks for nothing.
    let grant = world.grant(MALLORY);
    let all = world.heads();
    world.revoke(grant, all);
    assert!(world.owed().is_empty());
}

#[test]
fn a_rotation_that_gave_the_fallen_a_box_shuts_nobody_out() {
    let mut world = World::new();
    let grant = world.grant(MALLORY);
    let before = world.heads();
    world.admit(MALLORY, TRENT);
    world.rotate(&[ALICE, MALLORY, TRENT]);
    let ending = world.revoke(grant, before);
    assert_eq!(world.owed(), [ending].into());
    world.rotate(&[ALICE, MALLORY]);
    assert!(world.owed().is_empty());
}

#[test]
fn a_term_that_ends_and_undoes_no_admission_asks_for_no_rotation() {
    let mut world = World::new();
    let grant = world.grant(MALLORY);
    world.admit(MALLORY, TRENT);
    let all = world.heads();
    world.revoke(grant, all);
    assert!(world.owed().is_empty());
}

/// A network that Alice founded and let Mallory into. Everybody's acts are written into one ledger.
struct World {
    ledger: Ledger<MemoryStore>,
    debts: Debts,
    epochs: u8,
}

impl World {
    fn new() -> Self {
        let args = FoundingArgs {
            name: "home".parse().unwrap(),
            subnet: "10.7.0.0/24".parse().unwrap(),
            policy: Policy::default(),
            user: &user(ALICE),
            device: &device(ALICE),
            box_secret: BoxSecret::from_seed(&[ALICE; 32]),
            host: "alice".parse().unwrap(),
            address: None,
            wireguard: WgKey([1; 32]),
            epoch: EpochKey::from_bytes([42; 32]),
            recovery: RecoveryWords::from_entropy([7; 32]),
            nonce: [1; 16],
            salt: [2; 16],
            now: NOW,
        };
        let (ledger, _) = Ledger::found(MemoryStore::new(), args).unwrap();
        let mut world = Self {
            ledger,
            debts: Debts::default(),
            epochs: 42,
        };
        world.admit(ALICE, MALLORY);
        world
    }

    fn author(&mut self, who: u8, act: Act, attributes: Option<Attributes>) -> EventId {
        let event = self.ledger.author(&device(who), act, attributes, NOW);
        event.unwrap().id()
    }

    fn admit(&mut self, by: u8, n: u8) {
        let joining = Joining {
            salt: [n; 16],
            host: format!("host-{n}").parse().unwrap(),
            address: None,
            wireguard: WgKey([n; 32]),
        };
        let act = Act::Admit(Admit {
            user: user(n).public(),
            device: device(n).public(),
            box_key: BoxSecret::from_seed(&[n; 32]).public(),
            certificate: user(n).certify(&device(n).public()),
            digest: joining.digest(),
            redemption: None,
            at: NOW,
        });
        self.author(by, act, Some(Attributes::Joining(joining)));
    }

    fn grant(&mut self, n: u8) -> EventId {
        let user = user(n).public();
        self.author(ALICE, Act::Grant(Grant { user }), None)
    }

    fn revoke(&mut self, grant: EventId, cut: Vec<EventId>) -> EventId {
        let act = Act::Remove(Remove {
            target: Target::Term {
                user: user(MALLORY).public(),
                grant,
            },
            cut: Some(cut),
            closes: Vec::new(),
            by_user: None,
        });
        self.author(ALICE, act, None)
    }

    fn rotate(&mut self, to: &[u8]) {
        self.epochs += 1;
        let new = EpochKey::from_bytes([self.epochs; 32]);
        let former = EpochKey::from_bytes([self.epochs - 1; 32]);
        let to: Vec<BoxKey> = to
            .iter()
            .map(|n| BoxSecret::from_seed(&[*n; 32]).public())
            .collect();
        let seeds = (0..).map(|n: u8| [n; 32]);
        let network = self.ledger.network();
        for act in epoch::rotate(&network, &new, &[former], &to, seeds) {
            self.author(ALICE, act, None);
        }
    }

    fn heads(&self) -> Vec<EventId> {
        self.ledger.heads()
    }

    fn owed(&mut self) -> BTreeSet<EventId> {
        self.debts.owed(self.ledger.graph(), self.ledger.fold())
    }

    fn owed_anew(&self) -> BTreeSet<EventId> {
        Debts::default().owed(self.ledger.graph(), self.ledger.fold())
    }
}

fn user(n: u8) -> UserSecret {
    UserSecret::from_seed(&[n; 32])
}

fn device(n: u8) -> DeviceSecret {
    DeviceSecret::from_seed(&[n + 100; 32])
}

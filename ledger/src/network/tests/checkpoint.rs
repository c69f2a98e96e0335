//! Checkpoints.

use super::*;

#[test]
fn a_checkpoint_seals_all_there_is_and_every_member_agrees_on_what_it_says() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    bob.rename("tower");
    sync(&mut alice, &mut bob);
    assert_eq!(alice.ledger().unsealed().events, 4);
    assert_eq!(alice.ledger().unsealed().since, NOW);
    let device = alice.device.clone();
    let (authority, state) = (alice.ledger().authority_hash(), alice.ledger().state_hash());
    let sealed = alice.ledger().checkpoint(&device, NOW + HOUR).unwrap();
    let Act::Checkpoint(act) = sealed.act() else {
        panic!("{sealed:?}")
    };
    assert_eq!((act.authority, act.state, act.count), (authority, state, 4));
    sync(&mut alice, &mut bob);
    same(&mut alice, &mut bob);
    for peer in [&mut alice, &mut bob] {
        let unsealed = peer.ledger().unsealed();
        assert_eq!((unsealed.events, unsealed.since), (0, NOW + HOUR));
    }
    bob.rename("cave");
    assert_eq!(bob.ledger().unsealed().events, 1);
}

#[test]
fn nobody_seals_what_it_cannot_read_and_no_member_seals_at_all() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let device = bob.device.clone();
    assert!(matches!(
        bob.ledger().checkpoint(&device, NOW),
        Err(AuthorError::Void(Reason::NotAdmin { .. }))
    ));
    sync(&mut alice, &mut bob);
    // Bob's events under a key of his own, as of an epoch that alice has not heard of.
    let secret = EpochKey::from_bytes([0x66; 32]);
    let header = |ledger: &Ledger<MemoryStore>| Header {
        network: ledger.network(),
        author: device.public(),
        seq: 2,
        lamport: 1 + ledger
            .graph()
            .indices()
            .map(|idx| ledger.graph().event(idx).header().lamport)
            .max()
            .unwrap(),
        time: NOW,
        epoch: EpochId::NONE,
        parents: ledger.heads(),
    };
    let write = Write::Host {
        device: device.public(),
        host: "tower".parse().unwrap(),
    };
    let mut header = header(bob.ledger());
    header.seq = 1 + bob.ledger().graph().by_author(&device.public()).count() as u32;
    let event = seal::sign(
        header,
        &Act::Private,
        Some((&Attributes::Writes(vec![write]), &secret)),
        &device,
    )
    .unwrap();
    let receipt = alice
        .ledger()
        .receive(
            Source::Sync(device.public()),
            &[event.bytes().to_vec()],
            NOW,
        )
        .unwrap();
    assert_eq!(receipt.added.len(), 1, "{receipt:?}");
    let mine = alice.device.clone();
    assert!(matches!(
        alice.ledger().checkpoint(&mine, NOW),
        Err(AuthorError::Unsettled)
    ));
    assert!(!alice.ledger().is_whole());
}

//! A member whose device says what no daemon would: it is refused, nobody else notices, and the link lives as long as what
//! comes over it are messages.

use std::net::SocketAddr;

use mesh_core::link::{Frame, Refusal};
use mesh_ledger::event::id_of;
use mesh_ledger::keys::Domain;
use mesh_ledger::parking::Parking;
use mesh_ledger::wire::Message;

use crate::flood::{MOST, count, peak};
use crate::tongue::{Chain, speak};
use crate::world::{LONG, Mesh, SOON, agree};

/// Where alice's daemon listens.
const ALICE: ([u8; 4], u16) = ([192, 168, 7, 1], 51820);
/// Where the lamport stands in an event's bytes.
const LAMPORT: usize = 1 + 32 + 32 + 4;
/// Where the number of parents stands.
const PARENTS: usize = LAMPORT + 4 + 8 + 32;
/// Where the parents begin.
const FIXED: usize = PARENTS + 1 + 2 + 2;

#[test]
fn a_member_who_says_what_no_daemon_would_is_refused_and_harms_nobody() {
    let mut mesh = Mesh::new("hostile", &["alice", "bob", "mallory"]);
    mesh.nodes[2].stop();
    let mut chain = Chain::of(&mesh.nodes[2]);
    let [alice, bob, mallory] = &mesh.nodes[..] else {
        unreachable!()
    };
    let before = count(alice);
    let at = SocketAddr::from(ALICE);

    speak(mallory, &mut chain, alice, at, async |tongue, chain| {
        // What every device may say.
        let honest = chain.grow();
        let (stored, _) = tongue.offer(&[honest.bytes().to_vec()]).await;
        assert_eq!(stored, [honest.id()]);

        let jumps = |seq: u32, lamport: u32| {
            let mut header = chain.header();
            header.seq += seq;
            header.lamport += lamport;
            chain.aside(&header)
        };
        let top = (1 << 31) - 1;
        let seq = jumps(5, 0);
        let bad = [
            seq.bytes().to_vec(),
            jumps(0, 1).bytes().to_vec(),
            jumps(0, top - chain.lamport() - 1).bytes().to_vec(),
            changed(chain, |bytes| {
                bytes[LAMPORT..LAMPORT + 4].copy_from_slice(&(1_u32 << 31).to_be_bytes());
            }),
            changed(chain, |bytes| {
                bytes[LAMPORT..LAMPORT + 4].copy_from_slice(&u32::MAX.to_be_bytes());
            }),
            // Without a parent, and yet no genesis.
            changed(chain, |bytes| {
                let parents = usize::from(bytes[PARENTS]);
                bytes[PARENTS] = 0;
                bytes.drain(FIXED..FIXED + 32 * parents);
            }),
            vec![0],
            vec![0xff; 4096],
        ];
        for one in &bad {
            let (stored, wanted) = tongue.offer(std::slice::from_ref(one)).await;
            assert_eq!((stored, wanted), (Vec::new(), Vec::new()));
        }
        // What follows a refused event comes to nothing, and the refused one is not asked for.
        let mut header = chain.header();
        header.parents = vec![seq.id()];
        (header.seq, header.lamport) = (seq.header().seq + 1, seq.header().lamport + 1);
        let child = chain.aside(&header);
        let (stored, wanted) = tongue.offer(&[child.bytes().to_vec()]).await;
        assert_eq!((stored, wanted), (Vec::new(), Vec::new()));

        // Events whose parents nobody has, more than may wait.
        let mut asked = Vec::new();
        for n in 0..2 * Parking::MAX_EVENTS / 64 {
            let orphans = (0..64).map(|m| {
                let mut header = chain.header();
                header.parents = vec![id_of(&[n.to_be_bytes(), usize::to_be_bytes(m)].concat())];
                header.lamport = 1_000_000;
                chain.aside(&header).bytes().to_vec()
            });
            let (stored, wanted) = tongue.offer(&orphans.collect::<Vec<_>>()).await;
            assert_eq!(stored, []);
            asked = wanted;
        }
        assert!(!asked.is_empty() && asked.len() <= Parking::MAX_EVENTS);

        // The link has lived through all that.
        let honest = chain.grow();
        let (stored, _) = tongue.offer(&[honest.bytes().to_vec()]).await;
        assert_eq!(stored, [honest.id()]);
    });

    // What is no message ends the link, with the reason: an event that is larger than any.
    speak(mallory, &mut chain, alice, at, async |tongue, _| {
        tongue.sync(&Message::Events(vec![vec![1; 100_000]])).await;
        let mut last = None;
        while let Some(frame) = tongue.hear().await {
            last = Some(frame);
        }
        assert_eq!(last, Some(Frame::Refused(Refusal::Protocol)));
    });
    // A frame that says it has a hundred megabytes ends it at its first four bytes.
    speak(mallory, &mut chain, alice, at, async |tongue, _| {
        tongue
            .send
            .write_all(&100_000_000_u32.to_be_bytes())
            .await
            .unwrap();
        while tongue.hear().await.is_some() {}
        tongue.connection.closed().await;
    });

    // And the next is as good as the first was.
    speak(mallory, &mut chain, alice, at, async |tongue, chain| {
        let honest = chain.grow();
        let (stored, _) = tongue.offer(&[honest.bytes().to_vec()]).await;
        assert_eq!(stored, [honest.id()]);
    });

    alice.reaches(bob.addresses().0, SOON);
    agree(&[alice, bob], LONG);
    for node in [alice, bob] {
        assert_eq!(count(node), before + 3, "{}", node.name());
        let held = peak(node.meshd_pids()[0]);
        assert!(held < MOST, "{} holds {held} kB", node.name());
        let _ = node.mesh(&["log", "verify"]).ok();
    }
}

/// The next event with changed bytes, signed as they are then.
fn changed(chain: &Chain, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = chain.aside(&chain.header()).bytes().to_vec();
    bytes.truncate(bytes.len() - 64);
    change(&mut bytes);
    let signature = chain.device.sign(Domain::Event, &bytes);
    bytes.extend_from_slice(&signature.to_bytes());
    bytes
}

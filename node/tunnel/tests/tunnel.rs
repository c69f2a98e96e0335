//! The packet path from device to device, over wires in memory.

#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mesh_core::filter::Reason;
use mesh_core::packet::{Transport, parse};
use mesh_core::plan::Protocol;
use mesh_tunnel::{Carrier, Dropped, Event, Table};
use world::{Mischief, Pair, SOON, Wire, echo, open, tcp, udp};
use x25519_dalek::{PublicKey, StaticSecret};

const SYN: u8 = 2;
const ACK: u8 = 16;

#[test]
fn packets_pass_both_ways_and_are_counted() {
    let pair = Pair::new();
    pair.ping(7);
    let back = echo(pair.b.address, pair.a.address, 8);
    pair.b.sends(back.clone());
    assert_eq!(pair.a.gets(), back);
    pair.a
        .hears(|event| *event == Event::HandshakeDone(pair.b.id));
    pair.b
        .hears(|event| *event == Event::HandshakeDone(pair.a.id));
    let stats = pair.b.tunnel.stats();
    assert_eq!(
        (stats[0].rx_packets, stats[0].rx_bytes, stats[0].tx_packets),
        (1, 28, 1)
    );
    assert!(stats[0].last_handshake.is_some_and(|age| age < SOON));
    assert!(stats[0].dropped.is_empty(), "{:?}", stats[0].dropped);
}

#[test]
fn whose_packets_passed_is_told_once_and_handshakes_do_not_count() {
    let pair = Pair::new();
    assert_eq!(pair.a.tunnel.take_active(), []);
    pair.ping(1);
    assert_eq!(pair.a.tunnel.take_active(), [pair.b.id]);
    assert_eq!(pair.b.tunnel.take_active(), [pair.a.id]);
    assert_eq!(pair.b.tunnel.take_active(), []);
    let before = pair.a.tunnel.stats();
    // A's own handshake and keepalives pass and are no packets.
    pair.a.tunnel.reset(&pair.b.id);
    pair.a
        .hears(|event| *event == Event::HandshakeDone(pair.b.id));
    pair.a.tunnel.keepalive(&pair.b.id);
    pair.a
        .hears(|event| *event == Event::HandshakeDone(pair.b.id));
    assert!(pair.a.tunnel.stats()[0].wire_tx_bytes > before[0].wire_tx_bytes);
    assert_eq!(pair.a.tunnel.take_active(), []);
    pair.ping(2);
    assert_eq!(pair.a.tunnel.take_active(), [pair.b.id]);
    assert_eq!(pair.b.tunnel.take_active(), [pair.a.id]);
}

#[test]
fn bytes_on_the_wire_are_counted_as_wg_counts_them() {
    let pair = Pair::new();
    for id in 0..10 {
        pair.ping(id);
    }
    pair.a
        .hears(|event| *event == Event::HandshakeDone(pair.b.id));
    // An initiation, a keepalive, and ten packets of 28 bytes in 32; a response.
    let (sent, answered) = (148 + 32 + 10 * (32 + 32), 92);
    let (a, b) = (pair.a.tunnel.stats(), pair.b.tunnel.stats());
    assert_eq!((a[0].wire_tx_bytes, a[0].wire_rx_bytes), (sent, answered));
    assert_eq!((b[0].wire_tx_bytes, b[0].wire_rx_bytes), (answered, sent));
    // What does not open does not count.
    pair.b
        .tunnel
        .receive(&pair.a.id, vec![Bytes::from_static(&[4; 64])]);
    pair.ping(10);
    assert_eq!(pair.b.tunnel.stats()[0].wire_rx_bytes, sent + 64);
}

#[test]
fn packets_of_every_size_arrive_as_they_were() {
    let pair = Pair::new();
    let mut table = pair.b_table();
    table.rules.open.push(open(Protocol::Udp, 53));
    pair.b.tunnel.publish(&table);
    for size in [0, 1, 2, 3, 500, 1000, 1235, 1250, 1251, 1252] {
        let data: Vec<u8> = (0..size).map(|n| n as u8).collect();
        let packet = udp(pair.a.address, pair.b.address, (4000, 53), &data);
        pair.a.sends(packet.clone());
        assert_eq!(pair.b.gets(), packet);
    }
}

#[test]
fn a_packet_with_a_foreign_source_is_not_delivered() {
    let pair = Pair::new();
    let mut lie = pair.a_table();
    let stolen = "10.0.0.77".parse().unwrap();
    lie.rules.own.insert(stolen);
    pair.a.tunnel.publish(&lie);
    pair.a.sends(echo(stolen, pair.b.address, 1));
    pair.ping(2);
    assert_eq!(pair.b.dropped(Dropped::Filter(Reason::ForeignSource)), 1);
}

#[test]
fn a_connection_to_a_closed_port_is_reset_at_once() {
    let pair = Pair::new();
    pair.a
        .sends(tcp(pair.a.address, pair.b.address, (4000, 22), SYN));
    let answer = pair.a.gets();
    let Transport::Tcp(reset) = parse(&answer).unwrap().transport else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (reset.source, reset.target, reset.flags.0),
        (22, 4000, 0x14)
    );
    assert_eq!(pair.b.dropped(Dropped::Filter(Reason::NotOffered)), 1);
}

#[test]
fn withdrawing_an_offer_cuts_its_connection_with_the_next_packet() {
    let pair = Pair::new();
    let mut table = pair.b_table();
    table.rules.open.push(open(Protocol::Tcp, 22));
    pair.b.tunnel.publish(&table);
    let (from, to) = (pair.a.address, pair.b.address);
    pair.a.sends(tcp(from, to, (4000, 22), SYN));
    pair.b.gets();
    pair.b.sends(tcp(to, from, (22, 4000), SYN | ACK));
    pair.a.gets();
    pair.a.sends(tcp(from, to, (4000, 22), ACK));
    pair.b.gets();
    pair.b.tunnel.publish(&pair.b_table());
    pair.a.sends(tcp(from, to, (4000, 22), ACK));
    let answer = pair.a.gets();
    let Transport::Tcp(reset) = parse(&answer).unwrap().transport else {
        panic!("{answer:?}")
    };
    assert_eq!(reset.flags.0, 4, "a reset");
    pair.ping(1);
}

#[test]
fn a_peer_that_leaves_the_table_is_cut_at_once_and_can_come_back() {
    let pair = Pair::new();
    pair.ping(1);
    pair.b.tunnel.publish(&Table {
        rules: pair.b_table().rules,
        ..Table::default()
    });
    assert!(pair.b.tunnel.stats().is_empty());
    pair.a.sends(echo(pair.a.address, pair.b.address, 2));
    pair.b.tunnel.publish(&pair.b_table());
    // Its old session is forgotten here; the first data it sends brings a new one about.
    let fresh = echo(pair.a.address, pair.b.address, 3);
    loop {
        pair.a.sends(fresh.clone());
        if let Ok(packet) = pair.b.delivered.recv_timeout(Duration::from_millis(50)) {
            assert_eq!(packet, fresh);
            break;
        }
    }
}

#[test]
fn a_peer_without_live_addresses_in_the_rules_takes_no_part() {
    let pair = Pair::new();
    let mut table = pair.b_table();
    table.rules.peers.clear();
    pair.b.tunnel.publish(&table);
    assert!(pair.b.tunnel.stats().is_empty());
}

#[test]
fn a_session_outlives_tables_that_keep_the_peers_key() {
    let pair = Pair::new();
    pair.ping(1);
    pair.b
        .hears(|event| matches!(event, Event::HandshakeDone(_)));
    for id in 2..10 {
        pair.a.tunnel.publish(&pair.a_table());
        pair.b.tunnel.publish(&pair.b_table());
        pair.ping(id);
    }
    assert!(pair.b.events.try_recv().is_err(), "no second handshake");
}

#[test]
fn no_packet_is_lost_while_one_side_changes_its_key_whoever_hears_of_it_first() {
    for told_first in [true, false] {
        let mut pair = Pair::new();
        pair.ping(1);
        pair.a
            .hears(|event| matches!(event, Event::HandshakeDone(_)));
        pair.b
            .hears(|event| matches!(event, Event::HandshakeDone(_)));
        let new = StaticSecret::from([0x51; 32]);
        let key = PublicKey::from(&new);
        let announced = |pair: &mut Pair| {
            pair.a.key = key;
            pair.b.tunnel.publish(&pair.b_table());
        };
        if told_first {
            announced(&mut pair);
            pair.ping(2);
            pair.a.tunnel.set_key(new);
        } else {
            pair.a.tunnel.set_key(new);
            pair.ping(2);
            announced(&mut pair);
        }
        for id in 3..40 {
            pair.ping(id);
            let back = echo(pair.b.address, pair.a.address, id);
            pair.b.sends(back.clone());
            assert_eq!(pair.a.gets(), back);
        }
        pair.a
            .hears(|event| matches!(event, Event::HandshakeDone(_)));
        pair.b
            .hears(|event| matches!(event, Event::HandshakeDone(_)));
        pair.ping(50);
    }
}

#[test]
fn flows_outlive_a_change_of_the_peers_key_and_nobody_begins_a_session_under_the_old_one() {
    let mut pair = Pair::new();
    let mut table = pair.b_table();
    table.rules.open.push(open(Protocol::Tcp, 22));
    pair.b.tunnel.publish(&table);
    let (from, to) = (pair.a.address, pair.b.address);
    pair.a.sends(tcp(from, to, (4000, 22), SYN));
    pair.b.gets();
    pair.b.sends(tcp(to, from, (22, 4000), SYN | ACK));
    pair.a.gets();
    // A hears that b has another key; b has not changed it yet. What b answers belongs to the connection still.
    let new = StaticSecret::from([0x52; 32]);
    pair.b.key = PublicKey::from(&new);
    pair.a.tunnel.publish(&pair.a_table());
    pair.b.sends(tcp(to, from, (22, 4000), ACK));
    pair.a.gets();
    // B forgets its sessions and begins anew with the old key: a does not answer.
    pair.b.tunnel.reset(&pair.a.id);
    pair.b.sends(tcp(to, from, (22, 4000), ACK));
    let before = pair.a.dropped(Dropped::Unopened);
    while pair.a.dropped(Dropped::Unopened) == before {
        std::thread::yield_now();
    }
    assert!(pair.a.delivered.try_recv().is_err());
    pair.b.tunnel.set_key(new);
    pair.b.sends(tcp(to, from, (22, 4000), ACK));
    pair.a.gets();
}

#[test]
fn loss_repetition_and_disorder_on_the_wire_do_no_harm() {
    let pair = Pair::new();
    pair.ping(0);
    let count = AtomicUsize::new(0);
    let mischief: Mischief = Arc::new(move |messages: Vec<Bytes>| {
        let mut left: Vec<Bytes> = messages
            .into_iter()
            .filter(|_| !count.fetch_add(1, Ordering::Relaxed).is_multiple_of(3))
            .collect();
        left.reverse();
        let again = left.clone();
        left.into_iter().chain(again).collect()
    });
    *pair.a_to_b.mischief.lock().unwrap() = Some(mischief);
    for id in 1..=300 {
        pair.a.sends(echo(pair.a.address, pair.b.address, id));
    }
    let mut got = BTreeSet::new();
    // A third is lost, wherever the batches were cut.
    while got.len() < 200 {
        let packet = pair.b.gets();
        let Transport::Echo { id, .. } = parse(&packet).unwrap().transport else {
            panic!("{packet:?}")
        };
        assert!((1..=300).contains(&id));
        assert!(got.insert(id), "{id} came twice");
    }
    *pair.a_to_b.mischief.lock().unwrap() = None;
    pair.ping(1000);
    assert_eq!(pair.b.dropped(Dropped::Unopened), 200, "the repeated ones");
}

#[test]
fn a_faster_way_overtakes_and_loses_what_is_under_way_unless_a_new_session_comes_first() {
    // So many packets are under way on the slower one when packets take the faster one.
    for (under_way, renewed, loses) in [
        (1000, false, false),
        (1500, false, true),
        (1500, true, false),
    ] {
        let pair = Pair::new();
        pair.ping(0);
        pair.a
            .hears(|event| *event == Event::HandshakeDone(pair.b.id));
        let held = Arc::new(Mutex::new(Vec::new()));
        let (fast, holds) = (pair.a.wire_to(&pair.b), held.clone());
        *pair.a_to_b.mischief.lock().unwrap() = Some(Arc::new(move |messages| {
            holds.lock().unwrap().extend(messages);
            vec![]
        }));
        for id in 0..under_way {
            pair.a.sends(echo(pair.a.address, pair.b.address, id));
        }
        pair.a.memory.settled();
        let late = std::mem::take(&mut *held.lock().unwrap());
        assert_eq!(late.len(), usize::from(under_way));
        let fast: Arc<dyn Carrier> = fast;
        if renewed {
            assert!(pair.a.tunnel.renew(&pair.b.id, &fast));
            pair.a
                .hears(|event| *event == Event::HandshakeDone(pair.b.id));
        }
        pair.a.tunnel.set_carrier(&pair.b.id, Some(fast));
        // From now on both ways deliver at the same pace.
        for (id, message) in (under_way..).zip(late) {
            pair.a.sends(echo(pair.a.address, pair.b.address, id));
            pair.a.memory.settled();
            pair.b.tunnel.receive(&pair.a.id, vec![message]);
        }
        let all = 1 + 2 * u64::from(under_way);
        let (mut got, mut lost) = (0, 0);
        while got + lost < all {
            got = pair.b.tunnel.stats()[0].rx_packets;
            lost = pair.b.dropped(Dropped::Unopened);
            std::thread::yield_now();
        }
        assert_eq!(lost > 0, loses, "{under_way}, {renewed}: {lost} lost");
        assert!(!loses || lost > 1400, "nearly all: {lost}");
    }
}

#[test]
fn both_sides_may_renew_at_once_and_none_without_a_session() {
    let pair = Pair::new();
    let carriers: [Arc<dyn Carrier>; 2] = [pair.a_to_b.clone(), pair.b_to_a.clone()];
    assert!(!pair.a.tunnel.renew(&pair.b.id, &carriers[0]));
    assert!(!pair.a.tunnel.renew(&pair.a.id, &carriers[0]), "no peer");
    pair.ping(1);
    let done = |node: &world::Node| drop(node.hears(|e| matches!(e, Event::HandshakeDone(_))));
    done(&pair.a);
    done(&pair.b);
    for id in 2..5 {
        assert!(pair.a.tunnel.renew(&pair.b.id, &carriers[0]));
        assert!(pair.b.tunnel.renew(&pair.a.id, &carriers[1]));
        done(&pair.a);
        done(&pair.b);
        pair.ping(id);
        let back = echo(pair.b.address, pair.a.address, id);
        pair.b.sends(back.clone());
        assert_eq!(pair.a.gets(), back);
    }
    assert_eq!(pair.a.dropped(Dropped::Unopened), 0);
    assert_eq!(pair.b.dropped(Dropped::Unopened), 0);
}

#[test]
fn garbage_on_the_wire_is_counted_and_changes_nothing() {
    let pair = Pair::new();
    pair.ping(1);
    let garbage = [
        &[][..],
        &[4],
        &[4, 0, 0, 0],
        &[1; 148],
        &[2; 92],
        &[4; 64],
        &[0; 5000],
    ];
    pair.b.tunnel.receive(
        &pair.a.id,
        garbage.into_iter().map(Bytes::copy_from_slice).collect(),
    );
    pair.b.tunnel.receive(
        &mesh_core::peer::PeerId([99; 32]),
        vec![Bytes::from_static(&[4; 64])],
    );
    pair.ping(2);
    assert_eq!(pair.b.dropped(Dropped::TooLong), 1);
    assert_eq!(pair.b.dropped(Dropped::Unopened), 6);
}

#[test]
fn traffic_without_a_carrier_asks_for_one_and_waits_for_it() {
    let pair = Pair::new();
    assert!(pair.a.tunnel.set_carrier(&pair.b.id, None));
    let ping = echo(pair.a.address, pair.b.address, 5);
    pair.a.sends(ping.clone());
    assert_eq!(pair.a.hears(|_| true), Event::WantsLink(pair.b.id));
    assert!(
        pair.a
            .tunnel
            .set_carrier(&pair.b.id, Some(pair.a_to_b.clone() as Arc<dyn Carrier>))
    );
    assert_eq!(pair.b.gets(), ping);
    assert!(
        !pair.a.tunnel.set_carrier(&pair.a.id, None),
        "nobody is its own peer"
    );
}

#[test]
fn a_message_longer_than_the_carrier_takes_is_dropped_and_counted() {
    let pair = Pair::new();
    pair.ping(1);
    let narrow = Arc::new(Wire {
        longest: 200,
        ..Arc::into_inner(pair.a.wire_to(&pair.b)).unwrap()
    });
    pair.a.tunnel.set_carrier(&pair.b.id, Some(narrow));
    pair.a
        .sends(udp(pair.a.address, pair.b.address, (1, 2), &[0; 500]));
    pair.ping(2);
    assert_eq!(pair.a.dropped(Dropped::TooLong), 1);
}

#[test]
fn a_packet_for_nobody_is_answered_so_that_its_program_fails_at_once() {
    let pair = Pair::new();
    let nobody = "10.0.0.200".parse().unwrap();
    pair.a.sends(udp(pair.a.address, nobody, (4000, 53), b"?"));
    let answer = pair.a.gets();
    let Transport::Error {
        quoted: Some(quoted),
    } = parse(&answer).unwrap().transport
    else {
        panic!("{answer:?}")
    };
    assert_eq!(quoted.target, nobody);
}

#[test]
fn resetting_a_session_costs_one_handshake() {
    let pair = Pair::new();
    pair.ping(1);
    pair.a
        .hears(|event| *event == Event::HandshakeDone(pair.b.id));
    pair.a.tunnel.reset(&pair.b.id);
    pair.ping(2);
    pair.a
        .hears(|event| *event == Event::HandshakeDone(pair.b.id));
}

#[test]
fn a_stopped_tunnel_is_silent() {
    let pair = Pair::new();
    pair.ping(1);
    pair.b.tunnel.stop();
    pair.b.tunnel.stop();
    pair.a.sends(echo(pair.a.address, pair.b.address, 2));
    pair.a.tunnel.stop();
    assert!(pair.b.delivered.try_recv().is_err());
}

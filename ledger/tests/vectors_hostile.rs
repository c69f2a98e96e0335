//! Frozen vectors, damaged in every way at hand, and plain noise: no decoder panics, and what decodes has one encoding.
#![allow(clippy::unwrap_used)]

use mesh_ledger::carry::Carry;
use mesh_ledger::code::Code;
use mesh_ledger::epoch::HandedKey;
use mesh_ledger::event::attributes::Attributes;
use mesh_ledger::event::{Act, Event};
use mesh_ledger::ids::{DeviceId, NetworkId};
use mesh_ledger::mirror::{self, letter};
use mesh_ledger::network::redeem::{Challenge, Reply, Request};
use mesh_ledger::proof_file::ProofFile;
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::ticket::Ticket;
use mesh_ledger::wire::Message;
use proptest::prelude::*;

#[allow(dead_code, unreachable_pub)]
#[path = "vectors/frozen.rs"]
mod file;

const FILE: &str = include_str!("vectors/v1.txt");

fn frozen() -> Vec<(&'static str, Vec<u8>)> {
    file::read(FILE).into_iter().collect()
}

/// Puts bytes through every decoder.
fn decode_everywhere(bytes: &[u8], acts: &[Act]) {
    if let Ok(event) = Event::decode_unverified(bytes) {
        assert_eq!(event.bytes(), bytes);
    }
    let _ = Event::decode(bytes);
    if let Some(act) = Act::decode(bytes) {
        assert_eq!(act.encode(), bytes);
    }
    for act in acts {
        if let Some(attributes) = Attributes::decode(act, bytes) {
            assert_eq!(attributes.encode(), bytes);
        }
    }
    if let Ok(message) = Message::decode(bytes) {
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
    for body in [bytes, bytes.get(4..).unwrap_or_default()] {
        let _ = mirror::Request::decode(body);
        let _ = mirror::Response::decode(body);
    }
    let (network, joiner) = (NetworkId([0x11; 32]), DeviceId([2; 32]));
    let _ = letter::open(&[6; 32], &network, &joiner, letter::Way::Reply, bytes);
    let _ = Challenge::decode(bytes);
    let _ = Request::decode(bytes);
    let _ = Reply::decode(bytes);
    let _ = HandedKey::decode(bytes);
    if let Ok(found) = Carry::read(bytes) {
        assert_eq!(
            Carry::read(&found.carry.write()).unwrap().carry,
            found.carry
        );
    }
    if let Ok(proof) = ProofFile::decode(bytes) {
        assert_eq!(proof.encode(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<Ticket>();
        let _ = text.parse::<RecoveryWords>();
        let _ = text.parse::<mirror::ServerAddress>();
        let _ = text.parse::<Code>();
    }
}

/// One act of each kind that has attributes.
fn acts() -> Vec<Act> {
    frozen()
        .iter()
        .filter(|(name, _)| name.starts_with("act."))
        .map(|(_, bytes)| Act::decode(bytes).unwrap())
        .filter(|act| act.has_attributes() != Some(false))
        .collect()
}

#[test]
fn no_cut_and_no_changed_byte_of_a_vector_makes_a_decoder_panic() {
    let acts = acts();
    for (_, bytes) in frozen() {
        for at in 0..bytes.len() {
            decode_everywhere(&bytes[..at], &acts);
            for change in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                decode_everywhere(&changed, &acts);
            }
        }
    }
}

#[test]
fn no_cut_and_no_added_byte_of_an_act_or_attribute_decodes() {
    for (name, bytes) in frozen() {
        if !name.starts_with("act.") {
            continue;
        }
        for at in 0..bytes.len() {
            assert_eq!(Act::decode(&bytes[..at]), None, "{name} cut at {at}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Act::decode(&longer), None, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn noise_makes_no_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        decode_everywhere(&bytes, &acts());
    }

    #[test]
    fn any_text_is_a_ticket_or_an_error(text in "\\PC{0,300}") {
        let _ = text.parse::<Ticket>();
        let _ = format!("MESH:1:{text}").parse::<Ticket>();
        let _ = text.parse::<RecoveryWords>();
    }
}

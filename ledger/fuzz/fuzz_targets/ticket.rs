//! Whatever people paste and joiners send: any text is a ticket, a server's address, recovery words, a name or an error, and
//! what is written out is read as itself; any bytes are a message of a redemption or none.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use mesh_ledger::epoch::HandedKey;
use mesh_ledger::event::attributes::Subnet;
use mesh_ledger::ids::NetworkId;
use mesh_ledger::mirror::ServerAddress;
use mesh_ledger::network::redeem::{Challenge, Reply, Request};
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::text::{Label, Note};
use mesh_ledger::ticket::{MAX_CONTACTS, MAX_TICKET, Ticket};
use mesh_ledger_fuzz::{box_secret, checksummed};

fuzz_target!(|bytes: &[u8]| {
    // Noise never has a good checksum. Behind one stands what a patched sponsor may write.
    ticket(&checksummed(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        ticket(text);
        let _ = text.parse::<RecoveryWords>();
        reads_back::<ServerAddress>(text);
        reads_back::<Subnet>(text);
        reads_back::<Label>(text);
        reads_back::<Note>(text);
    }
    if let Some(challenge) = Challenge::decode(bytes) {
        assert_eq!(Challenge::decode(&challenge.encode()), Some(challenge));
    }
    if let Some(request) = Request::decode(bytes) {
        let _ = request.admission(0);
        assert_eq!(Request::decode(&request.encode()), Some(request));
    }
    if let Some(reply) = Reply::decode(bytes) {
        assert_eq!(Reply::decode(&reply.encode()), Some(reply));
    }
    if let Some(handed) = HandedKey::decode(bytes) {
        assert!(handed.open(&NetworkId([1; 32]), &box_secret(0)).is_none());
    }
});

fn ticket(text: &str) {
    let Ok(ticket) = text.parse::<Ticket>() else {
        return;
    };
    assert!(ticket.contacts().len() <= MAX_CONTACTS);
    let written = ticket.text();
    assert!(written.len() <= MAX_TICKET);
    assert_eq!(written.parse::<Ticket>().as_ref(), Ok(&ticket));
}

fn reads_back<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().ok(), Some(value));
    }
}

//! Whatever another device says on a link: any bytes are a frame, a beacon, a message of a code's exchange or of a handover,
//! a user key under a passphrase, or none of these; what is one is written and read again as itself, within its bounds. And
//! any text is a code or an error.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mesh_core::beacon::{Beacon, MAX_ADDRESSES, MAX_TIPS};
use mesh_core::handover::{self, Entered, Request, Said};
use mesh_core::keyfile::{Locked, MAX_KEY_FILE};
use mesh_core::link::Frame;
use mesh_core::transfer;
use mesh_ledger::code::{Code, Ends, Joiner, Keeper};
use mesh_ledger::ids::{DeviceId, NetworkId};
use mesh_ledger_fuzz::key;

const NETWORK: NetworkId = NetworkId([1; 32]);

fn ends() -> Ends {
    Ends {
        joiner: DeviceId([1; 32]),
        inviter: DeviceId([2; 32]),
    }
}

/// What an inviter answers to an honest joiner: it may be put into an exchange whose joiner sees noise.
static CODE: LazyLock<Code> = LazyLock::new(|| Code::new(7, [1, 2, 3, 4]));

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    match kind % 8 {
        0 => frame(rest),
        1 => said(rest),
        2 => {
            if let Some(request) = Request::decode(rest) {
                assert!(request.has.len() <= handover::MAX_NETWORKS);
                assert_eq!(Request::decode(&request.encode()), Some(request));
            }
        }
        3 => handed(rest),
        4 => {
            if let Some(entered) = Entered::decode(rest) {
                assert!(entered.adds.len() <= handover::MAX_NETWORKS);
                assert_eq!(Entered::decode(&entered.encode()), Some(entered));
            }
        }
        5 => {
            if let Some(message) = transfer::Handover::decode(rest) {
                let written = message.encode();
                assert!(written.len() <= transfer::MAX_MESSAGE);
                assert_eq!(transfer::Handover::decode(&written), Some(message));
            }
        }
        6 => locked(rest),
        _ => beacon(rest),
    }
    if let Ok(text) = std::str::from_utf8(rest) {
        let _ = Locked::from_text(text);
        if let Ok(code) = text.parse::<Code>() {
            assert_eq!(code.text().parse::<Code>().as_ref(), Ok(&code));
        }
    }
});

fn frame(bytes: &[u8]) {
    let Ok(frame) = Frame::decode(bytes) else {
        return;
    };
    let Ok(written) = frame.encode() else {
        return;
    };
    let length = u32::from_be_bytes([written[0], written[1], written[2], written[3]]);
    assert_eq!(length as usize, written.len() - 4);
    assert_eq!(Frame::decode(&written[4..]).as_ref(), Ok(&frame));
}

fn said(bytes: &[u8]) {
    let Some(said) = Said::decode(bytes) else {
        return;
    };
    assert_eq!(Said::decode(&said.encode()).as_ref(), Some(&said));
    // Both ends of an exchange hear noise instead of each other.
    match said {
        Said::Start { message, .. } => {
            let keeper = Keeper::new(CODE.clone(), 1_000);
            let answered = keeper.answer(&message, ends(), &[4; 32], 0);
            if let Ok((exchange, _)) = answered {
                let mut keeper = keeper;
                assert!(keeper.confirm(exchange, &[0; 32], 0).is_err());
                assert!(keeper.is_burnt());
            }
        }
        Said::Answer(message) => {
            let (joiner, _) = Joiner::start(&CODE, ends(), &[3; 32]);
            if let Ok((confirmed, confirmation)) = joiner.confirm(&message) {
                assert!(confirmed.finish(&confirmation).is_none());
            }
        }
        _ => {}
    }
}

fn handed(bytes: &[u8]) {
    let Some(handed) = handover::Handover::decode(bytes) else {
        return;
    };
    assert!(handed.networks.len() <= handover::MAX_NETWORKS);
    let again = handover::Handover::decode(&handed.encode());
    assert_eq!(again, Some(handed));
}

/// Behind the words that such a file begins with, which chance does not write. Unlocking it is not tried: it is costly by
/// intent.
fn locked(bytes: &[u8]) {
    let file = [b"mesh user key 1", bytes].concat();
    if let Ok(locked) = Locked::decode(&file) {
        assert!(file.len() <= MAX_KEY_FILE);
        assert_eq!(Locked::decode(&locked.encode()).as_ref(), Ok(&locked));
        assert_eq!(Locked::from_text(&locked.text()).as_ref(), Ok(&locked));
    }
}

fn beacon(bytes: &[u8]) {
    if let Ok(beacon) = Beacon::open(bytes, &NETWORK, [&key(0)]) {
        assert!(beacon.addresses.len() <= MAX_ADDRESSES && beacon.tips.len() <= MAX_TIPS);
    }
    let _ = Beacon::open(
        &[&[1], &key(0).id().0[..8], bytes].concat(),
        &NETWORK,
        [&key(0)],
    );
}

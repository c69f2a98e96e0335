#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;

const ENDS: Ends = Ends {
    joiner: DeviceId([1; 32]),
    inviter: DeviceId([2; 32]),
};
const OTHER: DeviceId = DeviceId([3; 32]);
const NOW: u64 = 1_000;
const END: u64 = 2_000;

#[test]
fn the_list_has_1024_words_in_order_of_which_no_two_differ_by_one_letter() {
    let words: Vec<&str> = list().collect();
    assert_eq!(words.len(), 1024);
    assert!(words.is_sorted_by(|a, b| a < b));
    for (n, word) in words.iter().enumerate() {
        assert!((4..=9).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase()));
        assert!(
            words[n + 1..].iter().all(|other| !much_like(word, other)),
            "{word}"
        );
    }
}

#[test]
fn a_code_reads_back_as_it_is_said_in_any_case_and_spacing() {
    let code = code("7-crossbow-orca-basil");
    assert_eq!(code.text().as_str(), "7-crossbow-orca-basil");
    assert_eq!(" 7 Crossbow  ORCA-basil\n".parse::<Code>().unwrap(), code);
    assert_eq!(code.mailbox(), 7);
    let texts: BTreeSet<String> = (0..64_u32)
        .map(|n| {
            Code::new(42, (n << 24 | n << 11 | n).to_be_bytes())
                .text()
                .to_string()
        })
        .collect();
    assert_eq!(texts.len(), 64);
    for text in texts {
        assert_eq!(text.parse::<Code>().unwrap().text().as_str(), text);
    }
}

#[test]
fn what_is_no_code_says_what_is_wrong_and_which_word_was_perhaps_meant() {
    let read = |text: &str| text.parse::<Code>().unwrap_err();
    assert_eq!(read(""), BadCode::Form);
    assert_eq!(read("7-crossbow-orca"), BadCode::Form);
    assert_eq!(read("7-crossbow-orca-basil-basil"), BadCode::Form);
    assert_eq!(read(&"7-".repeat(1000)), BadCode::Form);
    assert_eq!(read("0-crossbow-orca-basil"), BadCode::Mailbox);
    assert_eq!(read("1000-crossbow-orca-basil"), BadCode::Mailbox);
    assert_eq!(read("x-crossbow-orca-basil"), BadCode::Mailbox);
    let word = |at, like| BadCode::Word { at, like };
    assert_eq!(read("7-crossbow-orka-basil"), word(2, Some("orca")));
    assert_eq!(read("7-crossbow-orca-bsil"), word(3, Some("basil")));
    assert_eq!(read("7-xyzzy-orca-basil"), word(1, None));
    assert_eq!(read("7-é-orca-basil"), word(1, None));
}

#[test]
fn no_word_of_a_code_is_printed() {
    assert_eq!(format!("{:?}", code("7-crossbow-orca-basil")), "Code(7-..)");
}

#[test]
fn who_knows_the_words_shares_a_channel_with_who_showed_them() {
    let mut keeper = keeper();
    let (ours, theirs) = exchange(&mut keeper, "7-crossbow-orca-basil", ENDS).unwrap();
    let sealed = theirs.seal(Way::Joiner, 0, b"hello").unwrap();
    assert_eq!(
        ours.open(Way::Joiner, 0, &sealed).unwrap().as_slice(),
        b"hello"
    );
    assert!(ours.open(Way::Inviter, 0, &sealed).is_none());
    assert!(ours.open(Way::Joiner, 1, &sealed).is_none());
    for at in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        assert!(ours.open(Way::Joiner, 0, &bad).is_none());
        assert!(ours.open(Way::Joiner, 0, &sealed[..at]).is_none());
    }
    assert_eq!(keeper.serves(), Some(ENDS.joiner));
}

#[test]
fn a_wrong_word_burns_the_code_for_everybody() {
    let mut keeper = keeper();
    let wrong = exchange(&mut keeper, "7-crossbow-orca-barrel", ENDS).unwrap_err();
    assert_eq!(wrong, Refusal::Wrong);
    let right = exchange(&mut keeper, "7-crossbow-orca-basil", ENDS).unwrap_err();
    assert_eq!(right, Refusal::Burnt);
    assert_eq!(keeper.serves(), None);
}

#[test]
fn guesses_in_parallel_are_no_more_than_one() {
    let mut keeper = keeper();
    let begun: Vec<_> = ["7-crossbow-orca-barrel", "7-crossbow-orca-basil"]
        .map(|text| begin(&keeper, text, ENDS))
        .into();
    let mut results = begun.into_iter().map(|(exchange, _, confirmation)| {
        keeper.confirm(exchange, &confirmation, NOW).map(|_| ())
    });
    assert_eq!(results.next(), Some(Err(Refusal::Wrong)));
    assert_eq!(results.next(), Some(Err(Refusal::Burnt)));
}

#[test]
fn an_exchange_that_breaks_off_burns_nothing() {
    let mut keeper = keeper();
    for _ in 0..100 {
        drop(begin(&keeper, "7-crossbow-orca-barrel", ENDS));
    }
    assert!(
        keeper
            .answer(&[0x41; MESSAGE], ENDS, &[8; 32], NOW)
            .is_err()
    );
    assert!(keeper.answer(&[], ENDS, &[8; 32], NOW).is_err());
    assert!(exchange(&mut keeper, "7-crossbow-orca-basil", ENDS).is_ok());
}

#[test]
fn a_code_that_served_a_device_serves_it_again_and_no_other() {
    let mut keeper = keeper();
    assert!(exchange(&mut keeper, "7-crossbow-orca-basil", ENDS).is_ok());
    assert!(exchange(&mut keeper, "7-crossbow-orca-basil", ENDS).is_ok());
    let ends = Ends {
        joiner: OTHER,
        ..ENDS
    };
    let other = exchange(&mut keeper, "7-crossbow-orca-basil", ends).unwrap_err();
    assert_eq!(other, Refusal::Used);
}

#[test]
fn an_expired_code_serves_nobody() {
    let mut keeper = keeper();
    let (exchange, _, confirmation) = begin(&keeper, "7-crossbow-orca-basil", ENDS);
    let late = keeper.confirm(exchange, &confirmation, END).map(|_| ());
    assert_eq!(late, Err(Refusal::Expired));
    assert_eq!(keeper.usable(&ENDS.joiner, END), Err(Refusal::Expired));
}

#[test]
fn a_machine_in_between_that_ends_both_connections_gets_no_confirmation_through() {
    let mut keeper = keeper();
    // The joiner talks with the machine in between, and so does the inviter.
    let here = Ends {
        joiner: ENDS.joiner,
        inviter: OTHER,
    };
    let there = Ends {
        joiner: OTHER,
        inviter: ENDS.inviter,
    };
    let (joiner, message) = Joiner::start(&code("7-crossbow-orca-basil"), here, &[4; 32]);
    let (exchange, answer) = keeper.answer(&message, there, &[5; 32], NOW).unwrap();
    let (_, confirmation) = joiner.confirm(&answer).unwrap();
    let passed = keeper.confirm(exchange, &confirmation, NOW).map(|_| ());
    assert_eq!(passed, Err(Refusal::Wrong));
}

#[test]
fn an_inviter_that_does_not_know_the_words_is_found_out() {
    let mut keeper = Keeper::new(code("7-crossbow-orca-barrel"), END);
    let (joiner, message) = Joiner::start(&code("7-crossbow-orca-basil"), ENDS, &[4; 32]);
    let (exchange, answer) = keeper.answer(&message, ENDS, &[5; 32], NOW).unwrap();
    let (confirmed, confirmation) = joiner.confirm(&answer).unwrap();
    assert!(keeper.confirm(exchange, &confirmation, NOW).is_err());
    assert!(confirmed.finish(&[0; 32]).is_none());
    let (joiner, _) = Joiner::start(&code("7-crossbow-orca-basil"), ENDS, &[4; 32]);
    assert!(joiner.confirm(&answer[1..]).is_err());
}

#[test]
fn a_code_of_another_mailbox_does_not_fit() {
    let mut keeper = keeper();
    let wrong = exchange(&mut keeper, "8-crossbow-orca-basil", ENDS).unwrap_err();
    assert_eq!(wrong, Refusal::Wrong);
    assert_ne!(topic(7), topic(8));
}

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

fn keeper() -> Keeper {
    Keeper::new(code("7-crossbow-orca-basil"), END)
}

fn begin(keeper: &Keeper, typed: &str, ends: Ends) -> (Exchange, Confirmed, Confirmation) {
    let (joiner, message) = Joiner::start(&code(typed), ends, &[4; 32]);
    let (exchange, answer) = keeper.answer(&message, ends, &[5; 32], NOW).unwrap();
    let (confirmed, confirmation) = joiner.confirm(&answer).unwrap();
    (exchange, confirmed, confirmation)
}

fn exchange(keeper: &mut Keeper, typed: &str, ends: Ends) -> Result<(Channel, Channel), Refusal> {
    let (joiner, message) = Joiner::start(&code(typed), ends, &[4; 32]);
    let (exchange, answer) = keeper.answer(&message, ends, &[5; 32], NOW)?;
    let (confirmed, confirmation) = joiner.confirm(&answer).unwrap();
    let (ours, confirmation) = keeper.confirm(exchange, &confirmation, NOW)?;
    Ok((ours, confirmed.finish(&confirmation).unwrap()))
}

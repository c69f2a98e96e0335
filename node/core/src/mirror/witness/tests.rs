#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use mesh_ledger::keys::ServerSecret;
use mesh_ledger::mirror::Tip;
use proptest::prelude::*;

use super::*;

const NETWORK: NetworkId = NetworkId([1; 32]);

fn id(n: u64) -> EventId {
    EventId(*blake3::hash(&n.to_be_bytes()).as_bytes())
}

fn device(n: u8) -> DeviceId {
    DeviceId([n; 32])
}

/// A server's copy of a network.
#[derive(Clone)]
struct Server {
    secret: ServerSecret,
    ids: Vec<EventId>,
    chain: Chain,
    time: u64,
    tip: SignedTip,
}

impl Server {
    fn new() -> Self {
        let secret = ServerSecret::from_seed(&[2; 32]);
        let chain = Chain::empty(&NETWORK);
        let tip = Tip {
            network: NETWORK,
            count: 0,
            chain,
            time: 1_000,
        };
        Self {
            tip: SignedTip::sign(tip, &secret),
            secret,
            ids: Vec::new(),
            chain,
            time: 1_000,
        }
    }

    fn with(count: u64) -> Self {
        let mut server = Self::new();
        for n in 0..count {
            server.append(id(n));
        }
        server
    }

    fn append(&mut self, id: EventId) {
        self.ids.push(id);
        self.chain = self.chain.then(&id);
        self.sign();
    }

    fn sign(&mut self) {
        self.time += 1;
        let tip = Tip {
            network: NETWORK,
            count: self.ids.len() as u64,
            chain: self.chain,
            time: self.time,
        };
        self.tip = SignedTip::sign(tip, &self.secret);
    }

    fn page(&self, from: u64, most: usize) -> Page {
        let ids = self.ids.iter().skip(from as usize).take(most);
        Page {
            from,
            ids: ids.copied().collect(),
            events: Vec::new(),
            tip: self.tip.clone(),
        }
    }

    fn witness(&self) -> Witness {
        Witness::new(NETWORK, self.secret.public(), Kept::default())
    }
}

/// Asks and takes the answer at once.
fn pull(witness: &mut Witness, server: &Server) -> Pulled {
    let page = server.page(witness.len(), usize::MAX);
    match witness.tip(&page.tip, witness.known_time()) {
        Ok(true) => witness.page(&page, true),
        _ => Pulled::Lied,
    }
}

fn lies(witness: &Witness) -> Vec<Lie> {
    let found = witness.accusations().iter();
    found.map(|accusation| accusation.what).collect()
}

/// What an answer is to.
#[derive(Clone, Copy)]
enum Asked {
    Pull { from: u64, known: u64 },
    Push { event: EventId, known: u64 },
}

enum Answer {
    Page(Page, u64),
    News(Page),
    Pushed(EventId, SignedTip, u64),
}

/// A member with one stream to the server, and messages on the way in both directions.
struct Member {
    witness: Witness,
    asked: VecDeque<Asked>,
    answers: VecDeque<Answer>,
}

#[derive(Debug, Clone)]
enum Step {
    /// The server signs anew, though nothing changed.
    Sign,
    Pull(usize),
    Push(usize),
    /// The server takes one request, and answers with so many ids.
    Serve(usize, usize),
    /// An answer arrives.
    Arrive(usize),
    Beacon(usize),
    /// Some beacon that is on the way arrives.
    Hear(usize, usize),
    Restart(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = 0..3usize;
    let step = prop_oneof![
        1 => Just(Step::Sign),
        4 => member.clone().prop_map(Step::Pull),
        4 => member.clone().prop_map(Step::Push),
        8 => (member.clone(), 1..4usize).prop_map(|(m, n)| Step::Serve(m, n)),
        8 => member.clone().prop_map(Step::Arrive),
        4 => member.clone().prop_map(Step::Beacon),
        4 => (member.clone(), 0..8usize).prop_map(|(m, n)| Step::Hear(m, n)),
        1 => member.prop_map(Step::Restart),
    ];
    proptest::collection::vec(step, 0..200)
}

fn restart(member: &mut Member, server: &Server) {
    let kept = member.witness.kept();
    member.witness = Witness::new(NETWORK, server.secret.public(), kept);
    member.asked.clear();
    member.answers.clear();
}

proptest! {
    #[test]
    fn an_honest_server_is_never_accused_whatever_crosses_on_the_way(steps in steps()) {
        let mut server = Server::with(2);
        let mut members: Vec<Member> = (0..3)
            .map(|_| Member {
                witness: server.witness(),
                asked: VecDeque::new(),
                answers: VecDeque::new(),
            })
            .collect();
        let mut beacons: Vec<(usize, SignedTip)> = Vec::new();
        let mut next = 100;
        for step in steps {
            match step {
                Step::Sign => server.sign(),
                Step::Pull(m) => {
                    let member = &mut members[m];
                    member.asked.push_back(Asked::Pull {
                        from: member.witness.len(),
                        known: member.witness.known_time(),
                    });
                }
                Step::Push(m) => {
                    next += 1;
                    let member = &mut members[m];
                    member.asked.push_back(Asked::Push {
                        event: id(next),
                        known: member.witness.known_time(),
                    });
                }
                Step::Serve(m, most) => match members[m].asked.pop_front() {
                    Some(Asked::Pull { from, known }) => {
                        let page = server.page(from, most);
                        members[m].answers.push_back(Answer::Page(page, known));
                    }
                    Some(Asked::Push { event, known }) => {
                        server.append(event);
                        for (n, other) in members.iter_mut().enumerate() {
                            if n != m {
                                let news = server.page(server.ids.len() as u64 - 1, 1);
                                other.answers.push_back(Answer::News(news));
                            }
                        }
                        let answer = Answer::Pushed(event, server.tip.clone(), known);
                        members[m].answers.push_back(answer);
                    }
                    None => {}
                },
                Step::Arrive(m) => {
                    let Member { witness, answers, .. } = &mut members[m];
                    match answers.pop_front() {
                        Some(Answer::Page(page, known)) => {
                            prop_assert_eq!(witness.tip(&page.tip, known), Ok(true));
                            prop_assert_ne!(witness.page(&page, page.from == witness.len()), Pulled::Lied);
                        }
                        Some(Answer::News(page)) => {
                            prop_assert_eq!(witness.tip(&page.tip, 0), Ok(true));
                            prop_assert_ne!(witness.page(&page, false), Pulled::Lied);
                        }
                        Some(Answer::Pushed(event, tip, known)) => {
                            prop_assert_eq!(witness.tip(&tip, known), Ok(true));
                            witness.acknowledged(&[event], &tip);
                        }
                        None => {}
                    }
                }
                Step::Beacon(m) => {
                    let newest = members[m].witness.newest().cloned();
                    beacons.extend(newest.map(|tip| (m, tip)));
                }
                Step::Hear(m, n) => {
                    if let Some((from, tip)) = beacons.get(n) {
                        let heard = members[m].witness.hear(device(*from as u8), tip);
                        prop_assert_ne!(heard, Heard::Lied);
                    }
                }
                Step::Restart(m) => restart(&mut members[m], &server),
            }
        }
        for member in &mut members {
            prop_assert_eq!(lies(&member.witness), []);
            // A pull that is answered at once brings it up to date.
            prop_assert_eq!(pull(&mut member.witness, &server), Pulled::Complete);
            prop_assert_eq!(member.witness.ids(), &server.ids[..]);
            prop_assert_eq!(lies(&member.witness), []);
        }
    }
}

#[test]
fn two_logs_for_two_members_are_found_as_soon_as_one_hears_of_the_others_tip() {
    let mut honest = Server::with(5);
    let mut forked = honest.clone();
    honest.append(id(6));
    forked.append(id(7));
    let mut witness = honest.witness();
    assert_eq!(pull(&mut witness, &honest), Pulled::Complete);
    assert_eq!(witness.hear(device(1), &forked.tip), Heard::Lied);
    let found = &witness.accusations()[0];
    assert_eq!(found.what, Lie::Fork);
    assert_eq!(found.tips, [honest.tip.clone(), forked.tip.clone()]);
    assert_eq!(found.heard_from, Some(device(1)));
    // It goes on with the log it has, and says the same thing once.
    honest.append(id(8));
    assert_eq!(pull(&mut witness, &honest), Pulled::Complete);
    assert_eq!(witness.hear(device(2), &forked.tip), Heard::Lied);
    assert_eq!(lies(&witness), [Lie::Fork]);
}

#[test]
fn a_fork_of_another_length_is_found_when_the_log_gets_there() {
    let mut honest = Server::with(5);
    let mut forked = honest.clone();
    let mut witness = honest.witness();
    pull(&mut witness, &honest);
    forked.append(id(10));
    forked.append(id(11));
    assert_eq!(witness.hear(device(1), &forked.tip), Heard::Ahead);
    for n in 20..23 {
        honest.append(id(n));
    }
    // Signed later, so that the tips alone prove nothing.
    honest.time = forked.time;
    honest.sign();
    assert_eq!(pull(&mut witness, &honest), Pulled::Complete);
    assert_eq!(lies(&witness), [Lie::Fork]);
    assert_eq!(witness.accusations()[0].tips.len(), 2);
    // And one that was shown the shorter log is told from one that is behind.
    let mut short = Server::with(3);
    let mut witness = honest.witness();
    pull(&mut witness, &honest);
    assert_eq!(witness.hear(device(2), &short.tip), Heard::Known);
    short = Server::with(2);
    short.append(id(99));
    assert_eq!(witness.hear(device(2), &short.tip), Heard::Lied);
}

#[test]
fn a_server_that_goes_back_is_named_and_can_be_used_again() {
    let server = Server::with(9);
    let mut witness = server.witness();
    pull(&mut witness, &server);
    let mut wiped = Server::with(3);
    wiped.time = server.time;
    wiped.sign();
    assert_eq!(pull(&mut witness, &wiped), Pulled::Lied);
    assert_eq!(lies(&witness), [Lie::Rollback]);
    assert_eq!(pull(&mut witness, &wiped), Pulled::Complete);
    assert_eq!(witness.len(), 3);
    // Members that have not noticed yet still carry the old tip.
    assert_eq!(witness.hear(device(1), &server.tip), Heard::Lied);
    wiped.append(id(3));
    assert_eq!(pull(&mut witness, &wiped), Pulled::Complete);
    assert_eq!(lies(&witness), [Lie::Rollback]);
    witness.forgive();
    assert_eq!(pull(&mut witness, &wiped), Pulled::Complete);
    assert_eq!(witness.hear(device(1), &server.tip), Heard::Known);
    assert_eq!(lies(&witness), []);
}

#[test]
fn what_was_known_before_a_restart_is_held_against_it_afterwards() {
    let server = Server::with(9);
    let mut witness = server.witness();
    pull(&mut witness, &server);
    let again = || Witness::new(NETWORK, server.secret.public(), witness.kept());
    // Longer, and another log.
    let mut forked = Server::with(5);
    for n in 50..60 {
        forked.append(id(n));
    }
    forked.time = server.time;
    forked.sign();
    let mut after = again();
    assert_eq!(pull(&mut after, &forked), Pulled::Lied);
    assert_eq!(lies(&after), [Lie::Fork]);
    // An old copy, as if nothing had happened since.
    let mut after = again();
    assert_eq!(pull(&mut after, &Server::with(4)), Pulled::Lied);
    assert_eq!(lies(&after), [Lie::Stale]);
    let found = after.accusations()[0].clone();
    assert_eq!(found.tips[1], server.tip);
    // And accusations stay.
    let kept = after.kept();
    let after = Witness::new(NETWORK, server.secret.public(), kept);
    assert_eq!(after.accusations(), [found]);
}

#[test]
fn ids_that_do_not_hash_to_the_signed_chain_are_found() {
    let server = Server::with(5);
    let mut witness = server.witness();
    let mut page = server.page(0, 10);
    page.ids[2] = id(77);
    assert_eq!(witness.tip(&page.tip, 0), Ok(true));
    assert_eq!(witness.page(&page, true), Pulled::Lied);
    assert_eq!(lies(&witness), [Lie::Mismatch]);
    // More than was signed.
    let mut witness = server.witness();
    let mut page = server.page(0, 10);
    page.ids.push(id(78));
    assert_eq!(witness.page(&page, true), Pulled::Lied);
    // The same one twice.
    let mut twice = Server::with(3);
    twice.append(id(1));
    let mut witness = twice.witness();
    assert_eq!(pull(&mut witness, &twice), Pulled::Lied);
}

#[test]
fn an_acknowledged_event_that_a_pull_omits_is_found() {
    let mut server = Server::with(5);
    let mut witness = server.witness();
    pull(&mut witness, &server);
    let mut acknowledged = server.clone();
    acknowledged.append(id(50));
    assert_eq!(witness.tip(&acknowledged.tip, 0), Ok(true));
    witness.acknowledged(&[id(50)], &acknowledged.tip);
    server.append(id(51));
    server.time = acknowledged.time;
    server.append(id(52));
    assert_eq!(pull(&mut witness, &server), Pulled::Lied);
    assert!(
        lies(&witness).contains(&Lie::Withheld),
        "{:?}",
        lies(&witness)
    );
    // An empty page, though the tip says that there is more.
    let mut witness = server.witness();
    let mut page = server.page(0, 10);
    page.ids.clear();
    assert_eq!(witness.page(&page, true), Pulled::Lied);
    assert_eq!(lies(&witness), [Lie::Withheld]);
}

#[test]
fn a_server_that_freezes_is_found_once_another_member_was_shown_more() {
    let mut server = Server::with(5);
    let frozen = server.clone();
    let mut witness = server.witness();
    pull(&mut witness, &frozen);
    server.append(id(60));
    // An answer that was on the way is none of it.
    let known = witness.known_time();
    assert_eq!(witness.hear(device(1), &server.tip), Heard::Ahead);
    assert_eq!(witness.tip(&frozen.tip, known), Ok(true));
    assert_eq!(pull(&mut witness, &frozen), Pulled::Lied);
    let found = &witness.accusations()[0];
    assert_eq!(found.what, Lie::Stale);
    assert_eq!(found.heard_from, Some(device(1)));
    assert_eq!(found.tips, [frozen.tip, server.tip]);
}

#[test]
fn nobody_is_accused_by_what_it_did_not_sign() {
    let server = Server::with(5);
    let mut witness = server.witness();
    pull(&mut witness, &server);
    let mut forged = server.tip.clone();
    forged.tip.chain = Chain([9; 32]);
    assert_eq!(witness.hear(device(1), &forged), Heard::Known);
    assert_eq!(witness.tip(&forged, 0), Err(BadTip));
    let mut other = Server::with(5);
    other.secret = ServerSecret::from_seed(&[3; 32]);
    other.append(id(70));
    assert_eq!(witness.hear(device(1), &other.tip), Heard::Known);
    assert_eq!(witness.tip(&other.tip, 0), Err(BadTip));
    assert_eq!(lies(&witness), []);
}

#[test]
fn what_is_found_is_dated_once() {
    let server = Server::with(5);
    let mut witness = server.witness();
    pull(&mut witness, &server);
    pull(&mut witness, &Server::with(2));
    assert_eq!(witness.date(77)[0].at, 77);
    assert!(witness.date(88).is_empty());
    assert_eq!(witness.accusations()[0].at, 77);
}

#[test]
fn a_proof_convinces_a_member_that_was_told_nothing_false_and_nothing_less_does() {
    let (mut liar, mut shown) = (Server::with(3), Server::with(3));
    let (mut alice, mut bob) = (shown.witness(), liar.witness());
    shown.append(id(7));
    assert_eq!(pull(&mut alice, &shown), Pulled::Complete);
    // Bob is told later that there is less.
    liar.time = shown.time + 5;
    liar.sign();
    assert_eq!(pull(&mut bob, &liar), Pulled::Complete);
    let hidden = liar.tip.clone();
    assert!(bob.proof_for_others().is_none());
    assert_eq!(bob.hear(device(1), &shown.tip), Heard::Lied);

    // When alice hears of bob again, his newest tip is as hers.
    liar.append(id(7));
    assert_ne!(alice.hear(device(2), &liar.tip), Heard::Lied);
    assert!(alice.accusations().is_empty());
    let proof = bob.proof_for_others().unwrap().tips.clone();
    let mut forged = hidden;
    forged.tip.count = 1;
    for (one, other) in [
        (&proof[0], &proof[0]),
        (&shown.tip, &liar.tip),
        (&proof[0], &forged),
    ] {
        assert!(!alice.hear_proof(device(2), one, other));
    }
    assert!(alice.hear_proof(device(2), &proof[0], &proof[1]));
    assert_eq!(lies(&alice), [Lie::Rollback]);
    assert_eq!(alice.accusations()[0].heard_from, Some(device(2)));
    // She passes it on.
    assert_eq!(alice.proof_for_others().unwrap().tips, proof);
}

#![allow(clippy::unwrap_used)]

use mesh_ledger::event::act::Policy;
use mesh_ledger::event::attributes::Write;
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::{DeviceId, InviteKey, WgKey};
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, ServerSecret, UserSecret};
use mesh_ledger::mirror::{Chain, SignedTip, Tip};
use mesh_ledger::network::{FoundingArgs, Ledger};
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::store::memory::MemoryStore;

use super::super::witness::{Kept, Lie};
use super::*;

/// A network's events, parents first.
fn events(count: usize) -> Vec<Event> {
    let device = DeviceSecret::from_seed(&[1; 32]);
    let args = FoundingArgs {
        name: "home".parse().unwrap(),
        subnet: "10.7.0.0/24".parse().unwrap(),
        policy: Policy::default(),
        user: &UserSecret::from_seed(&[2; 32]),
        device: &device,
        box_secret: BoxSecret::from_seed(&[3; 32]),
        host: "alice".parse().unwrap(),
        address: None,
        wireguard: WgKey([1; 32]),
        epoch: EpochKey::from_bytes([42; 32]),
        recovery: RecoveryWords::from_entropy([7; 32]),
        nonce: [1; 16],
        salt: [2; 16],
        now: 1,
    };
    let (mut ledger, _) = Ledger::found(MemoryStore::new(), args).unwrap();
    for n in 1..count {
        let write = Write::Setting {
            key: "k".parse().unwrap(),
            value: Some(n.to_string().parse().unwrap()),
        };
        let attributes = Attributes::Writes(vec![write]);
        ledger
            .author(&device, Act::Private, Some(attributes), 1)
            .unwrap();
    }
    ledger.index().events().collect()
}

fn index(events: &[Event]) -> Index {
    let mut index = Index::new();
    index.extend(events.iter().cloned());
    index
}

/// An honest server with one network.
struct Server {
    secret: ServerSecret,
    network: NetworkId,
    log: Vec<Event>,
    hosted: bool,
    live: bool,
    time: u64,
    requests: Vec<Request>,
}

impl Server {
    fn new(network: NetworkId, log: &[Event]) -> Self {
        Self {
            secret: ServerSecret::from_seed(&[9; 32]),
            network,
            log: log.to_vec(),
            hosted: !log.is_empty(),
            live: true,
            time: 100,
            requests: Vec::new(),
        }
    }

    fn witness(&self) -> Witness {
        Witness::new(self.network, self.secret.public(), Kept::default())
    }

    fn tip(&mut self) -> SignedTip {
        self.time += 1;
        let mut chain = Chain::empty(&self.network);
        for event in &self.log {
            chain = chain.then(&event.id());
        }
        let tip = Tip {
            network: self.network,
            count: self.log.len() as u64,
            chain,
            time: self.time,
        };
        SignedTip::sign(tip, &self.secret)
    }

    fn page(&mut self, from: u64, bodies: bool) -> Page {
        let rest = self.log.get(from as usize..).unwrap_or_default();
        // Small pages, so that there are several.
        let rest: Vec<Event> = rest.iter().take(3).cloned().collect();
        Page {
            from,
            ids: rest.iter().map(Event::id).collect(),
            events: rest
                .iter()
                .filter(|_| bodies)
                .map(|event| event.bytes().to_vec())
                .collect(),
            tip: self.tip(),
        }
    }

    fn answer(&mut self, request: Request) -> Response {
        self.requests.push(request.clone());
        match request {
            Request::Open { .. } => {
                let standing = match (self.hosted, self.live) {
                    (false, _) => Standing::NotHosted { may_open: true },
                    (true, true) => Standing::Live,
                    (true, false) => Standing::Unknown,
                };
                Response::Welcome(Welcome {
                    tip: (self.hosted && self.live).then(|| self.tip()),
                    permit: self.hosted.then_some(Permit([5; 16])),
                    standing,
                    doors: Doors::default(),
                    echo: None,
                })
            }
            Request::Pull { from, bodies } => Response::Page(self.page(from, bodies)),
            Request::Fetch(ids) => {
                let log = self.log.iter().filter(|event| ids.contains(&event.id()));
                Response::Events(log.map(|event| event.bytes().to_vec()).collect())
            }
            Request::Push(bytes) => {
                self.hosted = true;
                self.live = true;
                let events: Vec<Event> = bytes
                    .iter()
                    .map(|bytes| Event::decode(bytes).unwrap())
                    .collect();
                let stored = events.iter().map(Event::id).collect();
                for event in events {
                    if !self.log.iter().any(|known| known.id() == event.id()) {
                        self.log.push(event);
                    }
                }
                Response::Pushed(Pushed {
                    stored,
                    missing: Vec::new(),
                    refused: Vec::new(),
                    wait: 0,
                    tip: Some(self.tip()),
                })
            }
            Request::Leave(_) | Request::Reply { .. } => Response::Left(1),
        }
    }
}

/// Lets both talk until neither has anything to say; answers what else the session wants.
fn talk(
    session: &mut Session,
    first: Option<Request>,
    server: &mut Server,
    witness: &mut Witness,
    index: &mut Index,
    now: u64,
) -> Vec<Effect> {
    let mut done = Vec::new();
    let mut requests: Vec<Request> = first.into_iter().collect();
    if requests.is_empty() {
        for effect in session.tick(witness, index, now) {
            match effect {
                Effect::Send(request) => requests.push(request),
                effect => done.push(effect),
            }
        }
    }
    while let Some(request) = requests.pop() {
        let response = server.answer(request);
        for effect in session.receive(response, witness, index, now) {
            match effect {
                Effect::Send(request) => {
                    assert!(requests.is_empty(), "two questions at once");
                    requests.push(request);
                }
                Effect::Events(bytes) => {
                    let events = bytes.iter().map(|bytes| Event::decode(bytes).unwrap());
                    index.extend(events);
                    done.push(Effect::Events(bytes));
                }
                effect => done.push(effect),
            }
        }
    }
    done
}

fn ids(index: &Index) -> BTreeSet<EventId> {
    index.places().map(|(_, id)| id).collect()
}

fn at(server: &Server) -> BTreeSet<EventId> {
    server.log.iter().map(Event::id).collect()
}

fn ended(effects: &[Effect]) -> Option<End> {
    effects.iter().find_map(|effect| match effect {
        Effect::End(end) => Some(*end),
        _ => None,
    })
}

#[test]
fn a_network_that_is_not_hosted_is_pushed_from_its_genesis_and_opened_again() {
    let all = events(300);
    let mut index = index(&all);
    let mut server = Server::new(all[0].network(), &[]);
    let mut witness = server.witness();
    let (mut session, open) = Session::open(server.network, None, &witness, 0);
    let effects = talk(
        &mut session,
        Some(open),
        &mut server,
        &mut witness,
        &mut index,
        0,
    );
    assert_eq!(ended(&effects), Some(End::Again));
    assert_eq!(server.log, all, "in causal order");
    let (mut session, open) = Session::open(server.network, None, &witness, 0);
    let effects = talk(
        &mut session,
        Some(open),
        &mut server,
        &mut witness,
        &mut index,
        0,
    );
    assert!(session.is_live());
    assert!(matches!(
        effects[..],
        [Effect::Live {
            permit: Some(_),
            ..
        }]
    ));
    assert_eq!(witness.len(), 300);
    assert_eq!(session.unstored(), 0);
    assert!(witness.accusations().is_empty());
}

#[test]
fn without_the_right_to_it_is_not_hosted_and_says_so() {
    let all = events(2);
    let index = index(&all);
    let server = Server::new(all[0].network(), &[]);
    let mut witness = server.witness();
    let (mut session, _) = Session::open(server.network, None, &witness, 0);
    let welcome = Welcome {
        standing: Standing::NotHosted { may_open: false },
        tip: None,
        permit: None,
        doors: Doors::default(),
        echo: None,
    };
    let effects = session.receive(Response::Welcome(welcome), &mut witness, &index, 0);
    assert_eq!(ended(&effects), Some(End::Failed(Failure::NotHosting)));
}

#[test]
fn both_sides_get_what_they_lack_and_stay_the_same() {
    let all = events(40);
    // Both have the first ten; then each has others.
    let mut index = index(&all[..25]);
    let log: Vec<Event> = all[..10].iter().chain(&all[25..38]).cloned().collect();
    let mut server = Server::new(all[0].network(), &log);
    let mut witness = server.witness();
    let (mut session, open) = Session::open(server.network, None, &witness, 0);
    talk(
        &mut session,
        Some(open),
        &mut server,
        &mut witness,
        &mut index,
        0,
    );
    assert_eq!(ids(&index), at(&server));
    assert_eq!(ids(&index).len(), 38);
    // News of the server's, with the event.
    server.log.push(all[38].clone());
    let page = server.page(38, true);
    let effects = session.receive(Response::News(page), &mut witness, &index, 0);
    assert_eq!(effects, [Effect::Events(vec![all[38].bytes().to_vec()])]);
    index.extend([all[38].clone()]);
    session.added([&all[38]], &witness);
    // It goes back to where it came from no more; our own does.
    index.extend([all[39].clone()]);
    session.added([&all[39]], &witness);
    assert_eq!(session.unstored(), 1);
    let before = server.requests.len();
    let effects = talk(&mut session, None, &mut server, &mut witness, &mut index, 0);
    assert_eq!(effects, [Effect::Stored(vec![all[39].id()])]);
    assert_eq!(
        server.requests[before..],
        [
            Request::Push(vec![all[39].bytes().to_vec()]),
            Request::Pull {
                from: 39,
                bodies: false
            }
        ]
    );
    assert_eq!(at(&server).len(), 40);
    assert!(witness.accusations().is_empty());
}

#[test]
fn news_behind_a_gap_are_pulled_and_a_look_finds_what_was_kept_quiet() {
    let all = events(12);
    let mut index = index(&all[..5]);
    let mut server = Server::new(all[0].network(), &all[..5]);
    let mut witness = server.witness();
    let (mut session, open) = Session::open(server.network, None, &witness, 0);
    talk(
        &mut session,
        Some(open),
        &mut server,
        &mut witness,
        &mut index,
        0,
    );
    server.log = all[..9].to_vec();
    let page = server.page(8, true);
    let effects = session.receive(Response::News(page), &mut witness, &index, 0);
    let [Effect::Events(_), Effect::Send(pull)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(
        *pull,
        Request::Pull {
            from: 5,
            bodies: false
        }
    );
    talk(
        &mut session,
        Some(pull.clone()),
        &mut server,
        &mut witness,
        &mut index,
        0,
    );
    assert_eq!(ids(&index).len(), 9);
    server.log = all.clone();
    session.look();
    talk(&mut session, None, &mut server, &mut witness, &mut index, 0);
    assert_eq!(ids(&index).len(), 12);
}

#[test]
fn an_event_that_the_log_lists_and_a_fetch_omits_is_asked_for_alone_before_anybody_is_accused() {
    let all = events(6);
    let mut index = index(&all[..2]);
    let mut server = Server::new(all[0].network(), &all);
    let mut witness = server.witness();
    let (mut session, open) = Session::open(server.network, None, &witness, 0);
    let mut next = vec![open];
    let mut alone = 0;
    let mut end = None;
    while let Some(request) = next.pop() {
        let response = match &request {
            Request::Fetch(ids) => {
                alone += usize::from(ids.len() == 1);
                assert!(witness.accusations().is_empty());
                let given = all
                    .iter()
                    .filter(|e| ids.contains(&e.id()) && e.id() != all[3].id());
                Response::Events(given.map(|event| event.bytes().to_vec()).collect())
            }
            _ => server.answer(request),
        };
        for effect in session.receive(response, &mut witness, &index, 0) {
            match effect {
                Effect::Send(request) => next.push(request),
                Effect::Events(bytes) => {
                    index.extend(bytes.iter().map(|bytes| Event::decode(bytes).unwrap()));
                }
                Effect::End(why) => end = Some(why),
                _ => {}
            }
        }
    }
    assert_eq!((alone, end), (1, Some(End::Lied)));
    assert_eq!(witness.accusations()[0].what, Lie::Withheld);
    assert_eq!(ids(&index).len(), 5);
}

#[test]
fn a_server_that_asks_to_wait_is_left_alone_and_one_that_cannot_write_is_tried_again() {
    let all = events(6);
    let mut index = index(&all);
    let mut server = Server::new(all[0].network(), &all[..3]);
    let mut witness = server.witness();
    let (mut session, open) = Session::open(server.network, None, &witness, 0);
    let welcome = server.answer(open);
    let effects = session.receive(welcome, &mut witness, &index, 0);
    let Some(Effect::Send(pull)) = effects.last() else {
        panic!("{effects:?}");
    };
    let page = server.answer(pull.clone());
    let effects = session.receive(page, &mut witness, &index, 0);
    assert!(matches!(effects[..], [Effect::Send(Request::Push(_))]));
    let full = Response::Failed(Failure::Disk);
    assert_eq!(session.receive(full, &mut witness, &index, 0), []);
    assert_eq!(session.trouble(), Some(Failure::Disk));
    assert_eq!(session.unstored(), 3);
    let due = session.due().unwrap();
    assert_eq!(session.tick(&witness, &index, due - 1), []);
    let effects = session.tick(&witness, &index, due);
    assert!(matches!(effects[..], [Effect::Send(Request::Push(_))]));
    let waits = Response::Pushed(Pushed {
        stored: vec![all[3].id()],
        missing: Vec::new(),
        refused: vec![all[4].id()],
        wait: 5_000,
        tip: None,
    });
    let effects = session.receive(waits, &mut witness, &index, due);
    assert_eq!(effects, [Effect::Stored(vec![all[3].id()])]);
    assert_eq!(session.due(), Some(due + 5_000));
    assert_eq!(session.trouble(), None);
    // The refused one is not pushed again; the one that is left is.
    let effects = talk(
        &mut session,
        None,
        &mut server,
        &mut witness,
        &mut index,
        due + 5_000,
    );
    assert_eq!(effects, [Effect::Stored(vec![all[5].id()])]);
    assert!(session.refused().contains(&all[4].id()));
}

#[test]
fn a_server_that_takes_nothing_or_says_nothing_ends_the_session() {
    let all = events(3);
    let index = index(&all);
    let mut server = Server::new(all[0].network(), &all[..1]);
    let mut witness = server.witness();
    let (mut session, open) = Session::open(server.network, None, &witness, 0);
    let mut response = server.answer(open);
    let mut pushes = 0;
    let end = loop {
        let effects = session.receive(response, &mut witness, &index, 0);
        if let Some(end) = ended(&effects) {
            break end;
        }
        response = match effects.last() {
            Some(Effect::Send(Request::Push(_))) => {
                pushes += 1;
                assert!(pushes < 10);
                Response::Pushed(Pushed {
                    stored: Vec::new(),
                    missing: vec![all[0].id()],
                    refused: Vec::new(),
                    wait: 0,
                    tip: None,
                })
            }
            Some(Effect::Send(request)) => server.answer(request.clone()),
            other => panic!("{other:?}"),
        };
    };
    assert_eq!(end, End::Stalled);
    let (mut silent, _) = Session::open(server.network, None, &witness, 5);
    assert_eq!(silent.due(), Some(5 + SILENCE));
    assert_eq!(silent.tick(&witness, &index, 4 + SILENCE), []);
    let effects = silent.tick(&witness, &index, 5 + SILENCE);
    assert_eq!(effects, [Effect::End(End::Silent)]);
    assert_eq!(silent.due(), None);
}

#[test]
fn a_removed_device_is_handed_the_proof_and_nothing_else() {
    let all = events(3);
    let index = index(&all[..1]);
    let server = Server::new(all[0].network(), &all);
    let mut witness = server.witness();
    let (mut session, _) = Session::open(server.network, None, &witness, 0);
    let removed = Response::Refused(Refusal::Removed);
    let effects = session.receive(removed, &mut witness, &index, 0);
    assert_eq!(effects, [Effect::Removed(Vec::new())]);
    for event in &all {
        let proof = vec![event.bytes().to_vec()];
        let effects = session.receive(Response::Events(proof.clone()), &mut witness, &index, 0);
        assert_eq!(effects, [Effect::Removed(proof)]);
    }
    let effects = session.tick(&witness, &index, SILENCE);
    assert_eq!(effects, [Effect::End(End::Silent)]);
}

#[test]
fn a_reply_goes_out_once_the_admission_is_stored() {
    let all = events(4);
    let mut index = index(&all[..3]);
    let mut server = Server::new(all[0].network(), &all[..3]);
    let mut witness = server.witness();
    let (mut session, open) = Session::open(server.network, None, &witness, 0);
    talk(
        &mut session,
        Some(open),
        &mut server,
        &mut witness,
        &mut index,
        0,
    );
    let letter = Letter {
        id: 7,
        from: DeviceId([1; 32]),
        invite: InviteKey([2; 32]),
        body: vec![1],
    };
    let letters = Response::Letters(vec![letter.clone()]);
    let effects = session.receive(letters, &mut witness, &index, 0);
    assert_eq!(effects, [Effect::Letters(vec![letter])]);
    session.reply(7, Some(all[3].id()), vec![9]);
    assert_eq!(session.tick(&witness, &index, 0), [], "not stored yet");
    index.extend([all[3].clone()]);
    session.added([&all[3]], &witness);
    let before = server.requests.len();
    talk(&mut session, None, &mut server, &mut witness, &mut index, 0);
    let said = &server.requests[before..];
    assert!(matches!(said[0], Request::Push(_)));
    assert_eq!(
        said[said.len() - 1],
        Request::Reply {
            letter: 7,
            body: vec![9]
        }
    );
}

#[test]
fn what_does_not_belong_here_ends_the_session() {
    let all = events(1);
    let index = index(&all);
    let mut server = Server::new(all[0].network(), &all);
    let page = server.page(0, false);
    for response in [
        Response::Page(page.clone()),
        Response::News(page),
        Response::Letters(Vec::new()),
        Response::Left(1),
        Response::Events(Vec::new()),
    ] {
        let mut witness = server.witness();
        let (mut session, _) = Session::open(server.network, None, &witness, 0);
        let effects = session.receive(response, &mut witness, &index, 0);
        assert_eq!(effects, [Effect::End(End::Protocol)]);
    }
}

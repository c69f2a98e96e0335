//! Any bytes are a message or an error, of sync and of the conversation with a server. Whatever a member says in whatever
//! order, a session stands it, sends only what the other can read, and afterwards still brings both sides to one set.
#![no_main]

use std::collections::{BTreeSet, VecDeque};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mesh_ledger::event::Event;
use mesh_ledger::ids::{DeviceId, EventId, NetworkId};
use mesh_ledger::mirror::letter::{self, Way};
use mesh_ledger::mirror::tip::contradiction;
use mesh_ledger::mirror::{Request, Response};
use mesh_ledger::wire::{Index, Message, Sync};
use mesh_ledger_fuzz::{network, sign, split};

/// What there is to know: the network, and events of many kinds and lamports on top of it.
static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| {
    let mut events = network();
    for n in 0..60u8 {
        let kind = [0, 2, 7, 10, 14][usize::from(n) % 5];
        events.extend(sign(&events, &[n, kind, n, n, n % 7, n % 3, 0]));
    }
    events
});

static KNOWN: LazyLock<BTreeSet<EventId>> =
    LazyLock::new(|| EVENTS.iter().map(Event::id).collect());
/// What each side knows at first, by the rest that its events leave: all but every third, and all but every fifth.
static HERE: LazyLock<Vec<Vec<Event>>> = LazyLock::new(|| parts(3, 0));
static THERE: LazyLock<Vec<Vec<Event>>> = LazyLock::new(|| parts(5, 1));

/// What those have who lack every n-th event, from each place on, but have the first ones.
fn parts(n: usize, first: usize) -> Vec<Vec<Event>> {
    let part = |lacks: usize| {
        let events = EVENTS.iter().enumerate();
        let has = events.filter(|(at, _)| at % n != lacks || *at < first);
        has.map(|(_, event)| event.clone()).collect()
    };
    (0..n).map(part).collect()
}

struct Side {
    index: Index,
    sync: Sync,
    inbox: VecDeque<Vec<u8>>,
}

impl Side {
    fn new(parts: &[Vec<Event>], seed: u8) -> Self {
        let mut index = Index::new();
        index.extend(parts[usize::from(seed) % parts.len()].iter().cloned());
        Self {
            index,
            sync: Sync::new(),
            inbox: VecDeque::new(),
        }
    }

    /// Takes one message; what it answers, encoded.
    fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let Ok(message) = Message::decode(bytes) else {
            return Vec::new();
        };
        let again = Message::decode(&message.encode());
        assert_eq!(again.as_ref().ok(), Some(&message));
        let step = self.sync.receive(message, &self.index);
        let known = step
            .events
            .iter()
            .filter_map(|bytes| Event::decode_unverified(bytes).ok())
            // The gate, in short: only what belongs here.
            .filter(|event| KNOWN.contains(&event.id()));
        self.index.extend(known.collect::<Vec<_>>());
        let answers: Vec<Vec<u8>> = step.send.iter().map(Message::encode).collect();
        for answer in &answers {
            assert!(Message::decode(answer).is_ok());
        }
        answers
    }
}

fuzz_target!(|bytes: &[u8]| {
    conversation(bytes);
    let Some((seed, rest)) = bytes.split_first() else {
        return;
    };
    // Each side knows a part.
    let mut here = Side::new(&HERE, *seed);
    let mut there = Side::new(&THERE, *seed);
    there.inbox.extend(encoded(here.sync.start(&here.index)));
    if seed % 2 == 0 {
        here.inbox.extend(encoded(there.sync.start(&there.index)));
    }
    // An honest exchange into which noise falls, on both sides.
    for part in split(rest).take(256) {
        match part.split_first() {
            None | Some((0, _)) => turn(&mut here, &mut there),
            Some((1, _)) => turn(&mut there, &mut here),
            Some((2, noise)) => there.inbox.extend(here.take(noise)),
            Some((_, noise)) => here.inbox.extend(there.take(noise)),
        }
    }
    // The next connection begins anew, and nothing of all this stands in its way.
    here = Side {
        sync: Sync::new(),
        inbox: VecDeque::new(),
        ..here
    };
    there = Side {
        sync: Sync::new(),
        inbox: VecDeque::new(),
        ..there
    };
    there.inbox.extend(encoded(here.sync.start(&here.index)));
    for _ in 0..10_000 {
        if here.inbox.is_empty() && there.inbox.is_empty() {
            break;
        }
        turn(&mut here, &mut there);
        turn(&mut there, &mut here);
    }
    assert!(here.sync.is_idle() && there.sync.is_idle());
    assert!(here.index.events().eq(there.index.events()));
});

/// One side reads one message.
fn turn(reader: &mut Side, writer: &mut Side) {
    if let Some(bytes) = reader.inbox.pop_front() {
        let answers = reader.take(&bytes);
        writer.inbox.extend(answers);
    }
}

fn encoded(messages: Vec<Message>) -> Vec<Vec<u8>> {
    messages.iter().map(Message::encode).collect()
}

/// What devices and servers say to each other, and what they leave for each other.
fn conversation(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes)
        && let Ok(encoded) = request.encode()
    {
        assert_eq!(Request::decode(&encoded[4..]), Ok(request));
    }
    if let Ok(response) = Response::decode(bytes)
        && let Ok(encoded) = response.encode()
    {
        if let Response::Page(page) | Response::News(page) = &response {
            assert_eq!(contradiction(&page.tip, &page.tip), None);
            let _ = page.tip.is_genuine();
        }
        assert_eq!(Response::decode(&encoded[4..]), Ok(response));
    }
    let (network, joiner) = (NetworkId([1; 32]), DeviceId([2; 32]));
    for way in [Way::Redemption, Way::Reply] {
        assert!(letter::open(&[9; 32], &network, &joiner, way, bytes).is_err());
    }
    let sealed = letter::seal(&[9; 32], &network, &joiner, Way::Reply, bytes);
    if let Some(sealed) = sealed {
        let opened = letter::open(&[9; 32], &network, &joiner, Way::Reply, &sealed);
        assert!(opened.is_ok_and(|opened| opened.as_slice() == bytes));
    }
}

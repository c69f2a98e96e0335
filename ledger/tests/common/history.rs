//! Random histories: several replicas that act, sync and split; mostly sensible or mostly hostile.

use mesh_ledger::event::Event;
use mesh_ledger::event::act::{InviteKind, Target};
use mesh_ledger::event::attributes::{
    Audience, Joining, NarrowOffer, Offer, Server, Service, Write,
};
use mesh_ledger::fold::Fold;
use mesh_ledger::ids::{EpochId, EventId, WgKey};
use mesh_ledger::keys::RecoverySecret;

use super::{Person, Side, Ticket, World, label, tcp, v4, words};

/// A small generator of numbers with a seed (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to n - 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }

    pub fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }
}

pub struct History {
    pub world: World,
    pub sides: Vec<Side>,
    pub people: Vec<Person>,
    pub dice: Dice,
    old: Vec<Side>,
    tickets: Vec<Ticket>,
    grants: Vec<(EventId, Person)>,
    words: Vec<RecoverySecret>,
    /// Events that wrote a register of the author's own.
    offers: Vec<EventId>,
    hostile: usize,
    /// Whether the present step asks what may be done.
    sensible: bool,
}

/// The last two are so long that a number cuts them: the numbered forms of either are forms of the other too.
const HOSTS: [&str; 6] = [
    "laptop",
    "phone",
    "bob",
    "bob-2",
    "a-device-with-a-name-that-is-as-long-as-names-can-be-in-here-01",
    "a-device-with-a-name-that-is-as-long-as-names-can-be-in-here-02",
];

impl History {
    /// A history of at least so many events; `hostile` is the share in percent of steps taken without asking whether they may
    /// be.
    pub fn new(seed: u64, events: usize, hostile: usize) -> Self {
        let (world, side) = World::with_subnet("owner", "10.0.0.0/28");
        let mut history = Self {
            people: vec![world.owner.clone()],
            words: vec![world.words.clone()],
            world,
            old: vec![side.clone()],
            sides: vec![side; 3],
            dice: Dice(seed),
            tickets: Vec::new(),
            grants: Vec::new(),
            offers: Vec::new(),
            hostile,
            sensible: false,
        };
        // A step may find nothing to do.
        for _ in 0..10 * events {
            if history.world.graph.len() >= events {
                break;
            }
            history.step();
        }
        let written = history.world.graph.len();
        assert!(written >= events, "a history of {written} events");
        history
    }

    fn step(&mut self) {
        let here = self.dice.below(self.sides.len());
        if self.dice.percent(30) {
            let there = self.dice.below(self.sides.len());
            let other = self.sides[there].clone();
            self.sides[here].learn(&self.world, &other);
        }
        self.sensible = !self.dice.percent(self.hostile);
        // Another try where somebody else might know more.
        if self.sensible && (here..here + 3).any(|n| self.sensible_step(n % 3)) {
            return;
        }
        // Or where nobody is left who may do anything.
        self.sensible = false;
        self.hostile_step(here);
    }

    /// Anybody, from anywhere in the past, does anything.
    fn hostile_step(&mut self, here: usize) {
        let mut side = if self.dice.percent(50) {
            self.old[self.dice.below(self.old.len())].clone()
        } else {
            self.sides[here].clone()
        };
        let who = self.dice.below(self.people.len());
        let who = self.people[who].clone();
        let what = self.dice.below(22);
        self.act(&mut side, &who, what);
        if self.dice.percent(60) {
            let late = side.clone();
            self.sides[here].learn(&self.world, &late);
        }
        self.old.push(side);
    }

    /// Somebody does what he may, as far as he knows. `false`: there is nobody.
    fn sensible_step(&mut self, here: usize) -> bool {
        let fold = self.world.fold();
        let what = [
            0, 0, 2, 3, 4, 4, 4, 5, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 17, 18, 19, 19,
            19,
        ];
        let what = match what[self.dice.below(what.len())] {
            // People are thrown out more seldom than they write something, or nothing grows.
            8..=10 if self.dice.percent(65) => 19,
            what => what,
        };
        if self.dice.percent(60) {
            for there in self.sides.clone() {
                self.sides[here].learn(&self.world, &there);
            }
        }
        let Some(who) = self.somebody(here, &fold, matches!(what, 0..=3 | 8..=13)) else {
            return false;
        };
        let mut side = self.sides[here].clone();
        self.act(&mut side, &who, what);
        self.sides[here] = side.clone();
        self.old.push(side);
        true
    }

    /// Somebody whose admission this side knows; an admin if asked for.
    fn somebody(&mut self, here: usize, fold: &Fold, admin: bool) -> Option<Person> {
        let places: Vec<_> = self.sides[here]
            .0
            .iter()
            .map(|id| self.world.idx(*id))
            .collect();
        let past = self.world.graph.past_of(&places);
        let able: Vec<Person> = self
            .people
            .iter()
            .filter(|person| {
                fold.state
                    .devices
                    .get(&person.device_id())
                    .is_some_and(|device| {
                        device.user == person.id()
                            && self.world.graph.within(self.world.idx(device.event), &past)
                            && (!admin || fold.authority.is_admin(&device.user))
                    })
            })
            .cloned()
            .collect();
        self.dice.pick(&able).cloned()
    }

    fn joining(&mut self, person: &Person) -> Joining {
        Joining {
            host: label(HOSTS[self.dice.below(HOSTS.len())]),
            address: self.dice.percent(70).then(|| v4(self.dice.below(18) as u8)),
            ..person.joining()
        }
    }

    fn newcomer(&mut self) -> Person {
        let n = self.people.len();
        if n > 14 || self.dice.percent(15) {
            let old = self.dice.below(n);
            return self.people[old].clone();
        }
        let person = if self.dice.percent(self.hostile / 4) {
            // Somebody's device under another user's key.
            let (a, b) = (self.dice.below(n), self.dice.below(n));
            Person {
                user: self.people[a].user.clone(),
                ..self.people[b].clone()
            }
        } else {
            Person::new(&format!("p{n}"))
        };
        self.people.push(person.clone());
        person
    }

    fn other(&mut self) -> Person {
        self.people[self.dice.below(self.people.len())].clone()
    }

    fn victim(&mut self) -> Person {
        let person = self.other();
        if self.sensible && person.id() == self.world.owner.id() {
            // Who removes the owner's only device has no network left to be sensible in.
            let owner = self.world.owner.id();
            let others = self.people.iter().filter(|one| one.id() != owner);
            let others: Vec<Person> = others.cloned().collect();
            return self.dice.pick(&others).cloned().unwrap_or(person);
        }
        person
    }

    /// A ticket; a sensible sponsor takes one that should work.
    fn ticket(&mut self, side: &Side) -> Option<Ticket> {
        if !self.sensible {
            return self.dice.pick(&self.tickets).cloned();
        }
        let places: Vec<_> = side.0.iter().map(|id| self.world.idx(*id)).collect();
        let past = self.world.graph.past_of(&places);
        let invites = self.world.fold().authority.invites;
        let good: Vec<Ticket> = self
            .tickets
            .iter()
            .filter(|ticket| {
                self.world
                    .graph
                    .within(self.world.idx(ticket.invite), &past)
                    && invites.get(&ticket.invite).is_some_and(|invite| {
                        invite.closed.is_none()
                            && invite.used < invite.max_uses
                            && !invite.countersign
                            && !matches!(invite.kind, InviteKind::Direct(_))
                    })
            })
            .cloned()
            .collect();
        self.dice.pick(&good).cloned()
    }

    /// Something this side knew before, to cut at.
    fn earlier(&mut self, side: &Side) -> Option<Side> {
        let heads: Vec<_> = side.0.iter().map(|id| self.world.idx(*id)).collect();
        let past = self.world.graph.past_of(&heads);
        let within = |old: &&Side| {
            old.0
                .iter()
                .all(|id| self.world.graph.within(self.world.idx(*id), &past))
        };
        let all: Vec<Side> = self.old.iter().filter(within).cloned().collect();
        self.dice.pick(&all).cloned()
    }

    fn act(&mut self, side: &mut Side, who: &Person, what: usize) {
        match what {
            0 | 1 => {
                let kind = match self.dice.below(6) {
                    0 => InviteKind::Direct(self.other().id()),
                    1 => InviteKind::Open,
                    _ => InviteKind::Bearer,
                };
                let (uses, countersign) = (1 + self.dice.below(3) as u32, self.dice.percent(10));
                let expires = 50 + self.dice.below(100) as u64;
                let ticket =
                    self.world
                        .invite_as(side, who, kind, uses, expires, countersign, &["staff"]);
                self.tickets.push(ticket);
            }
            2 => {
                let joiner = self.newcomer();
                let joining = self.joining(&joiner);
                self.world.admit_with(side, who, &joiner, None, 0, joining);
            }
            3 => {
                let to = self.victim();
                if self.sensible && to.id() == who.id() {
                    return;
                }
                let grant = self.world.grant(side, who, &to);
                self.grants.push((grant, to));
            }
            4..=7 => {
                let Some(ticket) = self.ticket(side) else {
                    return;
                };
                let joiner = self.newcomer();
                let joining = self.joining(&joiner);
                let at = if self.sensible {
                    0
                } else {
                    self.dice.below(110) as u64
                };
                self.world
                    .admit_with(side, who, &joiner, Some(&ticket), at, joining);
            }
            8 => {
                let target = self.victim();
                let closes: Vec<EventId> = self
                    .dice
                    .pick(&self.tickets)
                    .map(|ticket| ticket.invite)
                    .filter(|_| !self.sensible)
                    .into_iter()
                    .collect();
                let cut = self.cut(side);
                let target = Target::User(target.id());
                self.world.remove(side, who, target, cut.as_ref(), &closes);
            }
            9 => {
                let target = Target::Device(self.victim().device_id());
                let cut = self.cut(side);
                self.world.remove(side, who, target, cut.as_ref(), &[]);
            }
            10 => {
                if let Some((grant, holder)) = self.dice.pick(&self.grants).cloned() {
                    let cut = self.cut(side);
                    self.world.revoke(side, who, &holder, grant, cut.as_ref());
                }
            }
            11 => {
                if let Some(ticket) = self.dice.pick(&self.tickets).cloned() {
                    self.world.close(side, who, &ticket);
                }
            }
            12 => {
                let time = if self.sensible {
                    0
                } else {
                    self.dice.below(150) as u64
                };
                self.world.checkpoint(side, who, time);
            }
            13 => {
                let user = self.other();
                let write = match self.dice.below(6) {
                    0 => Write::Tag {
                        user: user.id(),
                        tag: label("staff"),
                        set: self.dice.percent(70),
                    },
                    1 => Write::Setting {
                        key: label(HOSTS[self.dice.below(2)]),
                        value: self
                            .dice
                            .percent(70)
                            .then(|| HOSTS[self.dice.below(4)].parse().unwrap()),
                    },
                    2 => Write::Approval {
                        device: user.device_id(),
                        slot: 1,
                        offer: self.offers.last().copied().unwrap_or(EventId([0; 32])),
                        approved: self.dice.percent(70),
                    },
                    3 if self.dice.percent(50) => Write::Servers(vec![Server {
                        key: [self.dice.below(3) as u8; 32],
                        address: "mesh.example:443".parse().unwrap(),
                    }]),
                    3 | 4 => Write::Address {
                        device: user.device_id(),
                        address: v4(1 + self.dice.below(14) as u8),
                    },
                    _ => Write::Host {
                        device: user.device_id(),
                        host: label(HOSTS[self.dice.below(HOSTS.len())]),
                    },
                };
                self.world.write(side, who, vec![write]);
            }
            14 if self.dice.percent(30) => {
                self.world.kick(side, who, who);
            }
            14 => {
                let epoch = 10 + self.dice.below(20) as u8;
                if self.dice.percent(40) {
                    self.world.hand_keys(side, who, epoch);
                } else {
                    self.world.rotate(side, who, epoch);
                }
            }
            15 if self.dice.percent(40) => {
                let cut = self.earlier(side);
                let device = self.other();
                self.world.remove_own(side, who, &device, cut.as_ref());
            }
            15 if self.dice.percent(30) => {
                let Some(cut) = self.earlier(side) else {
                    return;
                };
                let to = self.other();
                let with = self.dice.below(self.words.len());
                let next = words(&format!("words {}", self.words.len()));
                let with = self.words[with].clone();
                self.world.hand_over(side, who, &to, &with, &next, &cut);
                self.words.push(next);
            }
            15 | 16 => {
                let n = self.people.len();
                let device = Person {
                    user: who.user.clone(),
                    ..Person::new(&format!("d{n}"))
                };
                if n < 20 {
                    self.people.push(device.clone());
                }
                self.world.add_device(side, &device);
            }
            17 | 18 => {
                let device = if self.sensible || self.dice.percent(50) {
                    who.clone()
                } else {
                    self.other()
                };
                let port = 1 + self.dice.below(1000) as u16;
                self.world.offer(side, who, &device, port);
            }
            19 => {
                let writes = [
                    Write::Host {
                        device: who.device_id(),
                        host: label(HOSTS[self.dice.below(HOSTS.len())]),
                    },
                    Write::Name {
                        user: who.id(),
                        name: label(HOSTS[self.dice.below(HOSTS.len())]),
                    },
                    Write::WireGuard {
                        device: who.device_id(),
                        key: WgKey([self.dice.below(9) as u8; 32]),
                    },
                    Write::Offer {
                        device: who.device_id(),
                        slot: 1,
                        offer: match self.dice.below(3) {
                            0 => None,
                            1 => Some(Offer {
                                what: Service::Exit { v4: true, v6: true },
                                ..tcp(1, Audience::Everyone)
                            }),
                            _ => Some(tcp(1, Audience::Everyone)),
                        },
                    },
                    Write::Narrow {
                        device: who.device_id(),
                        slot: self.dice.below(2) as u32,
                        offer: NarrowOffer {
                            key: EpochId([self.dice.below(9) as u8; 32]),
                            sealed: vec![self.dice.below(9) as u8; 24 + 128 + 16],
                        },
                    },
                ];
                let one = self.dice.below(writes.len());
                let mut writes = vec![writes[one].clone()];
                if self.dice.percent(20) {
                    // Several in one event, of one register too.
                    writes.push(Write::Host {
                        device: who.device_id(),
                        host: label(HOSTS[self.dice.below(HOSTS.len())]),
                    });
                    writes.push(Write::Name {
                        user: who.id(),
                        name: label(HOSTS[self.dice.below(HOSTS.len())]),
                    });
                    writes.extend(writes.clone().into_iter().take(1));
                }
                let offer = self.world.write(side, who, writes);
                self.offers.push(offer);
            }
            _ => {
                self.world.merge(side, who);
            }
        }
    }

    fn cut(&mut self, side: &Side) -> Option<Side> {
        if self.dice.percent(if self.sensible { 80 } else { 50 }) {
            return None;
        }
        self.earlier(side)
    }

    /// All events in a random order in which parents come first.
    pub fn shuffled(&mut self) -> Vec<Event> {
        let graph = &self.world.graph;
        let all: Vec<Event> = graph
            .indices()
            .map(|idx| graph.event(idx).clone())
            .collect();
        self.shuffle(&all)
    }

    /// These events, which hold their own past, in a random order in which parents come first.
    pub fn shuffle(&mut self, events: &[Event]) -> Vec<Event> {
        let mut waiting: Vec<&Event> = events.iter().collect();
        let mut done = std::collections::BTreeSet::new();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let ready: Vec<usize> = (0..waiting.len())
                .filter(|n| {
                    let parents = &waiting[*n].header().parents;
                    parents.iter().all(|id| done.contains(id))
                })
                .collect();
            let event = waiting.swap_remove(ready[self.dice.below(ready.len())]);
            done.insert(event.id());
            order.push(event.clone());
        }
        order
    }

    /// A random set of events with all that lies in their past.
    pub fn some(&mut self) -> Vec<Event> {
        let graph = &self.world.graph;
        let all: Vec<_> = graph.indices().collect();
        let heads: Vec<_> = (0..1 + self.dice.below(3))
            .filter_map(|_| self.dice.pick(&all).copied())
            .collect();
        let past = graph.past_of(&heads);
        all.into_iter()
            .filter(|idx| graph.within(*idx, &past))
            .map(|idx| graph.event(idx).clone())
            .collect()
    }
}

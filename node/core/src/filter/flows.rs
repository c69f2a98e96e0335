//! The bounded tables of the filter: flows that this host opened, and things merely noted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::packet::TcpFlags;

/// The ends of a flow as seen from this host, but for the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flow {
    Tcp { local: u16, remote: u16 },
    Udp { local: u16, remote: u16 },
    Echo { id: u16 },
}

/// What names a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    flow: Flow,
    local: IpAddr,
    remote: IpAddr,
}

impl Key {
    pub(super) const fn new(flow: Flow, local: IpAddr, remote: IpAddr) -> Self {
        Self {
            flow,
            local,
            remote,
        }
    }
}

/// How far a flow has come; it decides how long it may be quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// TCP: a SYN went out, nothing came back.
    Asked,
    /// TCP: both sides have spoken.
    Running,
    /// TCP: one or both sides have said they are done (ours, theirs).
    Closing(bool, bool),
    /// TCP: reset.
    Dead,
    /// UDP and echo.
    Stateless,
}

#[derive(Clone, Copy, Debug)]
struct State {
    seen: Duration,
    stage: Stage,
}

/// The flows that this host opened to one peer.
#[derive(Debug)]
pub(super) struct Flows {
    table: BTreeMap<Key, State>,
    most: usize,
}

impl Flows {
    pub(super) const fn new(most: usize) -> Self {
        Self {
            table: BTreeMap::new(),
            most,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Opens a flow, or notes that it was used.
    pub(super) fn open(&mut self, key: Key, now: Duration) {
        self.insert(
            key,
            State {
                seen: now,
                stage: Stage::Stateless,
            },
        );
    }

    /// Notes that a flow was used, if it is open.
    pub(super) fn touch(&mut self, key: &Key, now: Duration) -> bool {
        self.live(key, now).map(|state| state.seen = now).is_some()
    }

    /// Whether a flow is open.
    pub(super) fn holds(&self, key: &Key, now: Duration) -> bool {
        self.table
            .get(key)
            .is_some_and(|state| !expired(key, state, now))
    }

    /// A TCP segment from this host: opens a flow if it is a SYN, and moves an open one along.
    pub(super) fn outward_tcp(&mut self, key: Key, flags: TcpFlags, now: Duration) {
        if flags.opens() {
            self.insert(
                key,
                State {
                    seen: now,
                    stage: Stage::Asked,
                },
            );
        } else if let Some(state) = self.live(&key, now) {
            state.advance(flags, true, now);
        }
    }

    /// A TCP segment from the peer: whether it belongs to an open flow, which it moves along.
    pub(super) fn inward_tcp(&mut self, key: &Key, flags: TcpFlags, now: Duration) -> bool {
        self.live(key, now)
            .map(|state| state.advance(flags, false, now))
            .is_some()
    }

    fn live(&mut self, key: &Key, now: Duration) -> Option<&mut State> {
        self.table
            .get_mut(key)
            .filter(|state| !expired(key, state, now))
    }

    fn insert(&mut self, key: Key, state: State) {
        if self.table.len() >= self.most && !self.table.contains_key(&key) {
            self.make_room(state.seen);
        }
        self.table.insert(key, state);
    }

    /// Removes what has expired, and if that is not enough the eighth that has been quiet longest, so that a full table
    /// costs its owner little per new flow.
    fn make_room(&mut self, now: Duration) {
        self.table.retain(|key, state| !expired(key, state, now));
        let keep = self.most - self.most.div_ceil(8);
        if self.table.len() > keep {
            let mut seen: Vec<Duration> = self.table.values().map(|state| state.seen).collect();
            let surplus = seen.len() - keep;
            let (_, newest_to_go, _) = seen.select_nth_unstable(surplus - 1);
            let newest_to_go = *newest_to_go;
            let mut left = surplus;
            self.table.retain(|_, state| {
                let goes = left > 0 && state.seen <= newest_to_go;
                left -= usize::from(goes);
                !goes
            });
        }
    }
}

impl State {
    fn advance(&mut self, flags: TcpFlags, ours: bool, now: Duration) {
        self.seen = now;
        self.stage = match self.stage {
            Stage::Dead => Stage::Dead,
            _ if flags.has(TcpFlags::RST) => Stage::Dead,
            Stage::Closing(we, they) => {
                let fin = flags.has(TcpFlags::FIN);
                Stage::Closing(we || (fin && ours), they || (fin && !ours))
            }
            _ if flags.has(TcpFlags::FIN) => Stage::Closing(ours, !ours),
            Stage::Asked if ours => Stage::Asked,
            _ => Stage::Running,
        };
    }
}

fn expired(key: &Key, state: &State, now: Duration) -> bool {
    let quiet = match (key.flow, state.stage) {
        (Flow::Echo { .. }, _) => ECHO_QUIET,
        (_, Stage::Stateless) => UDP_QUIET,
        (_, Stage::Asked | Stage::Closing(true, true)) => TCP_EDGE,
        (_, Stage::Dead) => TCP_DEAD,
        (_, Stage::Running | Stage::Closing(..)) => TCP_QUIET,
    };
    now.saturating_sub(state.seen) > quiet
}

/// Things noted for a while after their last use, at most so many at a time.
#[derive(Debug)]
pub(super) struct Bound<K> {
    table: BTreeMap<K, Duration>,
    most: usize,
    quiet: Duration,
}

impl<K: Ord> Bound<K> {
    pub(super) const fn new(most: usize, quiet: Duration) -> Self {
        Self {
            table: BTreeMap::new(),
            most,
            quiet,
        }
    }

    /// Notes a thing; false if there is no room for it.
    pub(super) fn note(&mut self, key: K, now: Duration) -> bool {
        if self.table.len() >= self.most && !self.table.contains_key(&key) {
            let quiet = self.quiet;
            self.table
                .retain(|_, seen| now.saturating_sub(*seen) <= quiet);
            if self.table.len() >= self.most {
                return false;
            }
        }
        self.table.insert(key, now);
        true
    }

    /// Whether the thing is noted.
    pub(super) fn holds(&self, key: &K, now: Duration) -> bool {
        self.table
            .get(key)
            .is_some_and(|seen| now.saturating_sub(*seen) <= self.quiet)
    }

    /// Whether the thing is noted, and if so, that it was used now.
    pub(super) fn touch(&mut self, key: &K, now: Duration) -> bool {
        let quiet = self.quiet;
        self.table
            .get_mut(key)
            .filter(|seen| now.saturating_sub(**seen) <= quiet)
            .map(|seen| *seen = now)
            .is_some()
    }
}

/// As long as Linux keeps an established connection, so that both filters agree.
pub(super) const TCP_QUIET: Duration = Duration::from_secs(5 * 24 * 3600);
/// A connection that is being opened, or that both sides have closed.
pub(super) const TCP_EDGE: Duration = Duration::from_secs(120);
/// A connection that was reset.
pub(super) const TCP_DEAD: Duration = Duration::from_secs(10);
pub(super) const UDP_QUIET: Duration = Duration::from_secs(180);
pub(super) const ECHO_QUIET: Duration = Duration::from_secs(30);

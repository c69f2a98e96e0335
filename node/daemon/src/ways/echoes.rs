//! Asking servers where this device's datagrams come from, often enough that a router keeps the way in open.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mesh_core::path::Seen;
use mesh_ledger::ids::ServerKey;
use mesh_ledger::mirror::{Echo, echo};

use crate::random;

/// How often each port of a server is asked: routers forget what was quiet for 30 seconds.
const EVERY: Duration = Duration::from_secs(20);
/// How soon again, while no answer comes.
const RETRY: Duration = Duration::from_millis(500);
/// So many questions in a row without an answer are repeated soon.
const TRIES: u32 = 5;
/// The most addresses of one server that are asked: one of each family.
const FAMILIES: usize = 2;

/// See the module.
#[derive(Default)]
pub(super) struct Echoes {
    asked: BTreeMap<(ServerKey, IpAddr, u8), Asked>,
}

struct Asked {
    echo: Echo,
    due: Duration,
    /// The open question's number and when it was asked.
    open: Option<(u64, Duration)>,
    misses: u32,
    rtt: Option<Duration>,
}

impl Echoes {
    /// Takes what a server said in its welcome.
    pub(super) fn add(
        &mut self,
        server: ServerKey,
        addresses: &[IpAddr],
        echo: Echo,
        now: Duration,
    ) {
        self.remove(&server);
        let of = |v4: bool| addresses.iter().find(|ip| ip.is_ipv4() == v4);
        let chosen = [of(true), of(false)].into_iter().flatten().take(FAMILIES);
        for address in chosen {
            for port in 0..2u8 {
                let asked = Asked {
                    echo,
                    due: now,
                    open: None,
                    misses: 0,
                    rtt: None,
                };
                self.asked.insert((server, *address, port), asked);
            }
        }
    }

    /// Asks a server no more.
    pub(super) fn remove(&mut self, server: &ServerKey) {
        self.asked.retain(|(key, ..), _| key != server);
    }

    /// Asks all of them now.
    pub(super) fn soon(&mut self, now: Duration) {
        for asked in self.asked.values_mut() {
            asked.due = now;
            asked.misses = 0;
        }
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.asked.values().map(|asked| asked.due).min()
    }

    /// The questions that are due, and where to.
    pub(super) fn due(&mut self, now: Duration) -> Vec<(SocketAddr, [u8; echo::LENGTH])> {
        let mut questions = Vec::new();
        for ((_, address, port), asked) in &mut self.asked {
            if now < asked.due {
                continue;
            }
            if asked.open.is_some() {
                asked.misses += 1;
                asked.rtt = asked.rtt.filter(|_| asked.misses < TRIES);
            }
            asked.due = now + if asked.misses < TRIES { RETRY } else { EVERY };
            let Ok(nonce) = random::bytes().map(u64::from_be_bytes) else {
                continue;
            };
            asked.open = Some((nonce, now));
            let [first, second] = asked.echo.ports;
            let to = SocketAddr::new(*address, if *port == 0 { first } else { second });
            questions.push((to, asked.echo.ask(nonce)));
        }
        questions
    }

    /// Takes an answer: who saw this device, and where.
    pub(super) fn heard(&mut self, datagram: &[u8], now: Duration) -> Option<(Seen, SocketAddr)> {
        let (token, number) = echo::names(datagram)?;
        let ((server, _, port), asked) = self.asked.iter_mut().find(|(_, asked)| {
            asked.echo.token == token && asked.open.is_some_and(|(nonce, _)| nonce == number)
        })?;
        let seen = asked.echo.heard(datagram, number)?;
        let (_, at) = asked.open.take()?;
        asked.rtt = Some(now.saturating_sub(at));
        asked.misses = 0;
        asked.due = now + EVERY;
        // Each family has its own witnesses.
        let witness = if seen.is_ipv4() { *port } else { *port + 2 };
        Some((Seen::Server(*server, witness), seen))
    }

    /// The quickest answer of each server.
    pub(super) fn report(&self) -> BTreeMap<ServerKey, Option<Duration>> {
        let mut report: BTreeMap<ServerKey, Option<Duration>> = BTreeMap::new();
        for ((server, ..), asked) in &self.asked {
            let best = report.entry(*server).or_default();
            *best = match (*best, asked.rtt) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        report
    }
}

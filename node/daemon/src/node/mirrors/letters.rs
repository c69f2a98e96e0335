//! Sponsoring by letter: a joiner that reached a server, and no member, left its redemption there.

use std::collections::BTreeSet;

use mesh_core::mirror::turn;
use mesh_ledger::ids::{DeviceId, EventId, NetworkId, ServerKey};
use mesh_ledger::mirror::letter::{self, BadLetter, Letter, Way};
use mesh_ledger::network::redeem::{Answer, RedeemError, Reply, Request};
use mesh_ledger::state::Rank;
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use crate::clock::{now_ms, steady, steady_ms};
use crate::node::join::passing;
use crate::node::{Net, Node};
use crate::random;

/// The most letters that wait here.
const MAX_WAITING: usize = 256;
/// How long whoever admitted a joiner is given to reply to it, before another does. Milliseconds.
const REPLY: u64 = 5_000;

/// A redemption that waits for this device's turn.
pub(crate) struct Waiting {
    network: NetworkId,
    server: ServerKey,
    id: u64,
    from: DeviceId,
    contact: Zeroizing<[u8; 32]>,
    request: Request,
    /// On the steady clock.
    due: u64,
    pause: u64,
    /// Whether it waited for somebody else's reply.
    late: bool,
}

impl Node {
    /// Letters came; those that can be read wait until it is this device's turn.
    pub(super) fn take_letters(&mut self, key: ServerKey, id: NetworkId, letters: Vec<Letter>) {
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        for letter in letters {
            let known = |waiting: &Waiting| {
                waiting.network == id && waiting.server == key && waiting.id == letter.id
            };
            if self.letters.len() >= MAX_WAITING || self.letters.iter().any(known) {
                continue;
            }
            let opened = net
                .ledger
                .open_redemption(&letter.from, &letter.invite, &letter.body);
            let opened = match opened {
                Ok(opened) => opened,
                Err(BadLetter::Later) => {
                    // Another member may read it; the joiner is told nothing, as a server could have made it up.
                    warn!(from = %letter.from.short(), "a joiner's letter: {}", BadLetter::Later);
                    continue;
                }
                Err(why) => {
                    debug!(from = %letter.from.short(), "a joiner's letter: {why}");
                    continue;
                }
            };
            let Some(pause) = self.turn(net, &letter, &opened.invite) else {
                continue;
            };
            self.letters.push(Waiting {
                network: id,
                server: key,
                id: letter.id,
                from: letter.from,
                contact: opened.contact,
                request: opened.request,
                due: steady_ms() + pause,
                pause,
                late: false,
            });
        }
    }

    /// How long this device waits before it answers; none if it may not.
    fn turn(&self, net: &Net, letter: &Letter, invite: &EventId) -> Option<u64> {
        let state = net.state();
        let countersign = net
            .ledger
            .fold()
            .authority
            .invites
            .get(invite)
            .is_some_and(|invite| invite.countersign);
        let admin = |device: &DeviceId| {
            let member = state.member_of(device);
            member.is_some_and(|member| member.rank != Rank::Member)
        };
        let devices = state.devices.keys();
        let able: BTreeSet<DeviceId> = devices
            .filter(|device| !countersign || admin(device))
            .copied()
            .collect();
        let me = net.my_device();
        if !able.contains(&me) {
            return None;
        }
        let now = steady();
        let there = |device: &&DeviceId| {
            **device == me
                || net.presence.fresh(device, now)
                || net.links.contains_key(&mesh_core::desired::peer_id(device))
        };
        let online = able.iter().filter(there).copied().collect();
        Some(turn::pause(letter.id, &letter.from, &me, &able, &online))
    }

    /// When the next letter is due.
    pub(crate) fn letters_due(&self) -> Option<u64> {
        self.letters.iter().map(|waiting| waiting.due).min()
    }

    /// Answers the letters whose turn has come.
    pub(super) async fn answer_letters(&mut self) {
        let now = steady_ms();
        let (due, waiting) = std::mem::take(&mut self.letters)
            .into_iter()
            .partition(|waiting| waiting.due <= now);
        self.letters = waiting;
        for waiting in due {
            self.answer_letter(waiting).await;
        }
    }

    async fn answer_letter(&mut self, mut waiting: Waiting) {
        let id = waiting.network;
        let Some(net) = self
            .nets
            .get_mut(&id)
            .filter(|net| net.is_up() && net.is_member())
        else {
            return;
        };
        if net.state().devices.contains_key(&waiting.from) && !waiting.late {
            // Somebody has admitted it, and is to reply. If that one went away, another must.
            if waiting.pause <= 2 * turn::STEP {
                waiting.due = steady_ms() + REPLY + waiting.pause;
                waiting.late = true;
                self.letters.push(waiting);
            }
            return;
        }
        let seed = match random::seed() {
            Ok(seed) => seed,
            Err(error) => return warn!("{error}"),
        };
        let device = &self.identity.device;
        let judged = net
            .ledger
            .redeem(&waiting.request, &waiting.from, device, &seed, now_ms());
        match judged {
            Ok(answer) => {
                info!(network = %net.name(), device = %waiting.from.short(), event = %answer.admit.short(), "admitted by letter");
                self.changed(id, None).await;
                self.reply(&waiting, Ok(answer));
            }
            Err(error) if passing(&error) => {
                debug!(device = %waiting.from.short(), "left to another member: {error}");
            }
            Err(error) => {
                info!(network = %net.name(), device = %waiting.from.short(), "not admitted: {error}");
                self.reply(&waiting, Err(error));
            }
        }
    }

    fn reply(&mut self, waiting: &Waiting, judged: Result<Answer, RedeemError>) {
        let after = judged.as_ref().ok().map(|answer| answer.admit);
        let reply = match judged {
            Ok(answer) => Reply::Admitted(answer),
            Err(error) => Reply::Refused(error),
        };
        let (contact, network) = (&waiting.contact, &waiting.network);
        let body = letter::seal(contact, network, &waiting.from, Way::Reply, &reply.encode());
        let Some(body) = body else {
            return;
        };
        let served = self.servers.get_mut(&waiting.server);
        // If the stream ended, the server hands the letter out again.
        if let Some(spoken) = served.and_then(|served| served.streams.get_mut(network)) {
            spoken.session.reply(waiting.id, after, body);
            self.step_session(waiting.server, waiting.network);
        }
    }
}

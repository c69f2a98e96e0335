//! Who is in a network, and what they may do.
//!
//! Truth is a DAG of small signed [`event`]s, append-only, and a deterministic [`fold()`](fold::fold) that gives the
//! network's [`state`]. Whoever has the same events has the same answers: there is no vote, no server's word and no last
//! writer by the clock. [`network::Ledger`] holds one network behind one owner and is what most callers use.
//!
//! # How an event becomes truth
//!
//! An event has a clear [`act`](event::act), which is all that authority needs, and
//! [`attributes`](event::attributes) sealed to an [`epoch`]: every name, address, tag and offer. Bytes from outside pass
//! the [`gate`] (size, form and signature; parents known, else they wait in [`parking`]; an author whom the event's own
//! past admits), then lie durably in the [`store`], and only then show: in the fold, in the [`wire`] index from which
//! members sync, and in the Automerge documents ([`replica`]), made from it on demand, that any library can audit. Of what
//! lies there memory keeps what order, past and sync ask for ([`index`], [`graph`]); an event's body is read back when
//! somebody asks what it says. The gate asks whether an event belongs here, never whether it counts: that is for the fold, which may think otherwise when
//! more is known.
//!
//! What two machines without a link exchange, and what is shown to somebody outside, goes into files: [`carry`] and
//! [`proof_file`].
//!
//! # The fold
//!
//! 1. **Terms.** A term of office is a holder and the event that began it. Owners are senior to admins; of two admins, the
//!    one whose grant has the smaller (lamport, id). A grant has a larger lamport than its granter's term, so a junior
//!    never makes a senior, even by backdating. Terms are taken by rank, the most senior first. An act of power is void if
//!    its author was removed by an accepted removal that its term did not know and whose past it does not lie in (*strong
//!    removal*: what a kicked key signs concurrently is void, wherever it turns up). Removals reach juniors only, so one
//!    pass decides them all and the result is unique.
//! 2. **Order.** Events are sorted by (the least accepted checkpoint that covers them, lamport, id). This extends the
//!    causal order, and nobody slips a late event in front of what a checkpoint sealed.
//! 3. **Walk.** Events are replayed in that order. One counts if its author has a valid admission in the event's past, and
//!    every accepted removal of the author that this admission does not know has the event in its past; then the rules of
//!    its kind apply. A void act carries its [reason](verdict::Reason), which is what `mesh log` prints.
//!
//! A ledger keeps its fold and does again only what new events can change ([`increment`]); the answers are those of the
//! fold from nothing. [`past`] folds a part of the events, the network as it was; [`diff`] tells two states apart.
//!
//! [`authority`] follows from clear acts alone, so it is total on every replica, a server's included; [`state`] adds what
//! could be opened. Attributes sealed under a key that is not here yet are pending; nothing in an attribute voids an act.
//! An offer to fewer than everyone is sealed once more, to its audience alone ([`narrow`]); the state takes it as sealed.
//!
//! # Invariants, each with tests
//!
//! - *The store is the truth, after the gate.* Bytes count only once the gate passed them and the store has them. One that does
//!   not give back what the fold needs ends the ledger: it takes and writes nothing any more, and says which event it was
//!   ([`network::Ledger::whole`]). Opened anew, it does without that event until members have sent it. What a peer alone asked
//!   for is asked of members at once.
//! - *A million events fit.* Who may write may write without end; each event takes some hundred bytes of memory, whatever its
//!   size, and what stands at a time is bounded by who is here (`benches/memory.rs`; a name that was never there before takes
//!   two hundred more).
//! - *Time is testimony.* No fold reads a clock; order comes from causal parents, never from wall clocks.
//! - *Durable, then visible, then announced.* An acknowledged event survives a kill in the next instruction; a write that
//!   fails leaves the ledger as it was.
//! - *Only a device offers what it has;* only an admin admits on its own word, grants, kicks and assigns (a member lets in
//!   who holds an admin's invite); nobody else, a server least.
//! - *Nothing ephemeral in the ledger:* presence, endpoints and counters are messages between devices.
//! - *One set of events, one state,* in whatever order, grouping and repetition it came, with the same reasons.
//! - *No bytes make it panic.* Every decoder bounds sizes before it decodes, and refuses trailing bytes.
//!
//! # What it refuses to do
//!
//! - No I/O of its own but the SQLite store (feature `sqlite`): no socket, clock, thread or randomness. The time, seeds and
//!   bytes are arguments.
//! - No judgement by time of arrival or by the header's `time`. An invite's expiry is judged by the admitting device's
//!   word for the moment, and a checkpoint past it, of one that knew the invite, closes it for good.
//! - No unsigned fact, and no re-encoding of a signed one: what is stored and sent are the author's bytes.
//! - No secret in a `Debug` output.
//!
//! # What no ledger can do
//!
//! A malicious admin can seal a lie in a checkpoint until a senior removes them; the order then heals. Two sponsors who
//! cannot hear each other can each redeem a one-time invite: that is detected when they meet, and one falls (an invite
//! that asks for an admin's countersignature avoids it). Who loses the recovery words cannot hand the network over.

pub mod alpn;
pub mod authority;
pub mod carry;
pub mod code;
pub mod cut;
pub mod diff;
pub mod epoch;
pub mod event;
pub mod fold;
pub mod gate;
pub mod graph;
pub mod ids;
pub mod increment;
pub mod index;
pub mod keys;
pub mod mirror;
pub mod narrow;
pub mod network;
mod order;
mod padded;
pub mod parking;
pub mod past;
pub mod proof_file;
pub mod recovery;
pub mod replica;
pub mod seal;
pub mod state;
pub mod store;
pub mod succession;
pub mod text;
pub mod ticket;
mod timeline;
pub mod verdict;
pub mod wire;

//! The faults: mistakes that would let somebody do what they must not, or make members disagree.

use super::Fault;

pub(super) const FAULTS: &[Fault] = &[
    // P1: terms of office.
    Fault {
        what: "what an admin signs who does not know of its own kick counts",
        file: "authority/terms.rs",
        from: "if !removal.binds(term.rank) || removal.covers(graph, event) {",
        to: "if !removal.binds(term.rank) || !removal.known_to(graph, event) {",
    },
    Fault {
        what: "a junior kicks its senior",
        file: "authority/terms/acts.rs",
        from: "self.unprotected(number, term, idx)?;",
        to: "",
    },
    Fault {
        what: "every grant makes an admin as senior as the first",
        file: "authority/terms/acts.rs",
        from: "let rank = Seniority::Admin(event.header().lamport, event.id());",
        to: "let rank = Seniority::Admin(1, event.id());",
    },
    Fault {
        what: "a revoked term goes on",
        file: "authority/terms.rs",
        from: "            for removal in self.settled.removals.of(Scope::Term(*start)) {\n                if !removal.covers(graph, event) {",
        to: "            for removal in self.settled.removals.of(Scope::Term(*start)) {\n                if false {",
    },
    Fault {
        what: "somebody becomes an admin while a senior kicks him",
        file: "authority/terms.rs",
        from: "            if removal.binds(rank)\n                && !removal.known_to(graph, grant)",
        to: "            if false\n                && !removal.known_to(graph, grant)",
    },
    Fault {
        what: "a removal's cut is not looked at",
        file: "authority/removals.rs",
        from: "Some(cut) => graph.within(event, cut),",
        to: "Some(_) => graph.precedes(event, self.event()),",
    },
    Fault {
        what: "a cut reaches beyond what its author knew",
        file: "authority/succession.rs",
        from: ".map(|id| graph.find(id).filter(|head| graph.precedes(*head, event)))",
        to: ".map(|id| graph.find(id))",
    },
    Fault {
        what: "a device removed by its user speaks for the user again",
        file: "authority/terms/own.rs",
        from: ".find(|removal| !removal.covers(graph, idx))",
        to: ".find(|_| false)",
    },
    // Succession.
    Fault {
        what: "of rival successions the one with the smaller id counts",
        file: "authority/succession.rs",
        from: "(std::cmp::Reverse(support[*n]), id)",
        to: "(std::cmp::Reverse(0), id)",
    },
    Fault {
        what: "recovery words of a former term hand the network over again",
        file: "authority/succession.rs",
        from: "                    term.recovery\n                        .verifies(",
        to: "                    line[0].recovery\n                        .verifies(",
    },
    // P2: checkpoints.
    Fault {
        what: "anybody seals the order",
        file: "order.rs",
        from: "terms.office_of_author(event).and_then(|_| {",
        to: "Ok::<(), Reason>(()).and_then(|()| {",
    },
    Fault {
        what: "a late event with a low lamport goes before what was sealed",
        file: "order.rs",
        from: "fixed[idx.0 as usize] = number as u32;",
        to: "fixed[idx.0 as usize] = u32::MAX;",
    },
    Fault {
        what: "a checkpoint with a wrong count seals",
        file: "order.rs",
        from: ".filter(|covers| covers.total() == act.count)",
        to: "",
    },
    // P3: members and admissions.
    Fault {
        what: "what a kicked member signs concurrently counts",
        file: "authority/walk.rs",
        from: ".find(|(_, removal)| !removal.covers(self.graph, event))",
        to: ".find(|(_, removal)| removal.known_to(self.graph, event))",
    },
    Fault {
        what: "an admission concurrent with the joiner's removal counts",
        file: "authority/walk/admission.rs",
        from: "            if !removal.known_to(graph, idx) {\n                return Err(Reason::TargetRemoved",
        to: "            if false {\n                return Err(Reason::TargetRemoved",
    },
    Fault {
        what: "a kicked user comes back by an old ticket",
        file: "authority/walk/admission.rs",
        from: "            if !back {",
        to: "            if false {",
    },
    Fault {
        what: "a removed device certifies itself back in",
        file: "authority/walk/admission.rs",
        from: ".find(|(scope, removal)| *scope != Scope::User(user) && !removal.covers(graph, idx))",
        to: ".find(|_| false)",
    },
    Fault {
        what: "any member begins an epoch at any time",
        file: "authority/walk.rs",
        from: "if self.office(&speakers, idx).is_err() && open.is_empty() {",
        to: "if false && open.is_empty() {",
    },
    Fault {
        what: "a certificate that the joiner's user did not sign admits",
        file: "authority/proof.rs",
        from: "Act::Admit(act) if !certified(&act.user, &act.device, &act.certificate) => {",
        to: "Act::Admit(act) if false && !certified(&act.user, &act.device, &act.certificate) => {",
    },
    // Invites.
    Fault {
        what: "an invite admits one more than it says",
        file: "authority/walk/admission.rs",
        from: "if uses.count >= terms.max_uses {",
        to: "if uses.count > terms.max_uses {",
    },
    Fault {
        what: "a closed invite admits through whoever did not hear",
        file: "authority/walk/admission.rs",
        from: "let outside = |closing: &&Idx| !self.graph.precedes(idx, **closing);",
        to: "let outside = |closing: &&Idx| self.graph.precedes(**closing, idx);",
    },
    Fault {
        what: "an invite outlives the term of who issued it",
        file: "authority/walk/admission.rs",
        from: "if let Some(by) = lapsed(self.terms, issued, Some(idx)) {",
        to: "if let Some(by) = None::<Idx> {",
    },
    Fault {
        what: "a sponsor who lies about time opens an expired invite behind a checkpoint",
        file: "authority/walk/admission.rs",
        from: "> terms.expires && !self.graph.precedes(idx, seal.event)",
        to: "> terms.expires && false",
    },
    Fault {
        what: "a ticket for one user admits another",
        file: "authority/walk/admission.rs",
        from: "if matches!(terms.kind, InviteKind::Direct(named) if named != act.user) {",
        to: "if false {",
    },
    // Names, addresses, registers.
    Fault {
        what: "two have one name",
        file: "state/names.rs",
        from: "        if self.take(step, wanted) {",
        to: "        if self.take(step, wanted) || true {",
    },
    Fault {
        what: "two have one address",
        file: "state/addresses.rs",
        from: "let free = [self.behind(from), self.behind(0)]",
        to: "let free = [from, self.behind(0)]",
    },
    Fault {
        what: "an admin offers what another's device has",
        file: "state/build/registers.rs",
        from: "Write::Offer { device, .. } | Write::Narrow { device, .. } => itself(device, \"offers\"),",
        to: "Write::Offer { .. } | Write::Narrow { .. } => Ok(()),",
    },
    Fault {
        what: "attributes that the joiner did not sign count",
        file: "seal.rs",
        from: "&& joining.digest() != admit.digest",
        to: "&& false",
    },
    // The gate.
    Fault {
        what: "an event that nobody signed passes",
        file: "event.rs",
        from: "            .verifies(Domain::Event, signed, &Signature::from_bytes(signature))",
        to: "            .verifies(Domain::Event, signed, &Signature::from_bytes(signature)) || true",
    },
    Fault {
        what: "a stranger's events pass",
        file: "gate.rs",
        from: "self.authorship(graph, event, &parents)?;",
        to: "",
    },
    Fault {
        what: "any user's device adds itself",
        file: "gate.rs",
        from: "                if admitted\n",
        to: "                if true\n",
    },
    Fault {
        what: "a lamport runs ahead of its parents",
        file: "graph.rs",
        from: "if header.lamport != due {",
        to: "if header.lamport < due {",
    },
    Fault {
        what: "a seq is left out",
        file: "graph.rs",
        from: "if header.seq != due {",
        to: "if header.seq < due {",
    },
    Fault {
        what: "a forked device's branches are taken for one chain",
        file: "graph.rs",
        from: "known.max().unwrap_or(0) as usize == self.lanes[*lane as usize].len()",
        to: "known.count() > 0",
    },
    Fault {
        what: "what waits for its parents fills the memory",
        file: "parking.rs",
        from: "if queue.order.len() <= Self::MAX_EVENTS && queue.bytes <= Self::MAX_BYTES {",
        to: "if true {",
    },
    Fault {
        what: "what follows a refused event waits for it",
        file: "network/receive.rs",
        from: "if let Some(parent) = missing.iter().find(never).copied() {",
        to: "if let Some(parent) = missing.iter().find(never).copied().filter(|_| false) {",
    },
    Fault {
        what: "refused events fill the memory",
        file: "parking.rs",
        from: "if self.refusals.len() > Self::MAX_REFUSED\n",
        to: "if false\n",
    },
    // The kept fold: what an event's arrival must take back.
    Fault {
        what: "the first event that a removal does not cover is forgotten",
        file: "increment/changes.rs",
        from: "lane.get(from..)",
        to: "lane.get(from + 1..)",
    },
    Fault {
        what: "admissions by the target's invites are forgotten",
        file: "increment/changes.rs",
        from: "                    !removal.covers(graph, admission)\n",
        to: "                    removal.covers(graph, admission) && false\n",
    },
    Fault {
        what: "what a removed device wrote that the removal does not cover is not looked at again",
        file: "increment/changes.rs",
        from: "                self.lane(*lane, covered as usize);\n",
        to: "                let _ = covered;\n",
    },
    Fault {
        what: "admissions by a closed invite are forgotten",
        file: "increment/changes.rs",
        from: "                    !graph.precedes(admission, *closing)",
        to: "                    graph.precedes(admission, *closing)",
    },
    Fault {
        what: "admissions of the target are forgotten",
        file: "increment/changes.rs",
        from: "if !removal.covers(self.graph, *arrival) {",
        to: "if removal.covers(self.graph, *arrival) {",
    },
    Fault {
        what: "nothing is sorted again behind a checkpoint",
        file: "increment/sequence.rs",
        from: "let behind = order.partition_point(before);",
        to: "let behind = order.len().max(order.partition_point(before));",
    },
    Fault {
        what: "an attribute that became readable is not read",
        file: "increment.rs",
        from: "        changes.events(readable);\n",
        to: "",
    },
    Fault {
        what: "an admission is not taken back",
        file: "authority/walk/roll.rs",
        from: "                drop_last(of(&mut self.admissions, device.0), |(_, idx)| *idx == event);\n",
        to: "                let _ = device;\n",
    },
    Fault {
        what: "a removal that asked for an epoch still asks when it is taken back",
        file: "authority/walk/roll.rs",
        from: "                self.due.remove(&event);\n",
        to: "",
    },
    Fault {
        what: "reasons keep an old name",
        file: "increment.rs",
        from: "fold.verdicts.rename(&user, book.called(&user));",
        to: "let _ = user;",
    },
    Fault {
        what: "acts of power taken back stay in the cast",
        file: "authority/cast.rs",
        from: "                self.power_of[user.0 as usize].retain(|act| *act != idx);",
        to: "                let _ = user;",
    },
    Fault {
        what: "what was said of acts of power is not put down anew",
        file: "increment.rs",
        from: "                judged.judge(*idx, terms.verdict(*idx), book.as_deref());",
        to: "                let _ = idx;",
    },
    Fault {
        what: "who acts under a term does not hear that it began or did not",
        file: "increment/changes.rs",
        from: "                    self.term(term);\n",
        to: "                    let _ = term;\n",
    },
    Fault {
        what: "who acts by a device's return does not hear that it is another's word now",
        file: "increment/changes.rs",
        from: "                self.behind(back.admission, key.1);\n",
        to: "                let _ = back.admission;\n",
    },
    Fault {
        what: "who has an admission in its past does not hear that it changed",
        file: "increment/replay.rs",
        from: "if is != entry.as_ref() {",
        to: "if false {",
    },
    Fault {
        what: "a late event reads what was written behind it",
        file: "timeline.rs",
        from: "track.writes[..at].last()?.1.as_ref()",
        to: "track.writes.last()?.1.as_ref()",
    },
    Fault {
        what: "who reads a register does not hear of a late write",
        file: "timeline.rs",
        from: "            stale.insert(*reader);\n",
        to: "",
    },
    Fault {
        what: "who read a register last hears of a late write, and none before",
        file: "timeline.rs",
        from: "for reader in &track.readers[first..] {",
        to: "for reader in &track.readers[track.readers.len() - 1..] {",
    },
    Fault {
        what: "a late claim of an address leaves those behind it as they were",
        file: "state/addresses.rs",
        from: "if !same {",
        to: "if false {",
    },
    Fault {
        what: "an offer outlives its device's stay",
        file: "state/build/view.rs",
        from: "if self.since(place.0)? != offered.since {",
        to: "if false {",
    },
];

//! Offers.

use mesh_control::reply::{Offers, Shared, Unshared};
use mesh_control::view::{Audience, OfferView, Offered, PeerReach};

use super::network::{mark, or_none};
use super::outcome::spread;
use super::table::Table;
use super::units::{age, bytes, lasting, remaining};
use super::{Line, Look, Role};

/// The offers in force.
pub(crate) fn offers(offers: &Offers, look: &Look) -> Vec<Line> {
    let mut table = Table::new()
        .name("  DEVICE")
        .name("OFFER")
        .text("TO", 0)
        .text("STATE", 1)
        .number("AGE", 2)
        .name("EVENT");
    for offer in &offers.offers {
        table.row(vec![
            mark(offer.reach).and(
                if offer.mine { Role::Me } else { Role::Plain },
                &offer.device,
            ),
            Line::plain(what(offer)),
            Line::plain(whom(&offer.to)),
            state(offer, look.now_ms),
            Line::plain(age(offer.since_ms, look.now_ms)),
            Line::quiet(&offer.event.short),
        ]);
    }
    or_none(table.lines(look.width), "nothing is offered")
}

/// Who forwards for this machine, and what it forwards.
pub(crate) fn relays(relays: &Offers, look: &Look) -> Vec<Line> {
    if relays.offers.is_empty() {
        return vec![Line::quiet("nobody offers to forward")];
    }
    let mut lines = offers(relays, look);
    if relays.offers.iter().any(|offer| offer.mine) {
        let text = format!(
            "  {} forwarded for others since meshd started",
            bytes(relays.forwarded)
        );
        lines.push(Line::quiet(&text));
    }
    lines
}

/// A port was opened, or a relay offered.
pub(crate) fn shared(shared: &Shared, look: &Look) -> Vec<Line> {
    let offer = &shared.offer;
    let until = offer
        .until_ms
        .map(|until| format!(" for {}", lasting(look.now_ms, until)))
        .unwrap_or_default();
    let event = format!("event {}, {}", offer.event.short, spread(&shared.spread));
    let (what, whom) = (what(offer), whom(&offer.to));
    vec![Line::plain(match offer.what {
        Offered::Ports(_) => format!("shared {what} with {whom}{until}; {event}"),
        Offered::Relay => format!("forwards between {whom}{until}; {event}"),
    })]
}

/// A port was closed, or a relay withdrawn.
pub(crate) fn unshared(unshared: &Unshared) -> Vec<Line> {
    let event = format!(
        "event {}, {}",
        unshared.event.short,
        spread(&unshared.spread)
    );
    vec![Line::plain(match unshared.offer.what {
        Offered::Ports(_) => format!("unshared {}; {event}", what(&unshared.offer)),
        Offered::Relay => format!("forwards no longer; {event}"),
    })]
}

/// `8080/tcp web`
fn what(offer: &OfferView) -> String {
    offer.name.as_ref().map_or_else(
        || offer.what.to_string(),
        |name| format!("{} {name}", offer.what),
    )
}

fn whom(to: &Audience) -> String {
    match to {
        Audience::All => "all".to_owned(),
        Audience::Names(names) => names.join(", "),
    }
}

fn state(offer: &OfferView, now_ms: u64) -> Line {
    let ends = offer
        .until_ms
        .map(|until| format!("ends in {}", remaining(until, now_ms)));
    match (offer.mine, offer.reach, ends) {
        (false, PeerReach::Offline, _) => Line::quiet("device offline"),
        (_, _, Some(ends)) => Line::new(Role::Care, ends),
        (true, _, None) => Line::plain("mine"),
        (false, _, None) if offer.for_me => Line::new(Role::Ok, "for me"),
        (false, _, None) => Line::quiet("not for me"),
    }
}

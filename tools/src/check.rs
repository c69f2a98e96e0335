//! What is wrong with names, subnets, servers and tickets that were typed, told before any daemon is started for them.

use std::net::Ipv4Addr;

use mesh_control::{Code, Error, Secret};
use mesh_ledger::event::attributes::Subnet;
use mesh_ledger::mirror::address::{BadServer, ServerAddress};
use mesh_ledger::text::Label;
use mesh_ledger::ticket::{BadTicket, Ticket};

use crate::context::Context;
use crate::{parse, render};

/// Whether a network or a host can be called so.
///
/// # Errors
/// Usage, with the nearest name that is one.
pub(crate) fn label(typed: &str, context: &Context) -> Result<(), Error> {
    let Err(bad) = typed.parse::<Label>() else {
        return Ok(());
    };
    let error = Error::new(Code::Usage, bad.to_string());
    Err(match nearest_label(typed) {
        Some(right) => error.hint(context.retyped("sudo mesh", typed, &right)),
        None => error.hint("mesh create --help"),
    })
}

/// Whether a network can have this subnet.
///
/// # Errors
/// Usage, with the subnet that was meant if the address is one of its hosts'.
pub(crate) fn subnet(typed: &str, context: &Context) -> Result<(), Error> {
    let Err(bad) = typed.parse::<Subnet>() else {
        return Ok(());
    };
    let right = nearest_subnet(typed).unwrap_or_else(|| "10.73.20.0/24".to_owned());
    Err(Error::new(Code::Usage, bad).hint(context.retyped("sudo mesh", typed, &right)))
}

/// What a server's text names.
///
/// # Errors
/// Usage, with where to find the right text.
pub(crate) fn server(server: &Secret) -> Result<ServerAddress, Error> {
    server
        .reveal()
        .parse()
        .map_err(|bad: BadServer| Error::new(Code::Usage, bad.to_string()).hint(parse::SERVER))
}

/// Whether a code can be one. What stands behind its `@` is looked up by the daemon.
///
/// # Errors
/// Usage, with the word that was perhaps meant.
pub(crate) fn code(code: &Secret, verb: &str) -> Result<(), Error> {
    let text = code.reveal();
    let text = text.split_once('@').map_or(text, |(code, _)| code);
    match text.parse::<mesh_ledger::code::Code>() {
        Ok(_) => Ok(()),
        Err(bad) => Err(Error::new(Code::Usage, bad.to_string())
            .hint(format!("on the other machine, for a code: {verb}"))),
    }
}

/// Whether a ticket is whole, of this release, and not expired by this machine's clock. `typed` is the argument it came
/// by.
///
/// # Errors
/// Usage, or a conflict when it has expired.
pub(crate) fn ticket(ticket: &Secret, typed: &str, context: &Context) -> Result<(), Error> {
    let ticket = whole_ticket(ticket, typed, context)?;
    let now_ms = (context.terminal.now_ms)();
    if ticket.expires() > now_ms {
        return Ok(());
    }
    let message = format!(
        "the ticket expired {}",
        render::ago(ticket.expires(), now_ms)
    );
    Err(Error::new(Code::Conflict, message).hint("ask for a new one: mesh invite"))
}

/// A ticket that is whole and of this release. `typed` is the argument it came by.
///
/// # Errors
/// Usage.
pub(crate) fn whole_ticket(
    ticket: &Secret,
    typed: &str,
    context: &Context,
) -> Result<Ticket, Error> {
    ticket.reveal().parse().map_err(|bad: BadTicket| {
        let error = Error::new(Code::Usage, bad.to_string());
        match bad {
            BadTicket::Version(_) => error.hint("mesh version"),
            // The shell is the first suspect, and has no say in what is pasted.
            BadTicket::Typing | BadTicket::NotATicket if typed != "-" => {
                error.hint(context.retyped("sudo mesh", typed, "-"))
            }
            BadTicket::Typing | BadTicket::NotATicket => error.hint("mesh join --help"),
        }
    })
}

/// `My Home` was meant to be `my-home`.
fn nearest_label(typed: &str) -> Option<String> {
    let mut near = String::new();
    for letter in typed.chars().take(200) {
        match letter.to_ascii_lowercase() {
            plain @ ('a'..='z' | '0'..='9') => near.push(plain),
            // A name in another script is not told by the few letters of it that are left.
            other if other.is_alphabetic() => return None,
            _ if near.ends_with('-') => {}
            _ => near.push('-'),
        }
    }
    near.truncate(Label::MAX);
    let near: Label = near.trim_matches('-').parse().ok()?;
    Some(near.to_string())
}

/// `10.73.20.1/24` was meant to be `10.73.20.0/24`.
fn nearest_subnet(typed: &str) -> Option<String> {
    let (address, prefix) = typed.split_once('/')?;
    let (address, prefix): (Ipv4Addr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    let prefix = prefix.clamp(8, 30);
    let mask = u32::MAX << (32 - u32::from(prefix));
    Subnet::new((u32::from(address) & mask).into(), prefix).map(|subnet| subnet.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_name_or_subnet_leads_to_the_nearest_one() {
        for (typed, near) in [
            ("Not A Label", Some("not-a-label")),
            ("_home_", Some("home")),
            ("alice's", Some("alice-s")),
            ("zuhause.", Some("zuhause")),
            ("žofie", None),
            ("---", None),
            ("localhost", None),
        ] {
            assert_eq!(nearest_label(typed).as_deref(), near, "{typed}");
        }
        let long = nearest_label(&"Ab".repeat(90));
        assert_eq!(long.map(|label| label.len()), Some(Label::MAX));
        for (typed, near) in [
            ("10.73.20.1/24", Some("10.73.20.0/24")),
            ("10.73.20.5/32", Some("10.73.20.4/30")),
            ("300.0.0.0/24", None),
            ("10.0.0.0", None),
        ] {
            assert_eq!(nearest_subnet(typed).as_deref(), near, "{typed}");
        }
    }
}

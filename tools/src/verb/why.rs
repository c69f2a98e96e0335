//! `mesh why NAME[:PORT]`

use mesh_control::view::{Ports, Proto};
use mesh_control::{Code, Error, call};

use crate::context::Context;
use crate::{render, stored};

/// Explain why a device may be reached, or not
///
/// From who admitted it, through what it offers, to the rules of both sides: the other side is asked for its own. Exit 0 if it
/// is allowed, 1 if it is refused, 5 if there never was anybody of that name.
#[derive(clap::Args)]
pub struct Args {
    /// Whom, and which port of it: bob:22, bob:53/udp; without a port, whether it may be pinged and what it offers
    #[arg(value_name = "NAME[:PORT]")]
    to: String,
    /// For this member or device instead of this machine
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let (to, port) = target(&args.to)?;
    let why = call::Why {
        network: context.network(),
        to: to.clone(),
        port,
        from: args.from.clone(),
    };
    let why = context.call_waiting(why, stored::LONG).await;
    let names: Vec<&str> = [Some(to.as_str()), args.from.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    let why = context.suggest(why, &names).await?;
    context.print("why", &why, render::why)?;
    if why.allowed {
        return Ok(());
    }
    // What lacks stands in the answer; there is only an exit code to add.
    if let Some(remedy) = &why.remedy {
        match &remedy.ask {
            Some(who) => context.hint_elsewhere(&format!("ask {who}: {}", remedy.command)),
            None => context.hint(&remedy.command),
        }
    }
    Err(Error::new(Code::Failed, ""))
}

/// The name and the port that were typed. IPv6 addresses stand in brackets before a port.
fn target(text: &str) -> Result<(String, Ports), Error> {
    if let Some((name, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match rest.strip_prefix(':') {
            Some(port) => Ok((name.to_owned(), ports(port)?)),
            None if rest.is_empty() => Ok((name.to_owned(), Ports::icmp())),
            None => Err(malformed(text)),
        };
    }
    match text.split_once(':') {
        // More colons: an IPv6 address.
        Some((_, rest)) if rest.contains(':') => Ok((text.to_owned(), Ports::icmp())),
        Some((name, port)) if !name.is_empty() => Ok((name.to_owned(), ports(port)?)),
        Some(_) => Err(malformed(text)),
        None => Ok((text.to_owned(), Ports::icmp())),
    }
}

fn ports(text: &str) -> Result<Ports, Error> {
    let number = |digits: &str| digits.parse::<u16>().ok();
    let port = match number(text) {
        Some(port) => Ports::one(Proto::Tcp, port),
        None => text.parse().ok(),
    };
    port.filter(|port| port.first() == port.last())
        .ok_or_else(|| malformed(text))
}

fn malformed(text: &str) -> Error {
    let message = format!("{text:?} is no port: write bob:22, bob:22/tcp or bob:53/udp");
    Error::new(Code::Usage, message).hint("mesh why --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_tcp_unless_it_says_otherwise_and_none_is_a_ping() {
        for (typed, name, port) in [
            ("bob", "bob", "icmp"),
            ("bob:22", "bob", "22/tcp"),
            ("bob.home:53/udp", "bob.home", "53/udp"),
            ("fd00::1", "fd00::1", "icmp"),
            ("[fd00::1]:22", "fd00::1", "22/tcp"),
            ("10.73.20.2:80", "10.73.20.2", "80/tcp"),
        ] {
            let (found, ports) = target(typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
            assert_eq!((found.as_str(), ports.to_string().as_str()), (name, port));
        }
        for typed in [
            "bob:",
            ":22",
            "bob:0",
            "bob:x",
            "bob:1-2/tcp",
            "[fd00::1]22",
        ] {
            assert_eq!(
                target(typed).map_err(|error| error.code),
                Err(Code::Usage),
                "{typed}"
            );
        }
    }
}

//! Joining with files: an invite with what was known when it was made, a request that is carried to a member, its answer.

use std::path::Path;
use std::time::Duration;

use mesh_control::reply::Joined;
use mesh_control::{Code, Error, Secret, call};
use mesh_ledger::carry::{Carry, Found, Kind};
use mesh_ledger::ids::DeviceId;
use mesh_ledger::ticket::{Contact, ContactKind, Ticket};

use super::Args;
use crate::context::Context;
use crate::render::{self, Line};
use crate::{check, files};

/// Joins by what a file holds; none if all that it was to do is write a request.
pub(super) async fn run(
    args: &Args,
    found: Found,
    context: &mut Context,
) -> Result<Option<Joined>, Error> {
    let name = &args.ticket;
    let damaged = |what: &str| {
        let message = format!("{name} is damaged: {what}");
        Error::new(Code::Verification, message).hint("copy it again")
    };
    match found.carry.kind {
        Kind::Invite => {
            let ticket = found.carry.ticket.clone();
            let ticket = ticket.ok_or_else(|| damaged("the ticket in it is not whole"))?;
            let text = Secret::new(ticket.text().as_str());
            check::ticket(&text, name, context)?;
            if !found.is_whole() {
                context.note(&[Line::quiet(format!(
                    "{name} is damaged; what is whole of it serves"
                ))]);
            }
            match &args.request {
                Some(out) => {
                    request(args, &found.carry, &ticket, text, out, context).await?;
                    Ok(None)
                }
                None => by_member(args, found, text, context).await.map(Some),
            }
        }
        Kind::Answer if !found.is_whole() => Err(damaged("a joiner needs all of it")),
        Kind::Answer => answer(found.carry, context).await.map(Some),
        Kind::Request => {
            let message = format!("{name} is a request to be let in, for a member to accept");
            let hint = format!("mesh invite accept {name} --out ANSWER");
            Err(Error::new(Code::Usage, message).hint(hint))
        }
        Kind::History => {
            let message = format!("{name} holds a network's history, and lets nobody in");
            let hint =
                format!("mesh sync import {name}, or ask a member for: mesh invite --out FILE");
            Err(Error::new(Code::Usage, message).hint(hint))
        }
    }
}

/// Joins over a link, with all that the file knows.
async fn by_member(
    args: &Args,
    found: Found,
    ticket: Secret,
    context: &mut Context,
) -> Result<Joined, Error> {
    let (mut client, _) = context.connect_or_start().await?;
    let carry = found.carry;
    let upload = files::upload(context, &mut client, &carry.events).await?;
    let carried = call::Carried {
        upload: Some(upload),
        heads: carry.heads.iter().map(ToString::to_string).collect(),
        contacts: carry.contacts.iter().map(contact).collect(),
    };
    let join = call::Join {
        ticket,
        host: args.host.clone(),
        wait_seconds: super::seconds(args.wait),
        carried: Some(carried),
    };
    let joined = context.call_keyed(&mut client, join, args.wait).await;
    joined.map_err(|error| match error.code {
        Code::Unreachable => {
            let typed = context.typed_as_root();
            error.hint(format!(
                "{typed} --request FILE, which is carried to a member"
            ))
        }
        _ => error,
    })
}

/// Writes a redemption, to be carried to any member.
async fn request(
    args: &Args,
    carry: &Carry,
    ticket: &Ticket,
    text: Secret,
    out: &Path,
    context: &mut Context,
) -> Result<(), Error> {
    files::is_new(out)?;
    let invite = carry.invite_of(ticket).ok_or_else(|| {
        let message = "the file does not hold the invite that its ticket belongs to";
        Error::new(Code::Verification, message).hint("ask for a new one: mesh invite --out FILE")
    })?;
    let (mut client, _) = context.connect_or_start().await?;
    let request = call::JoinRequest {
        ticket: text,
        invite: invite.to_string(),
        host: args.host.clone(),
    };
    let requested = context
        .call_keyed(&mut client, request, Duration::ZERO)
        .await?;
    let written = Carry {
        kind: Kind::Request,
        letter: Some(files::for_file(requested.letter.clone())?),
        ..Carry::history(carry.network, carry.events.clone(), carry.heads.clone())
    };
    files::write_new(out, &written.write())?;
    let out = out.display().to_string();
    context.print("join_request", &requested, |requested, _| {
        render::requested(requested, &out)
    })?;
    context.hint_elsewhere(&format!("mesh invite accept {out} --out ANSWER"));
    Ok(())
}

/// Joins with the answer that was carried back.
async fn answer(carry: Carry, context: &mut Context) -> Result<Joined, Error> {
    let letter = carry.letter.as_ref().map(files::for_daemon);
    let letter = letter.ok_or_else(|| {
        Error::new(Code::Verification, "the answer in the file is not whole").hint("copy it again")
    })?;
    let (mut client, _) = context.connect_or_start().await?;
    let upload = files::upload(context, &mut client, &carry.events).await?;
    let answer = call::JoinAnswer {
        network: carry.network.to_string(),
        letter,
        upload,
    };
    context.call_over(&mut client, answer, files::LONG).await
}

fn contact(contact: &Contact) -> call::CarriedContact {
    call::CarriedContact {
        server: contact.kind == ContactKind::Server,
        key: DeviceId(contact.key).to_string(),
        address: contact.address.map(|address| address.to_string()),
    }
}

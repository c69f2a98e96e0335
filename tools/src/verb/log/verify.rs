//! `mesh log verify`

use mesh_control::reply::Verified;
use mesh_control::{Code, Error, call};

use crate::context::Context;
use crate::stored::LONG;
use crate::{files, offline, render};

pub(crate) async fn run(context: &mut Context) -> Result<(), Error> {
    match context.connect().await {
        Ok(_) => by_daemon(context).await,
        Err(error) if error.code == Code::NotRunning => by_ourselves(context, error),
        Err(error) => Err(error),
    }
}

/// Verifies the events of a file.
pub(super) fn file(typed: &str, context: &mut Context) -> Result<(), Error> {
    let found = files::carry(typed, context)?;
    if found.carry.partial {
        context.note(&render::file_is_partial());
    }
    let checked = offline::verify_file(&found);
    report(
        vec![Ok(checked)],
        |_| format!("copy {typed} again, and: mesh log verify {typed}"),
        context,
    )?;
    if found.is_whole() {
        return Ok(());
    }
    let what = if found.cut { "cut short" } else { "damaged" };
    Err(Error::new(Code::Verification, format!("{typed} is {what}")).hint("copy it again"))
}

async fn by_daemon(context: &mut Context) -> Result<(), Error> {
    let networks = context.call(call::Networks {}).await?.networks;
    let open: Vec<String> = networks.into_iter().map(|network| network.id).collect();
    let wanted = context.network();
    // A network that the daemon could not open is not on its list, and is the one to hear about. Who may talk to the
    // daemon may still not look at its files.
    let closed = offline::verify(&context.state_folder(), wanted.as_deref(), &open);
    let mut copies = closed.unwrap_or_default();
    let asked: Vec<Option<String>> = match &wanted {
        Some(_) if !copies.is_empty() => Vec::new(),
        None if !open.is_empty() => open.into_iter().map(Some).collect(),
        // With no network at all it is the daemon's to say what is wrong.
        None if !copies.is_empty() => Vec::new(),
        _ => vec![wanted],
    };
    for network in asked {
        let verified = context
            .call_waiting(call::LogVerify { network }, LONG)
            .await;
        copies.push(Ok(context.suggest(verified, &[]).await?));
    }
    report(
        copies,
        |network| format!("mesh sync now -n {network}"),
        context,
    )
}

fn by_ourselves(context: &mut Context, not_running: Error) -> Result<(), Error> {
    let copies = offline::verify(&context.state_folder(), context.network().as_deref(), &[])
        .map_err(|error| match error.code {
            Code::NotPermitted => error.hint(context.typed_as_root()),
            _ => error,
        })?;
    if copies.is_empty() {
        return Err(not_running);
    }
    // A daemon fetches from the members what is damaged here.
    report(copies, |_| "sudo mesh up".to_owned(), context)
}

/// Prints what was found, and gives the gravest of what is wrong as the error.
fn report(
    copies: Vec<Result<Verified, Error>>,
    remedy: impl Fn(&str) -> String,
    context: &mut Context,
) -> Result<(), Error> {
    let mut errors = Vec::new();
    for copy in copies {
        match copy {
            Ok(verified) => {
                context.print("log_verify", &verified, |verified, _| {
                    render::verified(verified)
                })?;
                errors.extend(fault(&verified).map(|error| error.hint(remedy(&verified.network))));
            }
            Err(error) => errors.push(error),
        }
    }
    errors.sort_by_key(|error| error.code == Code::Verification);
    let Some(gravest) = errors.pop() else {
        return Ok(());
    };
    for error in &errors {
        context.print_error(error);
    }
    Err(gravest)
}

fn fault(verified: &Verified) -> Option<Error> {
    if verified.ok && verified.damaged.is_empty() {
        return None;
    }
    let what = match verified.damaged.len() {
        0 => "the events do not add up to the state in force".to_owned(),
        1 => "1 event is damaged".to_owned(),
        count => format!("{count} events are damaged"),
    };
    Some(Error::new(
        Code::Verification,
        format!("{what} in this copy of {}", verified.network),
    ))
}

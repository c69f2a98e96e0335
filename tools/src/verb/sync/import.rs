//! `mesh sync import`

use mesh_control::reply::Imported;
use mesh_control::view::EventRef;
use mesh_control::{Code, Error, call};
use mesh_ledger::carry::{Found, Kind};
use mesh_ledger::ids::EventId;
use serde::Serialize;

use crate::context::Context;
use crate::{files, render};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file, or - for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
}

/// What came of a file.
#[derive(Debug, Serialize)]
pub(crate) struct Merged {
    #[serde(flatten)]
    pub(crate) imported: Imported,
    /// Events that the file should hold and does not hold whole.
    pub(crate) damaged: Vec<EventRef>,
    /// Whether its end is missing.
    pub(crate) cut: bool,
}

pub(super) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let found = files::carry(&args.file, context)?;
    let mut client = context.connect().await?;
    let upload = files::upload(context, &mut client, &found.carry.events).await?;
    let import = call::SyncImport {
        network: found.carry.network.to_string(),
        upload,
    };
    let imported = context
        .call_over(&mut client, import, files::LONG)
        .await
        .map_err(|error| match error.code {
            Code::NotFound => error.hint(match found.carry.kind {
                Kind::Invite | Kind::Answer => format!("sudo mesh join {}", args.file),
                _ => "sudo mesh join TICKET".to_owned(),
            }),
            _ => error,
        })?;
    let merged = Merged {
        imported,
        damaged: found.missing.iter().map(reference).collect(),
        cut: found.cut,
    };
    context.print("sync_import", &merged, |merged, _| render::imported(merged))?;
    if let Some(error) = wrong(&merged, &found, &args.file) {
        return Err(error);
    }
    if found.carry.kind == Kind::Request {
        context.hint(&format!("mesh invite accept {} --out ANSWER", args.file));
    }
    Ok(())
}

/// What is wrong with a file of which the whole part was taken.
fn wrong(merged: &Merged, found: &Found, file: &str) -> Option<Error> {
    let imported = &merged.imported;
    let again = |message: String| {
        Some(
            Error::new(Code::Verification, message)
                .hint(format!("copy {file} again, and: mesh sync import {file}")),
        )
    };
    if !found.is_whole() {
        let what = if found.cut { "cut short" } else { "damaged" };
        return again(match found.missing.len() {
            0 => format!("{file} is {what}; every event it names was whole"),
            1 => format!("{file} is {what}: 1 event of it is lost, the others were taken"),
            count => {
                format!("{file} is {what}: {count} events of it are lost, the others were taken")
            }
        });
    }
    match imported.refused.len() {
        0 => {}
        1 => return again("1 event of it is not genuine, and was refused".to_owned()),
        count => {
            return again(format!(
                "{count} events of it are not genuine, and were refused"
            ));
        }
    }
    if imported.waiting > 0 {
        let first = imported.missing.first();
        let first = first.map_or_else(String::new, |event| format!(", such as {}", event.short));
        let message = format!(
            "{} of {file} follow events that are neither here nor in it{first}",
            render::counted(imported.waiting, "event")
        );
        let hint = "mesh sync export FILE, without --since, where it came from";
        return Some(Error::new(Code::NotFound, message).hint(hint));
    }
    None
}

fn reference(id: &EventId) -> EventRef {
    EventRef {
        id: id.to_string(),
        short: id.short(),
    }
}

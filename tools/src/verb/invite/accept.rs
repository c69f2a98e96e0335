//! `mesh invite accept FILE --out ANSWER`

use std::path::PathBuf;

use mesh_control::{Code, Error, call};
use mesh_ledger::carry::{Carry, Kind, heads};

use crate::cli::Wait;
use crate::context::Context;
use crate::{files, render};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the joiner's mesh join --request wrote, or - for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
    /// A new file for the answer, which is carried back to the joiner
    #[arg(long, value_name = "ANSWER")]
    out: PathBuf,
    #[command(flatten)]
    wait: Wait,
}

pub(super) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    files::is_new(&args.out)?;
    let found = files::carry(&args.file, context)?;
    let carry = found.carry;
    let letter = match (carry.kind, &carry.letter) {
        (Kind::Request, Some(letter)) => files::for_daemon(letter),
        (Kind::Request, None) => {
            let message = format!("{} is damaged: the request in it is not whole", args.file);
            return Err(Error::new(Code::Verification, message).hint("copy it again"));
        }
        (kind, _) => {
            let message = format!("{} is no request of a joiner", args.file);
            return Err(Error::new(Code::Usage, message).hint(match kind {
                Kind::Invite | Kind::Answer => format!("sudo mesh join {}", args.file),
                _ => format!("mesh sync import {}", args.file),
            }));
        }
    };
    let network = carry.network.to_string();
    let mut client = context.connect().await?;
    // This member may not have heard of the invite, and the joiner has.
    let upload = files::upload(context, &mut client, &carry.events).await?;
    let import = call::SyncImport {
        network: network.clone(),
        upload,
    };
    context.call_over(&mut client, import, files::LONG).await?;
    let accept = call::InviteAccept {
        network: network.clone(),
        letter,
        wait_ms: args.wait.ms(),
    };
    let accepted = context
        .call_over(&mut client, accept, args.wait.more())
        .await?;
    let copy = files::from_daemon(context, client, Some(network)).await?;
    let answer = Carry {
        kind: Kind::Answer,
        letter: Some(files::for_file(accepted.letter.clone())?),
        ..Carry::history(copy.id, copy.bytes(), heads(&copy.events))
    };
    // Accepted again, the same request gets the same kind of answer and costs nothing.
    files::write_new(&args.out, &answer.write())?;
    let out = args.out.display().to_string();
    context.print("invite_accept", &accepted, |accepted, _| {
        render::accepted(accepted, &out)
    })?;
    context.hint_elsewhere(&format!("sudo mesh join {out}"));
    context.require_spread(args.wait.wait, &accepted.spread)
}

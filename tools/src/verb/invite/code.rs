//! `mesh invite --code`

use std::time::Duration;

use mesh_control::reply::{CodeOutcome, InviteCode, Invited};
use mesh_control::{Code, Error, call};

use crate::context::Context;
use crate::render::{self, Line};

/// How long a code can be used.
const LASTS: Duration = Duration::from_secs(600);

/// Shows a code for the ticket, and another one when that was burnt, until so many machines have joined.
pub(super) async fn show(
    invited: &Invited,
    uses: u32,
    no_wait: bool,
    context: &mut Context,
) -> Result<(), Error> {
    let revoke = context.command(&["invite", "revoke", &invited.invite.event.short]);
    if context.global.json {
        context.print_json("invite", invited)?;
    }
    let (mut left, mut go_on) = (uses, false);
    loop {
        let call = call::InviteCode {
            ticket: invited.ticket.clone(),
            for_seconds: u32::try_from(LASTS.as_secs()).unwrap_or(u32::MAX),
            go_on,
        };
        let shown = context.call(call).await?;
        tell(&shown, context)?;
        if no_wait {
            return Ok(());
        }
        context.note(&[Line::quiet("waiting for it; Ctrl-C does not end the code")]);
        let ended = context.call_waiting(call::InviteCodeWait {}, LASTS).await?;
        context.print("code_ended", &ended, |ended, _| render::code_ended(ended))?;
        go_on = false;
        match &ended.outcome {
            CodeOutcome::Joined { .. } if left > 1 => left -= 1,
            CodeOutcome::Joined { .. } => {
                context.hint("mesh member ls");
                return Ok(());
            }
            CodeOutcome::Burnt { stopped: false, .. } => {}
            CodeOutcome::Burnt { .. } => {
                let asks = context.terminal.input_is_terminal && context.terminal.err.is_terminal();
                if !asks || context.global.json {
                    let error = "wrong words came too often: perhaps somebody guesses";
                    return Err(Error::new(Code::Conflict, error).hint(revoke));
                }
                context.ask("type yes to show another code: ")?;
                go_on = true;
            }
            CodeOutcome::Expired { .. } => {
                let error = "the code has expired; the invite stands";
                return Err(Error::new(Code::Conflict, error).hint(revoke));
            }
        }
    }
}

fn tell(shown: &InviteCode, context: &mut Context) -> Result<(), Error> {
    if context.global.json {
        context.print_json("invite_code", shown)?;
    } else {
        context.print_secret(&shown.code)?;
    }
    let look = context.look();
    context.note(&render::invite_code(shown, &look));
    context.hint_elsewhere(&format!("sudo mesh join {} --as NAME", shown.code.reveal()));
    Ok(())
}

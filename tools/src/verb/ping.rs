//! `mesh ping NAME`

use std::pin::pin;
use std::time::Duration;

use mesh_control::client::Client;
use mesh_control::reply::Pong;
use mesh_control::{Code, Error, call};
use serde::Serialize;
use tokio::time::Instant;

use crate::context::Context;
use crate::render::{self, PingSummary};

/// Measure the way to a device
///
/// Sends echoes through the tunnel, one a second. Exit 7 if none comes back.
#[derive(clap::Args)]
pub struct Args {
    /// Name or mesh address of the device
    #[arg(value_name = "NAME")]
    to: String,
    /// How many
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
}

/// One echo, for `--json`.
#[derive(Serialize)]
struct Echo<'a> {
    seq: u32,
    #[serde(flatten)]
    pong: Option<&'a Pong>,
    error: Option<&'a str>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let mut client = context.connect().await?;
    let patience = context
        .global
        .timeout
        .map_or(PATIENCE, |timeout| timeout.min(LONGEST));
    let mut summary = PingSummary::default();
    let mut last_error = None;
    // Whoever interrupts it has seen enough, and wants the sum of it.
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    for seq in 0..args.count {
        let begun = Instant::now();
        let pong = tokio::select! {
            pong = ping(&args.to, patience, &mut client, context) => pong,
            _ = &mut interrupted => break,
        };
        let echo = match &pong {
            Ok(pong) => Echo {
                seq,
                pong: Some(pong),
                error: None,
            },
            Err(error) => Echo {
                seq,
                pong: None,
                error: Some(&error.message),
            },
        };
        summary.add(echo.pong.map(|pong| pong.rtt_us));
        match pong.as_ref() {
            Err(error) if error.code != Code::Unreachable => {
                return context.suggest(Err(error.clone()), &[&args.to]).await;
            }
            // A network that is down does not come up by waiting.
            Err(error) if error.hint.as_deref() == Some("mesh up") => return Err(error.clone()),
            // The error at the end says it all.
            Err(_) if args.count == 1 && !context.global.json => {}
            _ => context.print("ping", &echo, |_, _| render::echo(&args.to, pong.as_ref()))?,
        }
        last_error = pong.err().or(last_error);
        if seq + 1 < args.count {
            tokio::select! {
                () = tokio::time::sleep_until(begun + APART) => {}
                _ = &mut interrupted => break,
            }
        }
    }
    if args.count > 1 && summary.sent > 0 {
        context.print("ping_summary", &summary, |summary, _| {
            render::ping_summary(summary)
        })?;
    }
    match last_error {
        Some(error) if summary.back == 0 => Err(match &error.hint {
            Some(_) => error,
            None => error.hint(context.command(&["status"])),
        }),
        None if summary.back == 0 => {
            let error = Error::new(Code::Unreachable, "interrupted before an answer came");
            Err(error.hint(context.command(&["status"])))
        }
        _ => Ok(()),
    }
}

async fn ping(
    to: &str,
    patience: Duration,
    client: &mut Client,
    context: &mut Context,
) -> Result<Pong, Error> {
    let timeout_ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    let ping = call::Ping {
        network: context.network(),
        to: to.to_owned(),
        timeout_ms,
    };
    // The daemon keeps the time of the echo; `--timeout` means that one here.
    let timeout = context.global.timeout.take();
    let pong = context.call_over(client, ping, patience).await;
    context.global.timeout = timeout;
    pong
}

/// How long an echo may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest that the daemon waits.
const LONGEST: Duration = Duration::from_secs(60);
/// From one echo to the next.
const APART: Duration = Duration::from_secs(1);

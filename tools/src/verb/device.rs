//! `mesh device link [CODE]`, `mesh device ls`, `mesh device remove NAME`

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Subcommand;
use mesh_control::view::OwnDevices;
use mesh_control::{Code, Error, Secret, call, reply};

use crate::cli::Wait;
use crate::context::Context;
use crate::render::{self, Line};
use crate::{check, parse, secrets};

/// Link further machines of yours, list them, and remove one that is lost
///
/// They are all you: they enter your networks under names of their own, and what is open to you is open to each of them.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show a one-time code here, then type it on the other machine with the same command
    ///
    /// On the first machine without CODE, on the further one with it. A wrong word burns the code; an exchange that is
    /// interrupted does not, and is begun again by itself. Networks that one of them enters later come over by another code.
    Link(Link),
    /// List your devices in each network
    Ls,
    /// Remove a device of yours from any other one, with the user key; or, as an admin, a junior's
    ///
    /// Its peers cut it off in seconds, and what it signs from now on is void. You and your other devices stay.
    Remove(Remove),
}

#[derive(clap::Args)]
struct Link {
    /// The code that the other machine shows, CODE@HOST or CODE@HOST:PORT from another LAN, or - for standard input
    #[arg(value_name = "CODE|CODE@HOST:PORT|-")]
    code: Option<String>,
    /// What this machine is called in the networks; its host name if absent
    #[arg(long = "as", value_name = "HOST", requires = "code")]
    host: Option<String>,
    /// How long to try to reach the machine that shows the code
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse::duration)]
    wait: Duration,
    /// How long the code can be used, at most an hour
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = parse::duration,
          conflicts_with = "code")]
    lasts: Duration,
    /// Keep the user key here: the other machine cannot link or remove devices then
    #[arg(long, conflicts_with = "code")]
    without_key: bool,
    /// Show the code and return; it can be used all the same
    #[arg(long, conflicts_with = "code")]
    no_wait: bool,
}

#[derive(clap::Args)]
struct Remove {
    /// Name of the device, or the start of its key
    name: String,
    /// What the device signed when it knew of this event is void too, as what a thief signed before you noticed
    #[arg(long, value_name = "EVENT")]
    since: Option<String>,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    match args.action {
        Action::Link(link) if link.code.is_some() => enter(link, context).await,
        Action::Link(link) => show(link, context).await,
        Action::Ls => {
            let network = context.network();
            let devices = context.call(call::DeviceList { network }).await;
            let devices = context.suggest(devices, &[]).await?;
            context.print("devices", &devices, render::devices)
        }
        Action::Remove(remove) => self::remove(remove, context).await,
    }
}

async fn show(link: Link, context: &mut Context) -> Result<(), Error> {
    let show = call::DeviceCode {
        keep_key: link.without_key,
        for_seconds: u32::try_from(link.lasts.as_secs()).unwrap_or(u32::MAX),
    };
    let mut client = context.connect().await?;
    let shown = context
        .call_keyed(&mut client, show, Duration::ZERO)
        .await?;
    if context.global.json {
        context.print_json("device_code", &shown)?;
    } else {
        context.print_secret(&shown.code)?;
    }
    let look = context.look();
    context.note(&render::device_code(&shown, &look));
    context.hint_elsewhere(&format!("sudo mesh device link {}", shown.code.reveal()));
    if link.no_wait {
        return Ok(());
    }
    context.note(&[Line::quiet("waiting for it; Ctrl-C does not end the code")]);
    let linked = context
        .call_over(&mut client, call::DeviceCodeWait {}, link.lasts)
        .await?;
    context.print("device_linked", &linked, |linked, _| {
        render::device_linked(linked)
    })?;
    context.hint("mesh device ls");
    Ok(())
}

async fn enter(link: Link, context: &mut Context) -> Result<(), Error> {
    if let Some(host) = &link.host {
        check::label(host, context)?;
    }
    let typed = link.code.unwrap_or_default();
    let code = if typed == "-" {
        if context.terminal.input_is_terminal {
            context.note(&[Line::quiet("type the code, then Enter")]);
        }
        secrets::read(context, "-")?
    } else {
        Secret::new(typed)
    };
    check::code(&code, "mesh device link")?;
    let (mut client, _) = context.connect_or_start().await?;
    let enter = call::DeviceLink {
        code,
        at: None,
        host: link.host,
        wait_seconds: u32::try_from(link.wait.as_secs()).unwrap_or(u32::MAX),
    };
    let entered = context.call_over(&mut client, enter, link.wait).await?;
    context.print("device_entered", &entered, |entered, _| {
        render::device_entered(entered)
    })?;
    if !entered.problems.is_empty() {
        let error = "linked, but not in every network";
        return Err(Error::new(Code::Failed, error).hint("mesh device ls"));
    }
    context.hint("mesh status");
    Ok(())
}

async fn remove(remove: Remove, context: &mut Context) -> Result<(), Error> {
    let network = context.network();
    let mut places = vec![(network.clone(), remove.name.clone())];
    if network.is_none() {
        // A device that is lost is lost everywhere.
        let devices = context.call(call::DeviceList { network: None }).await?;
        let found = having(&devices.networks, &remove.name);
        if !found.is_empty() {
            places = found;
        }
    }
    if places.len() > 1 && remove.since.is_some() {
        let error = "the device is in several networks, and an event in one";
        return Err(Error::new(Code::Usage, error).hint("the same command with -n NETWORK"));
    }
    let mut client = context.connect().await?;
    let mut last: Option<reply::DeviceRemoved> = None;
    for (network, name) in places {
        let call = call::DeviceRemove {
            network,
            name,
            since: remove.since.clone(),
            reason: remove.reason.clone(),
            wait_ms: remove.wait.ms(),
        };
        let more = remove.wait.more();
        let removed = context.call_keyed(&mut client, call, more).await?;
        context.print("device_removed", &removed, |removed, _| {
            render::device_removed(removed)
        })?;
        last = Some(removed);
    }
    let Some(removed) = last else { return Ok(()) };
    if removed.own {
        context.note(&[
            Line::quiet("its thief has your user key, unless that was under a passphrase, and can add devices to you:"),
            Line::quiet("an admin's kick and a new invite end that, mesh id protect prevents it"),
        ]);
    }
    let log = context.command(&["log", "--about", &removed.name]);
    context.hint(&log);
    context.require_spread(remove.wait.wait, &removed.spread)
}

/// The networks in which one of this user's devices is meant, with its key.
fn having(networks: &[OwnDevices], name: &str) -> Vec<(Option<String>, String)> {
    let wanted = name.to_ascii_lowercase();
    let meant = |network: &OwnDevices, device: &mesh_control::view::OwnDevice| {
        let device = &device.device;
        device.name == wanted
            || format!("{}.{}", device.name, network.network) == wanted
            || (wanted.len() >= 4 && device.device.starts_with(&wanted))
    };
    let named: BTreeSet<&str> = networks
        .iter()
        .flat_map(|network| {
            let devices = network.devices.iter();
            devices.filter(move |device| meant(network, device))
        })
        .map(|device| device.device.device.as_str())
        .collect();
    // Two devices of one name in two networks: which is meant, only a network says.
    let [device] = named.into_iter().collect::<Vec<_>>()[..] else {
        return Vec::new();
    };
    let has = |network: &&OwnDevices| {
        let mut devices = network.devices.iter();
        devices.any(|own| own.device.device == device)
    };
    networks
        .iter()
        .filter(has)
        .map(|network| (Some(network.id.clone()), device.to_owned()))
        .collect()
}

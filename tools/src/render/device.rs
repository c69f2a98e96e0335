//! A user's devices.

use mesh_control::reply::{DeviceCode, DeviceEntered, DeviceLinked, DeviceRemoved, Devices};
use mesh_control::view::UserKeyPlace;

use super::member::{mark, seen};
use super::network::{me, or_none};
use super::office::voided;
use super::outcome::spread;
use super::table::Table;
use super::units::duration;
use super::{Line, Look, Role, listed};

/// A code is shown: how long, where else, and what the other machine gets.
pub(crate) fn device_code(code: &DeviceCode, look: &Look) -> Vec<Line> {
    let left = code.expires_ms.saturating_sub(look.now_ms);
    let left = std::time::Duration::from_secs(left.div_ceil(1_000));
    let networks = match code.networks.as_slice() {
        [] => "is in no network yet".to_owned(),
        names => format!("enters {}", listed(names)),
    };
    let key = if code.key {
        "gets the user key, with which it can link and remove devices"
    } else {
        "does not get the user key"
    };
    let mut lines = vec![
        Line::plain(format!(
            "type it on the other machine, within {}",
            duration(left)
        )),
        Line::plain(format!("that machine {networks}, and {key}")),
    ];
    if let Some(address) = code.addresses.first() {
        lines.push(Line::quiet(format!(
            "from another LAN: the code, @ and an address of this machine that is reached from there, as @{address}"
        )));
    }
    lines
}

/// A further device was linked here.
pub(crate) fn device_linked(linked: &DeviceLinked) -> Vec<Line> {
    let names = match linked.names.as_slice() {
        [] => "a device".to_owned(),
        names => listed(names),
    };
    let key = if linked.key {
        ""
    } else {
        ", without the user key"
    };
    vec![
        Line::plain("linked ")
            .and(Role::Ok, names)
            .and(Role::Plain, format!(" ({}){key}", linked.short)),
    ]
}

/// This machine is a further device.
pub(crate) fn device_entered(entered: &DeviceEntered) -> Vec<Line> {
    let key = match entered.user_key {
        UserKeyPlace::Here => "with the user key",
        UserKeyPlace::Protected => "with the user key, under its passphrase",
        UserKeyPlace::Elsewhere => "without the user key",
    };
    let short: String = entered.user.chars().take(8).collect();
    let mut lines = vec![Line::plain(format!(
        "linked to user {short} by device {}, {key}",
        entered.by_short
    ))];
    for network in &entered.networks {
        lines.push(Line::plain(format!("entered {}: ", network.name)).and(Role::Me, me(network)));
    }
    lines.extend(
        entered
            .problems
            .iter()
            .map(|problem| Line::new(Role::Care, "! ").and(Role::Plain, problem)),
    );
    lines
}

/// A user's devices, one line for each in each network.
pub(crate) fn devices(devices: &Devices, look: &Look) -> Vec<Line> {
    let mut table = Table::new()
        .name("  DEVICE")
        .name("NETWORK")
        .name("ADDRESS")
        .number("SEEN", 1)
        .text("", 2)
        .text("IPV6", 4)
        .text("KEY", 3);
    for network in &devices.networks {
        for own in &network.devices {
            let device = &own.device;
            let what = match (own.me, own.first) {
                (true, _) => "this machine".to_owned(),
                (false, true) => format!("what {} means", network.user),
                (false, false) => String::new(),
            };
            let role = if own.me { Role::Me } else { Role::Plain };
            table.row(vec![
                mark(device).and(role, &device.name),
                Line::plain(&network.network),
                Line::plain(&device.address),
                Line::plain(seen(device, look.now_ms)),
                Line::quiet(what),
                Line::plain(&device.address6),
                Line::quiet(&device.short),
            ]);
        }
    }
    or_none(table.lines(look.width), "no network here")
}

/// A device was removed.
pub(crate) fn device_removed(removed: &DeviceRemoved) -> Vec<Line> {
    let whose = if removed.own {
        String::new()
    } else {
        format!(" of {}", removed.user)
    };
    let mut lines = vec![Line::plain(format!(
        "removed {}.{}{whose}; event {}, {}{}",
        removed.name,
        removed.network,
        removed.event.short,
        spread(&removed.spread),
        voided(removed.acts_voided),
    ))];
    match removed.invites_closed.as_slice() {
        [] => {}
        [one] => lines.push(Line::plain(format!("closed invite {one}, which it made"))),
        several => lines.push(Line::plain(format!(
            "closed invites {}, which it made",
            listed(several)
        ))),
    }
    lines
}

//! Settings of a network.

use mesh_control::reply::{SettingWritten, Settings};
use mesh_control::view::SettingView;

use super::outcome::spread;
use super::table::Table;
use super::{Line, Look};

/// All settings.
pub(crate) fn settings(settings: &Settings, look: &Look) -> Vec<Line> {
    let mut table = Table::new()
        .name("SETTING")
        .name("VALUE")
        .text("DEFAULT", 2)
        .text("WHAT IT DOES", 1);
    for setting in &settings.settings {
        table.row(vec![
            Line::plain(&setting.key),
            Line::plain(&setting.value),
            Line::plain(&setting.default),
            Line::plain(&setting.about),
        ]);
    }
    table.lines(look.width)
}

/// The value of one, and nothing else: for scripts.
pub(crate) fn setting(setting: &SettingView) -> Vec<Line> {
    vec![Line::plain(&setting.value)]
}

/// One was set.
pub(crate) fn setting_written(written: &SettingWritten) -> Vec<Line> {
    let SettingView {
        key,
        value,
        default,
        ..
    } = &written.setting;
    let default = if value == default {
        ", the default"
    } else {
        ""
    };
    vec![Line::plain(format!(
        "{key} is {value}{default}; event {}, {}",
        written.event.short,
        spread(&written.spread)
    ))]
}

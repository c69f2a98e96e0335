//! Turns values into styled lines: a value and a [`Look`] in, [`Line`]s out. No I/O, no clock.
//!
//! Text left, numbers right, two spaces between columns. Colour only repeats a word or a symbol. Whatever text comes in
//! is stripped of control and bidi characters here, in [`Span`], and nowhere else.

mod carry;
mod device;
mod dns;
mod history;
mod invite;
mod log;
mod member;
mod network;
mod offer;
mod office;
mod outcome;
mod reach;
mod server;
mod setting;
mod table;
mod text;
mod units;
mod why;

pub(crate) use carry::{
    accepted, exported, file_is_partial, imported, log_exported, proven, requested,
};
pub(crate) use device::{device_code, device_entered, device_linked, device_removed, devices};
pub(crate) use dns::{dns_answer, dns_statuses};
pub(crate) use history::{
    differences, log_shown, past_admins, past_invites, past_members, past_offers, past_status,
};
pub(crate) use invite::{
    Inspected, code_ended, invite_code, invite_revoked, invited, invites, ticket,
};
pub(crate) use log::{followed, log, older_left_out, turned, verified};
pub(crate) use member::{identity, member, members, protected, rotated};
pub(crate) use network::{created, down, joined, left, networks, statuses, up};
pub(crate) use offer::{offers, relays, shared, unshared};
pub(crate) use office::{
    is_quiet, kicked, new_words, owner_changed, owner_offered, previewed, signed,
};
pub(crate) use outcome::{PingSummary, echo, error, ping_summary, synced};
pub(crate) use reach::{diagnosis, netcheck, path};
pub(crate) use server::{server_added, server_is_well, server_removed, servers, servers_in_full};
pub(crate) use setting::{setting, setting_written, settings};
pub(crate) use text::{clean, escape_json};
pub(crate) use units::{ago, duration};
pub(crate) use why::why;

/// What decides how a value is shown, beside the value.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns to fit into; nothing for a pipe, which gets all.
    pub width: Option<usize>,
    /// The time that ages count from, in milliseconds since 1970.
    pub now_ms: u64,
}

/// What a piece of text is for; the theme gives each its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing special.
    Plain,
    /// As it should be.
    Ok,
    /// Needs care.
    Care,
    /// Wrong, refused, void.
    Bad,
    /// This device.
    Me,
    /// Without effect: struck out.
    Void,
    /// Beside the point.
    Quiet,
    /// A heading.
    Head,
}

/// A piece of text with its role, free of control and bidi characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    text: String,
    role: Role,
}

impl Span {
    /// Takes any text and strips it.
    pub fn new(role: Role, text: impl AsRef<str>) -> Self {
        Self {
            text: text::clean(text.as_ref()),
            role,
        }
    }

    /// The stripped text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it is for.
    pub const fn role(&self) -> Role {
        self.role
    }
}

/// A line, or a cell of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    spans: Vec<Span>,
}

impl Line {
    /// A line of one span.
    pub fn new(role: Role, text: impl AsRef<str>) -> Self {
        Self::default().and(role, text)
    }

    /// A line of plain text.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self::new(Role::Plain, text)
    }

    /// A line that is beside the point.
    pub fn quiet(text: impl AsRef<str>) -> Self {
        Self::new(Role::Quiet, text)
    }

    /// The command to type next.
    pub fn hint(command: impl AsRef<str>) -> Self {
        Self::new(Role::Quiet, "→ ").and(Role::Plain, command)
    }

    /// The same line with more behind it.
    #[must_use]
    pub fn and(mut self, role: Role, text: impl AsRef<str>) -> Self {
        let span = Span::new(role, text);
        if !span.text.is_empty() {
            self.spans.push(span);
        }
        self
    }

    /// The pieces from left to right.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Columns it takes.
    pub fn width(&self) -> usize {
        self.spans.iter().map(|span| text::width(&span.text)).sum()
    }

    /// The same line in at most so many columns, with `…` where something is cut off.
    #[must_use]
    pub fn cut(self, width: Option<usize>) -> Self {
        let Some(width) = width else { return self };
        if self.width() <= width {
            return self;
        }
        let mut room = width.saturating_sub(1);
        let mut spans = Vec::new();
        let mut role = Role::Plain;
        for span in self.spans {
            let kept = text::fit(&span.text, room);
            room -= text::width(kept);
            role = span.role;
            let whole = kept.len() == span.text.len();
            if !kept.is_empty() {
                spans.push(Span {
                    text: kept.to_owned(),
                    role,
                });
            }
            if !whole {
                break;
            }
        }
        if width > 0 {
            spans.push(Span {
                text: "…".to_owned(),
                role,
            });
        }
        Self { spans }
    }
}

/// Joins words as people do: `a`, `a and b`, `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// `1 event`, `2 events`.
pub(crate) fn counted(count: u64, one: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {one}s")
    }
}

#[cfg(test)]
pub(crate) fn plain_text(lines: &[Line]) -> String {
    let line = |line: &Line| {
        line.spans
            .iter()
            .map(|span| span.text.as_str())
            .collect::<String>()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_its_width_and_says_so() {
        let line = Line::plain("carol").and(Role::Ok, " is here");
        assert_eq!(plain_text(&[line.clone().cut(Some(20))]), "carol is here");
        assert_eq!(plain_text(&[line.clone().cut(Some(8))]), "carol i…");
        assert_eq!(plain_text(&[line.clone().cut(Some(5))]), "caro…");
        assert_eq!(plain_text(&[line.cut(Some(0))]), "");
    }

    #[test]
    fn nothing_gets_into_a_span_that_could_steer_the_terminal() {
        let line = Line::plain("\u{1b}[31mbob\u{202e}\u{9b}0m\r\nroot");
        assert_eq!(plain_text(&[line]), "[31mbob0m root");
    }
}

//! The two kinds of text that may come from others, checked once, when they are parsed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A text that is no `Label`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a name: {why}")]
pub struct BadLabel {
    /// The text, cut to 80 characters.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A host, network, service or tag name: one RFC 1123 label in lower case, 1–63 characters, and neither `localhost` nor
/// `wpad`, which machines trust by name. Cheap to clone: a fold has the same ones in many places.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Arc<str>);

impl Label {
    /// The longest label.
    pub const MAX: usize = 63;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label with `-n` behind it, cut so that it stays a label: `bob`, `bob-2`, …
    #[must_use]
    pub fn numbered(&self, n: u32) -> Self {
        let tail = format!("-{n}");
        let stem: String = self.0.chars().take(Self::MAX - tail.len()).collect();
        Self(format!("{}{tail}", stem.trim_end_matches('-')).into())
    }
}

impl FromStr for Label {
    type Err = BadLabel;

    fn from_str(text: &str) -> Result<Self, BadLabel> {
        let bad = |why| {
            Err(BadLabel {
                text: text.chars().take(80).collect(),
                why,
            })
        };
        if text.is_empty() || text.len() > Self::MAX {
            return bad("it must have 1 to 63 characters");
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return bad("only the letters a to z, digits and - may stand in it");
        }
        if text.starts_with('-') || text.ends_with('-') {
            return bad("it must not begin or end with -");
        }
        if text == "localhost" || text == "wpad" {
            return bad("machines give that name a meaning of their own");
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Label {
    type Error = BadLabel;

    fn try_from(text: String) -> Result<Self, BadLabel> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.as_str().to_owned()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A text that is no `Note`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a note has 1 to 120 characters, and no control, direction or invisible ones")]
pub struct BadNote;

/// Free text by a person, safe to print: 1–120 characters, none that controls a terminal, turns the reading direction or
/// has no width.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Note(String);

impl Note {
    /// The most characters of a note.
    pub const MAX: usize = 120;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

impl FromStr for Note {
    type Err = BadNote;

    fn from_str(text: &str) -> Result<Self, BadNote> {
        let length = text.chars().count();
        if length == 0 || length > Self::MAX || text.chars().any(unprintable) {
            return Err(BadNote);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Note {
    type Error = BadNote;

    fn try_from(text: String) -> Result<Self, BadNote> {
        text.parse()
    }
}

impl From<Note> for String {
    fn from(note: Note) -> Self {
        note.0
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_host_names_and_nothing_else() {
        for good in ["a", "bob", "bob-2", "0day", &"a".repeat(63)] {
            assert!(good.parse::<Label>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "Bob",
            "b b",
            "b.c",
            "bö",
            "_x",
            "localhost",
            "wpad",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<Label>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_numbered_label_is_still_a_label() {
        let long: Label = "a".repeat(63).parse().unwrap();
        assert!(long.numbered(12).as_str().parse::<Label>().is_ok());
        let bob: Label = "bob".parse().unwrap();
        assert_eq!(bob.numbered(2).as_str(), "bob-2");
    }

    #[test]
    fn notes_cannot_drive_a_terminal() {
        assert!("key stolen, été 中".parse::<Note>().is_ok());
        for bad in [
            "",
            "a\u{1b}[2J",
            "a\nb",
            "\u{202e}abc",
            "zero\u{200b}width",
            &"x".repeat(121),
        ] {
            assert!(bad.parse::<Note>().is_err(), "{bad:?}");
        }
    }
}

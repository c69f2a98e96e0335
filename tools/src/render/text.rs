//! Text that others wrote, made fit to print.

use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text without control and bidi characters; white space of any kind becomes single spaces where it held such.
pub(crate) fn clean(text: &str) -> String {
    if !text.chars().any(steers) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        if !steers(letter) {
            clean.push(letter);
        } else if letter.is_whitespace() && !clean.ends_with(' ') {
            clean.push(' ');
        }
    }
    clean
}

/// JSON with control and bidi characters escaped: the same value, and harmless to a terminal. Such characters can only
/// stand inside of strings, where an escape means the same.
pub(crate) fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for letter in json.chars() {
        if steers(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// Columns of a terminal that the text takes.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// As much of the text's beginning as fits into so many columns.
pub(super) fn fit(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, letter) in text.char_indices() {
        used += UnicodeWidthChar::width(letter).unwrap_or(0);
        if used > columns {
            return text.get(..at).unwrap_or_default();
        }
    }
    text
}

/// Whether a character moves the cursor, changes the direction of writing, or is there and not seen.
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_stripped_and_the_rest_is_kept() {
        assert_eq!(clean("bob"), "bob");
        assert_eq!(clean("Žofie 东京"), "Žofie 东京");
        assert_eq!(clean("a\u{1b}]0;x\u{7}b"), "a]0;xb");
        assert_eq!(clean("a\t\n b"), "a  b");
        assert_eq!(clean("\u{202e}evil\u{2066}\u{e0041}"), "evil");
    }

    #[test]
    fn escaped_json_means_the_same_and_steers_nothing() -> Result<(), serde_json::Error> {
        let text = "a\u{202e}b\u{9b}c\u{e0041}\n\u{7f}";
        let escaped = escape_json(&serde_json::to_string(text)?);
        assert!(!escaped.chars().any(steers), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped)?, text);
        Ok(())
    }

    #[test]
    fn wide_letters_are_cut_whole() {
        assert_eq!(fit("东京", 3), "东");
        assert_eq!(fit("abc", 3), "abc");
    }
}

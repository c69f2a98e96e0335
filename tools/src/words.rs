//! Recovery words as they are typed: never an argument, for process lists show those to everybody, and not to be seen on the
//! screen.

use std::io::Read;

use mesh_control::{Code, Error, Secret};
use mesh_ledger::recovery::{BadWords, RecoveryWords};

use crate::context::Context;
use crate::output::Unseen;
use crate::render::Line;

/// How many words there are.
const WORDS: usize = 24;
/// More is no list of words.
const LONGEST: usize = 4096;
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
/// Backspace, as terminals send it.
const ERASE: [u8; 2] = [8, 127];

/// The recovery words: from standard input for `-` and where nobody sits there, else asked for.
///
/// # Errors
/// Usage if they are given as an argument, or are none.
pub(crate) fn read(typed: Option<&str>, context: &mut Context) -> Result<Secret, Error> {
    if let Some(typed) = typed.filter(|typed| *typed != "-") {
        let error =
            "recovery words are not given as arguments, which others on this machine can see";
        let hint = context.retyped("sudo mesh", typed, "-");
        return Err(Error::new(Code::Usage, error).hint(hint));
    }
    let at_a_terminal = context.terminal.input_is_terminal;
    let unseen = if at_a_terminal {
        context.note(&[Line::quiet(
            "type the 24 recovery words, on one line or several; they are not shown",
        )]);
        Unseen::begin()
    } else {
        None
    };
    let words = take(&mut *context.terminal.input, at_a_terminal);
    if unseen.is_some() {
        // The end of the line was not shown either.
        context.note(&[Line::default()]);
    }
    drop(unseen);
    let words = words?;
    match words.reveal().parse::<RecoveryWords>() {
        Ok(_) => Ok(words),
        // Nothing of them is shown but the place of the mistake.
        Err(bad) => Err(mistake(&bad)),
    }
}

fn mistake(bad: &BadWords) -> Error {
    Error::new(Code::Usage, bad.to_string()).hint("mesh owner --help")
}

/// Reads until there are enough words and a line ends, or the input does; at a terminal an empty line ends it too.
fn take(input: &mut dyn Read, at_a_terminal: bool) -> Result<Secret, Error> {
    // Room for all of it, so that no copy is left behind as it grows.
    let mut text = String::with_capacity(LONGEST);
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if at_a_terminal && byte[0] == CTRL_C => {
                return Err(Error::new(Code::Failed, "nothing was signed"));
            }
            Ok(_) if at_a_terminal && byte[0] == CTRL_D => break,
            Ok(_) if at_a_terminal && ERASE.contains(&byte[0]) => {
                text.pop();
            }
            Ok(_) if byte[0].is_ascii() && text.len() < LONGEST => text.push(char::from(byte[0])),
            Ok(_) => return Err(mistake(&BadWords::Count(0))),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let error = format!("cannot read standard input: {error}");
                return Err(Error::new(Code::Failed, error));
            }
        }
        let enough = || {
            let words = text.split(|letter: char| !letter.is_ascii_alphabetic());
            words.filter(|word| !word.is_empty()).count() >= WORDS
        };
        let ends = byte == *b"\n";
        if ends && (enough() || (at_a_terminal && text.ends_with("\n\n"))) {
            break;
        }
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn words() -> String {
        RecoveryWords::from_entropy([0x5a; 32]).words().to_string()
    }

    #[test]
    fn words_are_read_from_one_line_or_several_and_nothing_behind_them() {
        let one = format!("{}\nnext command\n", words());
        let mut input = one.as_bytes();
        assert_eq!(take(&mut input, true).unwrap().reveal().trim(), words());
        assert_eq!(input, b"next command\n");
        let lines = words().replace(' ', "\n");
        let read = take(&mut lines.as_bytes(), false).unwrap();
        let read: RecoveryWords = read.reveal().parse().unwrap();
        assert_eq!(read, words().parse().unwrap());
    }

    #[test]
    fn an_empty_line_ends_what_is_typed_and_what_is_endless_is_refused() {
        let read = take(&mut "abandon\n\nability\n".as_bytes(), true).unwrap();
        assert_eq!(read.reveal(), "abandon\n\n");
        let read = take(&mut "abx\x7fandon\x04more".as_bytes(), true).unwrap();
        assert_eq!(read.reveal(), "abandon");
        assert!(take(&mut "abandon\x03".as_bytes(), true).is_err());
        assert!(take(&mut std::io::repeat(b'x'), false).is_err());
        assert!(take(&mut "wägelchen\n".as_bytes(), false).is_err());
    }
}

//! Passphrases: from the terminal without echo, from standard input or a file, never from an argument.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mesh_control::{Code, Error, Secret};
use zeroize::Zeroizing;

use crate::context::Context;

/// The most bytes of a line that holds a secret.
const MAX_LINE: usize = 1024;

/// The passphrase of the user key: from where `--passphrase` says, or asked at the terminal. Nothing where there is neither.
pub(crate) fn passphrase(context: &mut Context, prompt: &str) -> Result<Option<Secret>, Error> {
    match context.global.passphrase.clone() {
        Some(from) => read(context, &from).map(Some),
        None if context.terminal.input_is_terminal => ask(context, prompt).map(Some),
        None => Ok(None),
    }
}

/// A new passphrase: from where `from` says, or asked at the terminal, twice.
pub(crate) fn new_passphrase(context: &mut Context, from: Option<&str>) -> Result<Secret, Error> {
    if let Some(from) = from {
        return read(context, from);
    }
    if !context.terminal.input_is_terminal {
        let error = "there is no terminal to ask for the new passphrase at";
        return Err(Error::new(Code::Usage, error).hint("mesh id protect -"));
    }
    let passphrase = ask(context, "new passphrase: ")?;
    if ask(context, "once more: ")? == passphrase {
        Ok(passphrase)
    } else {
        Err(Error::new(Code::Usage, "these are two passphrases").hint("mesh id protect"))
    }
}

/// A secret from `-`, standard input's next line, or `@FILE`.
pub(crate) fn read(context: &mut Context, from: &str) -> Result<Secret, Error> {
    check_source(from)?;
    if from == "-" {
        return line(&mut *context.terminal.input, "standard input");
    }
    let path = from.trim_start_matches('@');
    let mut file = File::open(Path::new(path))
        .map_err(|error| Error::new(Code::Usage, format!("cannot read {path}: {error}")))?;
    line(&mut file, path)
}

/// Whether secrets are read from there. The secret itself is refused, and not repeated: it may be the right one.
pub(crate) fn check_source(from: &str) -> Result<(), Error> {
    if from == "-" || (from.len() > 1 && from.starts_with('@')) {
        return Ok(());
    }
    let error = "a passphrase is no argument, which process lists show: write - for standard input, or @FILE";
    Err(Error::new(Code::Usage, error))
}

/// Writes a secret to a new file that only its owner can read.
pub(crate) fn write(path: &Path, secret: &Secret) -> Result<(), Error> {
    let written = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(secret.reveal().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    written().map_err(|error| {
        Error::new(
            Code::Failed,
            format!("cannot write {}: {error}", path.display()),
        )
    })
}

fn ask(context: &mut Context, prompt: &str) -> Result<Secret, Error> {
    let read = (context.terminal.ask)(prompt);
    read.map(Secret::new)
        .map_err(|error| Error::new(Code::Failed, format!("cannot read the terminal: {error}")))
}

/// One line, byte by byte: what stands behind it is for the next that asks.
pub(crate) fn line(from: &mut dyn Read, name: &str) -> Result<Secret, Error> {
    // Of a size that holds it, so that it does not move and leave a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    let mut byte = [0];
    loop {
        match from.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) if text.len() == MAX_LINE => {
                let error = format!("{name} holds a line of more than {MAX_LINE} bytes");
                return Err(Error::new(Code::Usage, error));
            }
            Ok(_) => text.extend_from_slice(&byte),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let error = format!("cannot read {name}: {error}");
                return Err(Error::new(Code::Failed, error));
            }
        }
    }
    let text = std::str::from_utf8(&text).map(|text| text.trim_end_matches('\r'));
    match text {
        Ok("") => Err(Error::new(Code::Usage, format!("{name} is empty"))),
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(Error::new(Code::Usage, format!("{name} holds no text"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn secrets_are_read_line_by_line_and_neither_empty_nor_endless() {
        let mut from: &[u8] = b"correct horse\r\nbattery\n\n";
        assert_eq!(line(&mut from, "x").unwrap().reveal(), "correct horse");
        assert_eq!(line(&mut from, "x").unwrap().reveal(), "battery");
        assert!(line(&mut from, "x").is_err());
        assert!(line(&mut &vec![b'x'; 5000][..], "x").is_err());
        assert!(line(&mut &[0xff, b'\n'][..], "x").is_err());
    }
}

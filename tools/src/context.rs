//! What every verb has at hand: the global options, the way to the daemon, and the ways out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_control::call::{self, Proposed, Unlocked, Verb as CallVerb};
use mesh_control::client::Client;
use mesh_control::view::Spread;
use mesh_control::{Code, Error, Secret};
use nix::unistd::Uid;
use serde::Serialize;

use crate::cli::{Color, Consent, Global, Verb};
use crate::output::{Symbols, Terminal};
use crate::render::{self, Line, Look};
use crate::start::{self, Started};
use crate::{parse, secrets, suggest};

/// See the module.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) terminal: Terminal,
    typed: Vec<String>,
    verb: Option<Verb>,
    /// The passphrase of the user key, once it was asked for.
    passphrase: Option<Secret>,
}

impl Context {
    pub(crate) fn new(mut global: Global, mut terminal: Terminal, args: &[OsString]) -> Self {
        for stream in [&mut terminal.out, &mut terminal.err] {
            match global.color {
                Color::Auto => {}
                Color::Always => stream.set_color(true),
                Color::Never => stream.set_color(false),
            }
            if global.ascii {
                stream.set_symbols(Symbols::Ascii);
            }
        }
        // The daemon that is started and the reader of a hint may be in another folder.
        let root = global.root.take();
        global.root = root.map(|root| std::path::absolute(&root).unwrap_or(root));
        let typed = args
            .iter()
            .skip(1)
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        Self {
            global,
            terminal,
            typed,
            verb: None,
            passphrase: None,
        }
    }

    pub(crate) fn with(mut self, verb: Verb) -> Self {
        self.verb = Some(verb);
        self
    }

    pub(crate) fn take_verb(&mut self) -> Option<Verb> {
        self.verb.take()
    }

    /// The network that was named, for a call.
    pub(crate) fn network(&self) -> Option<String> {
        self.global.network.clone()
    }

    // The daemon.

    /// Where the daemon listens.
    pub(crate) fn socket(&self) -> PathBuf {
        let run = Path::new("run/mesh/meshd.sock");
        self.global
            .root
            .as_deref()
            .unwrap_or(Path::new("/"))
            .join(run)
    }

    /// Where the daemon keeps keys and stores.
    pub(crate) fn state_folder(&self) -> PathBuf {
        self.global
            .root
            .as_deref()
            .unwrap_or(Path::new("/"))
            .join("var/lib/mesh")
    }

    /// A connection to the running daemon.
    pub(crate) async fn connect(&self) -> Result<Client, Error> {
        Client::connect(&self.socket())
            .await
            .map_err(|error| match error.code {
                Code::NotRunning => error.hint("sudo mesh up"),
                Code::NotPermitted => error.hint(self.typed_as_root()),
                _ => error,
            })
    }

    /// A connection to the daemon, which is started when it does not run.
    pub(crate) async fn connect_or_start(&mut self) -> Result<(Client, Option<Started>), Error> {
        match self.connect().await {
            Ok(client) => Ok((client, None)),
            Err(error) if error.code == Code::NotRunning => {
                if !Uid::effective().is_root() {
                    let error = Error::new(
                        Code::NotPermitted,
                        "meshd is not running, and only root can start it",
                    );
                    return Err(error.hint(self.typed_as_root()));
                }
                self.note(&[Line::quiet("starting meshd")]);
                let started = start::start(self.global.root.as_deref()).await?;
                self.note(&[Line::quiet(started.to_string())]);
                Ok((self.connect().await?, Some(started)))
            }
            Err(error) => Err(error),
        }
    }

    /// Asks the running daemon for something that it answers at once.
    pub(crate) async fn call<V: CallVerb>(&mut self, verb: V) -> Result<V::Answer, Error> {
        self.call_waiting(verb, Duration::ZERO).await
    }

    /// Asks the running daemon for something that it may need `more` time for.
    pub(crate) async fn call_waiting<V: CallVerb>(
        &mut self,
        verb: V,
        more: Duration,
    ) -> Result<V::Answer, Error> {
        let mut client = self.connect().await?;
        self.call_over(&mut client, verb, more).await
    }

    /// Asks over a connection, and gives up when the time is over.
    pub(crate) async fn call_over<V: CallVerb>(
        &mut self,
        client: &mut Client,
        verb: V,
        more: Duration,
    ) -> Result<V::Answer, Error> {
        let limit = self.global.timeout.unwrap_or(ANSWER + more);
        if self.global.verbose > 0 {
            let to = format!(
                "{} to meshd {} at {}",
                V::NAME,
                client.version(),
                self.socket().display()
            );
            self.note(&[Line::quiet(to)]);
        }
        match tokio::time::timeout(limit, client.call(verb)).await {
            Ok(answer) => answer,
            Err(_) => {
                let message = format!("no answer within {}", render::duration(limit));
                Err(Error::new(Code::Unreachable, message).hint("mesh status"))
            }
        }
    }

    /// Asks over a connection for something that may take the user key, and for its passphrase if it does and is under one.
    pub(crate) async fn call_keyed<V: CallVerb + Clone>(
        &mut self,
        client: &mut Client,
        verb: V,
        more: Duration,
    ) -> Result<V::Answer, Error> {
        if self.passphrase.is_none() {
            let error = match self.call_over(client, verb.clone(), more).await {
                Err(error) if error.needs_passphrase => error,
                answer => return answer,
            };
            self.ask_passphrase()?;
            if self.passphrase.is_none() {
                return Err(error);
            }
        }
        let passphrase = self.passphrase.clone().unwrap_or_else(|| Secret::new(""));
        self.call_over(client, Unlocked { passphrase, verb }, more)
            .await
    }

    /// Asks for the passphrase of the user key, if there is somebody or something to ask.
    pub(crate) fn ask_passphrase(&mut self) -> Result<(), Error> {
        if self.passphrase.is_none() {
            self.passphrase = secrets::passphrase(self, "passphrase of the user key: ")?;
        }
        Ok(())
    }

    /// Adds the next command to an error that names none: to `not_found` the command that was meant, if a network or one
    /// of `names` is much like a name here; to `not_permitted` where to see who may.
    pub(crate) async fn suggest<T>(
        &mut self,
        answer: Result<T, Error>,
        names: &[&str],
    ) -> Result<T, Error> {
        let error = match answer {
            Err(error) if error.hint.is_none() => error,
            other => return other,
        };
        Err(match error.code {
            Code::NotFound => match suggest::meant(self, names).await {
                Some((wrong, right)) => error.hint(self.retyped("mesh", &wrong, &right)),
                None if names.is_empty() => error.hint("mesh networks"),
                None => error.hint(self.command(&["member", "ls"])),
            },
            Code::NotPermitted => error.hint(self.command(&["admin", "ls"])),
            _ => error,
        })
    }

    /// With `--wait`, an event that nobody else has yet although there is somebody is an error of its own.
    pub(crate) fn require_spread(
        &self,
        waited: Option<Duration>,
        spread: &Spread,
    ) -> Result<(), Error> {
        match waited {
            Some(waited) if spread.have == 0 && spread.servers == 0 && spread.of > 0 => {
                let message = format!(
                    "signed, but after {} no other device has it",
                    render::duration(waited)
                );
                Err(Error::new(Code::LocalOnly, message).hint("mesh status"))
            }
            _ => Ok(()),
        }
    }

    // Consent.

    /// Whether somebody is there to be asked, and wants to be.
    pub(crate) fn may_ask(&self, consent: Consent) -> bool {
        let here = self.terminal.input_is_terminal && self.terminal.err.is_terminal();
        here && !consent.yes && !self.global.json
    }

    /// Asks for a yes.
    pub(crate) fn ask(&mut self, question: &str) -> Result<(), Error> {
        let asked = self.terminal.err.write_plain(question);
        asked.map_err(|error| cannot_write(&error))?;
        let answer = parse::line(&mut *self.terminal.input)?;
        if answer.trim() == "yes" {
            return Ok(());
        }
        Err(Error::new(Code::Failed, "nothing was signed"))
    }

    /// Whether to sign an act: not if it is only to be shown. Where it makes anything void, or changes anything for others
    /// than `names`, somebody at a terminal is shown that and asked first.
    pub(crate) async fn consent(
        &mut self,
        act: Proposed,
        consent: Consent,
        names: &[&str],
    ) -> Result<bool, Error> {
        if !consent.dry_run && !self.may_ask(consent) {
            return Ok(true);
        }
        let previewed = self.call(call::Preview { act }).await;
        let previewed = self.suggest(previewed, names).await?;
        if consent.dry_run {
            self.print("preview", &previewed, |previewed, _| {
                render::previewed(previewed)
            })?;
            return Ok(false);
        }
        if !render::is_quiet(&previewed.consequences, &previewed.name) {
            self.note(&render::previewed(&previewed));
            self.ask("type yes to sign: ")?;
        }
        Ok(true)
    }

    // Ways out.

    /// How to show things on standard output.
    pub(crate) fn look(&self) -> Look {
        Look {
            width: self.terminal.out.width(),
            now_ms: (self.terminal.now_ms)(),
        }
    }

    /// Prints the result: `value` tagged with its schema for `--json`, else what `lines` makes of it.
    pub(crate) fn print<T: Serialize>(
        &mut self,
        schema: &str,
        value: &T,
        lines: impl FnOnce(&T, &Look) -> Vec<Line>,
    ) -> Result<(), Error> {
        if self.global.json {
            return self.print_json(schema, value);
        }
        let lines = lines(value, &self.look());
        self.terminal
            .out
            .write(&lines)
            .map_err(|error| cannot_write(&error))
    }

    /// Prints `value` tagged with its schema as one line of JSON.
    pub(crate) fn print_json<T: Serialize>(
        &mut self,
        schema: &str,
        value: &T,
    ) -> Result<(), Error> {
        let line = tagged(schema, value)?;
        self.terminal
            .out
            .write(&[Line::plain(line)])
            .map_err(|error| cannot_write(&error))
    }

    /// Prints a secret, and nothing else, as one line of standard output.
    pub(crate) fn print_secret(&mut self, secret: &Secret) -> Result<(), Error> {
        self.terminal
            .out
            .write(&[Line::plain(secret.reveal())])
            .map_err(|error| cannot_write(&error))
    }

    /// Prints a text for another program.
    pub(crate) fn print_script(&mut self, script: &str) -> Result<(), Error> {
        self.terminal
            .out
            .write_plain(script)
            .map_err(|error| cannot_write(&error))
    }

    /// Prints bytes for another program or a file.
    pub(crate) fn print_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.terminal.out.is_terminal() {
            let message = "the result is no text: send it to a file or a program";
            return Err(Error::new(Code::Usage, message)
                .hint(format!("{} > FILE", self.line("mesh", &self.typed))));
        }
        self.terminal
            .out
            .write_bytes(bytes)
            .map_err(|error| cannot_write(&error))
    }

    /// Says something beside the result, unless `--quiet` or `--json`.
    pub(crate) fn note(&mut self, lines: &[Line]) {
        if !self.global.quiet && !self.global.json {
            let _ = self.terminal.err.write(lines);
        }
    }

    /// Names the command to type next here, to somebody who reads it at a terminal.
    pub(crate) fn hint(&mut self, command: &str) {
        self.hint_elsewhere(&self.here(command));
    }

    /// Names the command to type next on another machine.
    pub(crate) fn hint_elsewhere(&mut self, command: &str) {
        if self.terminal.out.is_terminal() {
            self.note(&[Line::hint(command)]);
        }
    }

    /// Says why the command failed, and what to type next. An error without a message has been told by the result.
    pub(crate) fn print_error(&mut self, error: &Error) {
        if error.message.is_empty() {
            return;
        }
        let hint = error.hint.as_deref().map(|hint| self.here(hint));
        let error = &Error {
            hint,
            ..error.clone()
        };
        let lines = if self.global.json {
            match tagged("error", error) {
                Ok(line) => vec![Line::plain(line)],
                Err(error) => render::error(&error),
            }
        } else {
            render::error(error)
        };
        let _ = self.terminal.err.write(&lines);
    }

    /// A command line about the network that was named, if one was: `mesh log --about bob -n home`.
    pub(crate) fn command(&self, args: &[&str]) -> String {
        let mut words: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        if let Some(network) = &self.global.network {
            words.extend(["-n".to_owned(), network.clone()]);
        }
        self.line("mesh", &words)
    }

    /// What was typed, by root.
    pub(crate) fn typed_as_root(&self) -> String {
        self.line("sudo mesh", &self.typed)
    }

    /// What was typed with the wrong word in it put right, behind another program.
    pub(crate) fn retyped(&self, program: &str, wrong: &str, right: &str) -> String {
        let right = |arg: &String| suggest::replace(arg, wrong, right);
        let typed: Vec<_> = self.typed.iter().map(right).collect();
        self.line(program, &typed)
    }

    /// Words behind a program, as they are typed.
    fn line(&self, program: &str, args: &[String]) -> String {
        let hide = !self.terminal.err.is_terminal();
        let word = |arg: &String| {
            // Standard error may be a log, where a ticket is as good as spent.
            if hide && parse::begins_a_ticket(arg.trim_start()) {
                "TICKET".to_owned()
            } else if hide && parse::holds_a_permit(arg) {
                let option = arg.split_once('=').map(|(option, _)| option);
                option.map_or_else(|| "SERVER".to_owned(), |option| format!("{option}=SERVER"))
            } else if hide && parse::is_a_code(arg) {
                "CODE".to_owned()
            } else {
                quoted(arg)
            }
        };
        std::iter::once(program.to_owned())
            .chain(args.iter().map(word))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// A command for this machine, with the root of the daemon it is about.
    fn here(&self, command: &str) -> String {
        let root = self
            .global
            .root
            .as_ref()
            .map(|root| quoted(&root.to_string_lossy()));
        let (before, after) = match command.strip_prefix("sudo mesh ") {
            Some(after) => ("sudo mesh", Some(after)),
            None => ("mesh", command.strip_prefix("mesh ")),
        };
        match (root, after) {
            (Some(root), Some(after)) if !after.contains("--root") => {
                format!("{before} --root {root} {after}")
            }
            _ => command.to_owned(),
        }
    }
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    schema: String,
    #[serde(flatten)]
    value: &'a T,
}

/// A value with the name of its schema, as JSON.
pub(crate) fn tagged<T: Serialize>(schema: &str, value: &T) -> Result<String, Error> {
    let tagged = Tagged {
        schema: format!("mesh/{schema}/1"),
        value,
    };
    let json = serde_json::to_string(&tagged)
        .map_err(|error| Error::new(Code::Failed, format!("cannot write this as JSON: {error}")))?;
    Ok(render::escape_json(&json))
}

fn cannot_write(error: &std::io::Error) -> Error {
    Error::new(Code::Failed, format!("cannot write the result: {error}"))
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@,=+%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// How long the daemon may take to answer what it can answer at once.
const ANSWER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_when_a_shell_would_read_it_otherwise() {
        for (word, typed) in [
            ("bob", "bob"),
            ("22/tcp", "22/tcp"),
            ("key stolen", "'key stolen'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), typed);
        }
    }
}

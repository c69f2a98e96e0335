//! Where lines become bytes.

use std::io::{self, IsTerminal, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

use crate::render::{Line, Role};

/// Everything a command has to do with its surroundings but the daemon.
pub struct Terminal {
    /// Standard output: results.
    pub out: Stream,
    /// Standard error: progress, hints, errors.
    pub err: Stream,
    /// Standard input: secrets.
    pub input: Box<dyn Read + Send>,
    /// Whether somebody types there.
    pub input_is_terminal: bool,
    /// Asks whoever types there for a secret, without showing it.
    pub ask: fn(&str) -> io::Result<String>,
    /// The wall clock, in milliseconds since 1970. For ages alone.
    pub now_ms: fn() -> u64,
}

impl Terminal {
    /// The terminal, pipes and clock of this process.
    pub fn of_this_process() -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let (out_tty, err_tty) = (out.is_terminal(), err.is_terminal());
        let columns =
            |of: Option<(terminal_size::Width, _)>| of.map(|(width, _)| usize::from(width.0));
        let (out_width, err_width) = (
            columns(terminal_size::terminal_size_of(&out)),
            columns(terminal_size::terminal_size_of(&err)),
        );
        Self {
            out: Stream::new(
                Box::new(out),
                out_tty.then_some(out_width.unwrap_or(80)),
                Symbols::of_environment(),
            ),
            err: Stream::new(
                Box::new(err),
                err_tty.then_some(err_width.unwrap_or(80)),
                Symbols::of_environment(),
            ),
            input_is_terminal: io::stdin().is_terminal(),
            ask: |prompt| rpassword::prompt_password(prompt),
            input: Box::new(io::stdin()),
            now_ms: wall_clock,
        }
    }
}

/// While it lives, the terminal does not show what is typed, and hands on every key: Ctrl-C too, which would else leave it
/// blind.
pub(crate) struct Unseen(Termios);

impl Unseen {
    /// Nothing if standard input is no terminal.
    pub(crate) fn begin() -> Option<Self> {
        let before = termios::tcgetattr(io::stdin()).ok()?;
        let mut unseen = before.clone();
        unseen
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        termios::tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &unseen).ok()?;
        Some(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // The terminal is gone if this fails.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

/// One way out.
pub struct Stream {
    write: Box<dyn Write + Send>,
    /// Columns of the terminal; nothing when it is none.
    width: Option<usize>,
    color: bool,
    symbols: Symbols,
}

/// Which symbols a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbols {
    /// `● ◐ ○ ✓ ✗ →`
    Unicode,
    /// `* ~ o + x ->`
    Ascii,
}

impl Stream {
    /// A stream to a terminal so many columns wide, or, without a width, to a pipe or a file.
    pub fn new(write: Box<dyn Write + Send>, width: Option<usize>, symbols: Symbols) -> Self {
        let symbols = if width.is_some() {
            symbols
        } else {
            Symbols::Unicode
        };
        let color = width.is_some() && !is_set("NO_COLOR") && variable("TERM") != "dumb";
        Self {
            write,
            width,
            color,
            symbols,
        }
    }

    /// Columns of the terminal; nothing when it is none.
    pub const fn width(&self) -> Option<usize> {
        self.width
    }

    /// Whether there is somebody to read it.
    pub const fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// Whether it shows colour.
    pub const fn color(&self) -> bool {
        self.color
    }

    /// Shows colour from now on, or not.
    pub fn set_color(&mut self, color: bool) {
        self.color = color;
    }

    /// Shows these symbols from now on.
    pub fn set_symbols(&mut self, symbols: Symbols) {
        self.symbols = symbols;
    }

    /// Writes lines. Errors: any but a reader that has gone, which is no error.
    pub fn write(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut text = String::new();
        for line in lines {
            for span in line.spans() {
                self.paint(span.text(), span.role(), &mut text);
            }
            text.push('\n');
        }
        unless_gone(
            self.write
                .write_all(text.as_bytes())
                .and_then(|()| self.write.flush()),
        )
    }

    /// Writes bytes that are no text. Errors: as [`Self::write`].
    pub fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        unless_gone(
            self.write
                .write_all(bytes)
                .and_then(|()| self.write.flush()),
        )
    }

    /// Writes text that is ready to be shown. Errors: as [`Self::write`].
    pub fn write_plain(&mut self, text: &str) -> io::Result<()> {
        unless_gone(
            self.write
                .write_all(text.as_bytes())
                .and_then(|()| self.write.flush()),
        )
    }

    fn paint(&self, text: &str, role: Role, into: &mut String) {
        let code = match role {
            Role::Plain => "",
            Role::Ok => "32",
            Role::Care => "33",
            Role::Bad => "31",
            Role::Me => "36",
            Role::Void => "2;9",
            Role::Quiet => "2",
            Role::Head => "1",
        };
        let colored = self.color && !code.is_empty();
        if colored {
            into.push_str(&format!("\u{1b}[{code}m"));
        }
        match self.symbols {
            Symbols::Unicode => into.push_str(text),
            Symbols::Ascii => text.chars().for_each(|symbol| match ascii(symbol) {
                Some(plain) => into.push_str(plain),
                None => into.push(symbol),
            }),
        }
        if colored {
            into.push_str("\u{1b}[0m");
        }
    }
}

fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

const fn ascii(symbol: char) -> Option<&'static str> {
    Some(match symbol {
        '●' => "*",
        '◐' => "~",
        '○' => "o",
        '✓' => "+",
        '✗' => "x",
        '→' => "->",
        '…' => ".",
        _ => return None,
    })
}

impl Symbols {
    /// Plain ones on the Linux console, in locales that are not UTF-8, and in those where these symbols are two columns
    /// wide.
    fn of_environment() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .map(variable)
            .into_iter()
            .find(|value| !value.is_empty());
        Self::of(&variable("TERM"), locale.as_deref())
    }

    fn of(term: &str, locale: Option<&str>) -> Self {
        let locale = locale.unwrap_or("C.UTF-8").to_ascii_lowercase();
        let utf8 = locale.contains("utf-8") || locale.contains("utf8");
        let wide = ["ja", "ko", "zh"]
            .iter()
            .any(|language| locale.starts_with(language));
        if term == "linux" || !utf8 || wide {
            Self::Ascii
        } else {
            Self::Unicode
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn is_set(name: &str) -> bool {
    !variable(name).is_empty()
}

fn wall_clock() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_plain_where_the_terminal_cannot_show_others() {
        for (term, locale, symbols) in [
            ("xterm-256color", Some("de_DE.UTF-8"), Symbols::Unicode),
            ("xterm", None, Symbols::Unicode),
            ("linux", Some("de_DE.UTF-8"), Symbols::Ascii),
            ("xterm", Some("POSIX"), Symbols::Ascii),
            ("xterm", Some("ja_JP.UTF-8"), Symbols::Ascii),
        ] {
            assert_eq!(Symbols::of(term, locale), symbols, "{term} {locale:?}");
        }
    }
}

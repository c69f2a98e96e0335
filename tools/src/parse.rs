//! What people type besides words.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use mesh_control::call::Moment;
use mesh_control::view::Audience;
use mesh_control::{Code, Error, Secret};
use mesh_ledger::carry::{self, Found, MAX_FILE};
use mesh_ledger::mirror::address::ServerAddress;
use mesh_ledger::ticket::Ticket;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::files;

/// A time span: `90`, `90s`, `30m`, `24h`, `7d`; at least a second, at most ten years.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and s, m, h or d: 30m".to_owned();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let seconds = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => DAY,
        _ => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let seconds = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(seconds));
    match seconds {
        Some(seconds @ 1..=TEN_YEARS) => Ok(Duration::from_secs(seconds)),
        Some(0) => Err("at least a second".to_owned()),
        _ => Err("at most ten years".to_owned()),
    }
}

/// A place in a network's history: the start of an event's id, a time span ago, a day as `2026-11-22` or a time as
/// `2026-11-22T14:30` (UTC). `option` is how it is typed, for the error.
pub(crate) fn moment(text: &str, option: &str, now_ms: u64) -> Result<Moment, Error> {
    if text.len() >= 4 && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Moment::Event(text.to_ascii_lowercase()));
    }
    if let Some(day) = day(text) {
        return Ok(Moment::TimeMs(day * DAY * 1_000));
    }
    if let Some(seconds) = time(text) {
        return Ok(Moment::TimeMs(seconds * 1_000));
    }
    let span = duration(text).map_err(|_| {
        let message = format!(
            "{text:?} is no event id, time span or time: write 5e90a7f1, 2h, 2026-11-22 or 2026-11-22T14:30"
        );
        Error::new(Code::Usage, message).hint(format!("mesh {option} 2h"))
    })?;
    Ok(Moment::TimeMs(
        now_ms.saturating_sub(span.as_secs() * 1_000),
    ))
}

/// Seconds since 1970 of a time as `2026-11-22T14:30`, with seconds and a `Z` behind it or without.
fn time(text: &str) -> Option<u64> {
    let (date, clock) = text.split_once('T')?;
    let clock = clock.strip_suffix('Z').unwrap_or(clock);
    let mut parts = clock.split(':').map(|part| {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u64>().ok().filter(|_| plain)
    });
    let hours = parts.next()?.filter(|hours| *hours < 24)?;
    let minutes = parts.next()?.filter(|minutes| *minutes < 60)?;
    let seconds = match parts.next() {
        Some(seconds) => seconds.filter(|seconds| *seconds < 60)?,
        None => 0,
    };
    let whole = day(date)? * DAY + hours * 3_600 + minutes * 60 + seconds;
    parts.next().is_none().then_some(whole)
}

/// From where on acts are undone, if they are to be.
/// `verb` is what was typed.
pub(crate) fn undo(
    typed: Option<&str>,
    verb: &str,
    context: &Context,
) -> Result<Option<Moment>, Error> {
    let now_ms = (context.terminal.now_ms)();
    let option = format!("{verb} --since");
    let typed = typed.map(|typed| moment(typed, &option, now_ms));
    typed.transpose()
}

/// One line that somebody types; a longer one than anybody types is cut.
pub(crate) fn line(input: &mut dyn Read) -> Result<String, Error> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    loop {
        match input.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) => text.extend(byte.iter().take(LINE.saturating_sub(text.len()))),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let error = format!("cannot read standard input: {error}");
                return Err(Error::new(Code::Failed, error));
            }
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// To whom: names with commas between, or `all`.
pub(crate) fn audience(names: &[String]) -> Audience {
    if names.is_empty() || names.iter().any(|name| name == "all") {
        Audience::All
    } else {
        Audience::Names(names.to_vec())
    }
}

/// What one can join with.
pub(crate) enum Given {
    /// A ticket.
    Ticket(Secret),
    /// A file that carries a network.
    File(Box<Found>),
    /// A code, perhaps mistyped, with where it is shown behind it or not.
    Code(Secret),
}

/// A ticket, a code, or a file that carries a network: the text itself, a file, or `-` for standard input.
pub(crate) fn given(typed: &str, input: &mut dyn Read) -> Result<Given, Error> {
    if is_like_a_code(typed) {
        return Ok(Given::Code(Secret::new(typed.trim())));
    }
    let file = (typed != "-" && !begins_a_ticket(typed.trim_start()))
        .then(|| File::open(Path::new(typed)).ok())
        .flatten();
    let (from, name): (&mut dyn Read, _) = match &file {
        Some(file) => (&mut &*file, typed),
        None if typed == "-" => (input, "standard input"),
        None => return ticket(typed, input).map(Given::Ticket),
    };
    let mut start = Zeroizing::new(Vec::with_capacity(64));
    from.take(64)
        .read_to_end(&mut start)
        .map_err(|error| Error::new(Code::Failed, format!("cannot read {name}: {error}")))?;
    let mut whole = start.as_slice().chain(from);
    if carry::begins(&start) {
        let bytes = files::read_all(&mut whole, MAX_FILE, name)?;
        return Ok(Given::File(Box::new(files::found(&bytes, name)?)));
    }
    let text = read_text(&mut whole, name)?;
    match text {
        Some(text) if is_like_a_code(text.reveal()) => {
            Ok(Given::Code(Secret::new(text.reveal().trim())))
        }
        text => ticket_in(text, name).map(Given::Ticket),
    }
}

/// A ticket: the text itself, a file that holds it (`FILE` or `@FILE`), or `-` for standard input.
pub(crate) fn ticket(typed: &str, input: &mut dyn Read) -> Result<Secret, Error> {
    if typed == "-" {
        return read_ticket(input, "standard input");
    }
    let typed = typed.strip_prefix('@').unwrap_or(typed);
    if begins_a_ticket(typed.trim_start()) {
        return Ok(Secret::new(typed.trim()));
    }
    match File::open(Path::new(typed)) {
        Ok(mut file) => read_ticket(&mut file, typed),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("{typed:?} is no ticket, and there is no such file");
            Err(Error::new(Code::Usage, message).hint("mesh join --help"))
        }
        Err(error) => Err(Error::new(
            Code::Failed,
            format!("cannot read {typed}: {error}"),
        )),
    }
}

/// A server: `HOST:PORT#KEY/PERMIT` itself, `@FILE` for a file that holds it, or `-` for standard input.
pub(crate) fn server(typed: &str, input: &mut dyn Read) -> Result<Secret, Error> {
    let (text, name) = if typed == "-" {
        (read_text(input, "standard input")?, "standard input")
    } else if let Some(path) = typed.strip_prefix('@') {
        let mut file = File::open(Path::new(path)).map_err(|error| {
            Error::new(Code::Usage, format!("cannot read {path}: {error}"))
                .hint("mesh server add --help")
        })?;
        (read_text(&mut file, path)?, path)
    } else {
        return Ok(Secret::new(typed.trim()));
    };
    // Nothing of it is shown: it may be another secret.
    let server = text.filter(|text| text.reveal().parse::<ServerAddress>().is_ok());
    server
        .map(|text| Secret::new(text.reveal().trim()))
        .ok_or_else(|| {
            let message =
                format!("{name} holds no server: HOST:PORT#KEY, as mesh-server prints it");
            Error::new(Code::Usage, message).hint(SERVER)
        })
}

/// Whether a text is a code, with or without where it is shown.
pub(crate) fn is_a_code(text: &str) -> bool {
    let code = text.split_once('@').map_or(text, |(code, _)| code);
    code.parse::<mesh_ledger::code::Code>().is_ok()
}

/// Whether a text is meant as a code: a number and three words, right or wrong.
fn is_like_a_code(text: &str) -> bool {
    let code = text.split_once('@').map_or(text, |(code, _)| code);
    let parts: Vec<&str> = code
        .split(|letter: char| letter == '-' || letter.is_whitespace())
        .filter(|part| !part.is_empty())
        .collect();
    let all = |part: &str, is: fn(&u8) -> bool| part.as_bytes().iter().all(is);
    match parts.as_slice() {
        [number, words @ ..] => {
            words.len() == mesh_ledger::code::CODE_WORDS
                && all(number, u8::is_ascii_digit)
                && words.iter().all(|word| all(word, u8::is_ascii_alphabetic))
        }
        [] => false,
    }
}

/// Whether a text is a server with the right to have networks hosted there.
pub(crate) fn holds_a_permit(text: &str) -> bool {
    text.split_once('#')
        .is_some_and(|(_, key)| key.contains('/'))
}

fn read_ticket(from: &mut dyn Read, name: &str) -> Result<Secret, Error> {
    ticket_in(read_text(from, name)?, name)
}

/// The ticket in what was read.
fn ticket_in(text: Option<Secret>, name: &str) -> Result<Secret, Error> {
    if let Some(text) = text {
        let ticket = text.reveal().trim();
        if ticket.is_empty() {
            let message = format!("{name} is empty: it should hold a ticket");
            return Err(Error::new(Code::Usage, message).hint("mesh join --help"));
        }
        // White space may stand anywhere in a ticket, and words around it: it came by mail.
        let tails = ticket.char_indices().filter_map(|(at, _)| ticket.get(at..));
        if let Some(ticket) = tails.into_iter().find(|tail| begins_a_ticket(tail)) {
            return Ok(Secret::new(whole(ticket)));
        }
    }
    Err(Error::new(Code::Usage, format!("{name} holds no ticket")).hint("mesh join --help"))
}

/// All that a file or standard input holds; nothing if it is no text, or too long for a secret.
fn read_text(from: &mut dyn Read, name: &str) -> Result<Option<Secret>, Error> {
    let mut text = String::with_capacity(SECRET);
    let most = u64::try_from(SECRET).unwrap_or(u64::MAX);
    let read = from.take(most).read_to_string(&mut text);
    // Takes the text over, so that it is wiped however this ends.
    let text = Secret::new(text);
    match read {
        Ok(count) => Ok((count < SECRET).then_some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(Error::new(
            Code::Failed,
            format!("cannot read {name}: {error}"),
        )),
    }
}

/// Whether a text begins as tickets do.
pub(crate) fn begins_a_ticket(text: &str) -> bool {
    text.get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("mesh:"))
}

/// What of a text that begins with a ticket is the ticket: as many of its words as make one, else the first.
fn whole(text: &str) -> &str {
    let ends = text
        .char_indices()
        .filter(|(_, letter)| letter.is_whitespace())
        .map(|(at, _)| at)
        .take(WORDS)
        .chain([text.len()]);
    let words = ends.filter_map(|end| text.get(..end));
    let ticket = words.clone().find(|words| words.parse::<Ticket>().is_ok());
    ticket.or_else(|| words.clone().next()).unwrap_or(text)
}

/// Days since 1970-01-01 of a day written `2026-11-22`. Howard Hinnant's `days_from_civil`.
fn day(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, '-');
    let mut number = |digits: usize| -> Option<i64> {
        let part = parts.next()?;
        let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        if plain { part.parse().ok() } else { None }
    };
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let of_cycle = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    u64::try_from(era * 146_097 + of_cycle - 719_468).ok()
}

/// Where to find the text that names a server.
pub(crate) const SERVER: &str = "on the server: mesh-server address";
/// The longest line that is kept.
const LINE: usize = 256;
/// A secret is far shorter; a call holds not much more.
const SECRET: usize = 60 * 1024;
/// Into so many words a ticket may have come apart.
const WORDS: usize = 256;
const DAY: u64 = 86_400;
const TEN_YEARS: u64 = 3_650 * DAY;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn time_spans_read_as_people_write_them() {
        for (text, seconds) in [
            ("90", 90),
            ("1s", 1),
            ("30m", 1_800),
            ("24h", DAY),
            ("7d", 7 * DAY),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "s",
            "0",
            "-1s",
            "1.5h",
            "3w",
            "99999999999999999999",
            "4000d",
            "h1",
            "1 h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_log_begins_at_an_event_a_span_ago_or_a_day() {
        let now = 1_795_348_800_000;
        assert_eq!(
            moment("5E90a7f1", "log", now).unwrap(),
            Moment::Event("5e90a7f1".to_owned())
        );
        assert_eq!(
            moment("2h", "log", now).unwrap(),
            Moment::TimeMs(now - 7_200_000)
        );
        assert_eq!(
            moment("2026-11-22", "log", now).unwrap(),
            Moment::TimeMs(now - 12 * 3_600_000)
        );
        for text in ["", "yesterday", "2026-13-01", "2026-1-1", "5e9"] {
            assert_eq!(
                moment(text, "log", now).unwrap_err().code,
                Code::Usage,
                "{text}"
            );
        }
    }

    #[test]
    fn a_ticket_comes_from_the_argument_from_a_file_or_from_standard_input() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ticket");
        std::fs::write(&file, "\n  MESH:1:FILE \n").unwrap();
        let path = file.to_str().unwrap();
        for (typed, text) in [
            ("mesh:1:ARG", "mesh:1:ARG"),
            ("-", "MESH:1:IN"),
            (path, "MESH:1:FILE"),
        ] {
            assert_eq!(
                ticket(typed, &mut "MESH:1:IN\n".as_bytes())
                    .unwrap()
                    .reveal(),
                text
            );
        }
    }

    #[test]
    fn a_number_and_three_words_are_a_code_wherever_they_come_from() {
        for text in [
            "7-crossbow-orca-basil",
            "7 crossbow orca basil",
            "7-crosbow-orca-basil@10.0.0.5:51820",
        ] {
            for (typed, input) in [(text, ""), ("-", text)] {
                let input = format!("{input}\n");
                let given = given(typed, &mut input.as_bytes()).unwrap();
                assert!(matches!(given, Given::Code(code) if code.reveal() == text));
            }
        }
        for text in [
            "seven-crossbow-orca-basil",
            "7-crossbow-orca",
            "2026-11-22T14",
        ] {
            assert!(given(text, &mut &b""[..]).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ticket_is_found_in_a_letter_and_put_together() {
        let ticket = Ticket::new(
            mesh_ledger::ids::NetworkId([1; 32]),
            [2; 16],
            false,
            1_800_000_000_000,
            &[],
        );
        let text = ticket.text();
        let (head, tail) = text.split_at(60);
        let letter = format!("Hi Bob,\n\n  {head}\n  {tail}\n\nBest, Alice\n");
        let found = super::ticket("-", &mut letter.as_bytes()).unwrap();
        assert_eq!(found.reveal().parse::<Ticket>().unwrap(), ticket);
    }

    #[test]
    fn a_server_comes_from_the_argument_from_a_file_or_from_standard_input() {
        let text = format!(
            "vpn.example.org:7443#{}/{}",
            "a".repeat(52),
            "b".repeat(25) + "a"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server");
        std::fs::write(&file, format!("{text}\n")).unwrap();
        let path = format!("@{}", file.to_str().unwrap());
        for typed in [text.as_str(), "-", path.as_str()] {
            let mut input = text.as_bytes();
            assert_eq!(server(typed, &mut input).unwrap().reveal(), text, "{typed}");
        }
        assert!(holds_a_permit(&text) && holds_a_permit(&format!("--server={text}")));
        assert!(!holds_a_permit("vpn.example.org:7443#key") && !holds_a_permit("a/b"));
    }

    #[test]
    fn what_a_file_holds_instead_of_a_server_is_not_shown() {
        let mut input = &b"another secret"[..];
        let error = server("-", &mut input).unwrap_err();
        assert_eq!(error.code, Code::Usage);
        assert!(!error.message.contains("another"), "{error}");
    }

    #[test]
    fn what_is_no_ticket_is_a_usage_error() {
        let endless = vec![b'x'; 2 * SECRET];
        for (typed, input) in [
            ("-", &b""[..]),
            ("-", &b"\xff\xfe"[..]),
            ("-", &endless[..]),
            ("no such file", b""),
        ] {
            let mut input = input;
            assert_eq!(ticket(typed, &mut input).unwrap_err().code, Code::Usage);
        }
    }
}

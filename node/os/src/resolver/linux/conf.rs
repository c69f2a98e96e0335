//! The text of `resolv.conf`: our lines put into somebody's file, and taken out again.
//!
//! Our lines stand in one block at the top. Lines of the user that would be in its way are set aside in their places: the
//! search domains, which the block repeats before ours since the last such line is the only one that counts, and name
//! servers beyond the three that are read. The user's search domains come first, so that a member who calls a host `mail`
//! does not answer for the one on the user's own network. Taking out what was put in gives the same bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mesh_core::plan::{Domain, Resolver};
use serde::{Deserialize, Serialize};

/// What one network adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    server: IpAddr,
    search: Vec<Domain>,
}

impl Entry {
    /// What a plan asks for. One server is enough, since each answers for all names, and leaves room for the user's.
    pub(super) fn of(wanted: &Resolver) -> Option<Self> {
        Some(Self {
            server: *wanted.servers.first()?,
            search: wanted.search.clone(),
        })
    }
}

/// A user's text without our lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stripped {
    pub(super) text: Vec<u8>,
    /// Whether the file was ours from the start.
    pub(super) made: bool,
}

/// The user's text, if there is a file, with the lines of the networks.
pub(super) fn compose(user: Option<&[u8]>, entries: &BTreeMap<String, Entry>) -> Vec<u8> {
    let text = user.unwrap_or_default();
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let mut search: Vec<String> = Vec::new();
    let ours = entries.values().flat_map(|entry| &entry.search);
    let theirs = lines.iter().rev().find_map(|line| search_of(line));
    let ours = ours.map(ToString::to_string);
    for domain in theirs.unwrap_or_default().into_iter().chain(ours) {
        if !search.contains(&domain) {
            search.push(domain);
        }
    }
    let mut out = Vec::new();
    out.extend_from_slice(if user.is_some() { BEGIN } else { BEGIN_MADE });
    // Each of our servers answers for all networks of this device.
    if let Some(entry) = entries.values().next() {
        out.extend_from_slice(format!("nameserver {}\n", entry.server).as_bytes());
    }
    if !lines.iter().any(|line| is(line, NAMESERVER)) {
        // What a file without name servers means.
        out.extend_from_slice(b"nameserver 127.0.0.1\n");
    }
    out.extend_from_slice(format!("search {}\n", search.join(" ")).as_bytes());
    out.extend_from_slice(END);
    let mut room = SERVERS - 1;
    for line in lines {
        let server = is(line, NAMESERVER);
        if search_of(line).is_some() || (server && room == 0) {
            out.extend_from_slice(ASIDE);
        } else if server {
            room -= 1;
        }
        out.extend_from_slice(line);
    }
    out
}

/// The text without our lines; `None` if it has none. In the block, name servers and search domains are ours; what else
/// somebody wrote into it stays, and where its end is gone it ends before that.
pub(super) fn strip(text: &[u8]) -> Option<Stripped> {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let is_end = |line: &[u8]| line.trim_ascii_end() == END.trim_ascii_end();
    let last = lines.iter().rposition(|line| is_end(line)).unwrap_or(0);
    let (mut out, mut made, mut found, mut inside) = (Vec::new(), false, false, false);
    for (n, line) in lines.into_iter().enumerate() {
        if line.starts_with(MARK) {
            (found, inside) = (true, true);
            made |= line == BEGIN_MADE;
        } else if inside && is_end(line) {
            inside = false;
        } else if let Some(aside) = line.strip_prefix(ASIDE) {
            found = true;
            out.extend_from_slice(aside);
        } else if !(inside && (is(line, NAMESERVER) || is(line, SEARCH))) {
            inside &= n < last;
            out.extend_from_slice(line);
        }
    }
    found.then_some(Stripped { text: out, made })
}

/// Whether programs that read this ask systemd-resolved.
pub(super) fn names_resolved(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        let mut words = words(line);
        words.next().is_some_and(|word| word == "nameserver")
            && words
                .next()
                .is_some_and(|word| word == "127.0.0.53" || word == "127.0.0.54")
    })
}

/// The most name servers that are read.
const SERVERS: usize = 3;
const NAMESERVER: &[u8] = b"nameserver";
const SEARCH: &[u8] = b"search";
/// What our blocks begin with.
const MARK: &[u8] = b"# mesh: begin;";
const BEGIN: &[u8] =
    b"# mesh: begin; meshd wrote the lines up to the end mark, and takes them away again\n";
const BEGIN_MADE: &[u8] = b"# mesh: begin; meshd made this file, and takes it away again\n";
const END: &[u8] = b"# mesh: end\n";
const ASIDE: &[u8] = b"# mesh: set aside: ";

/// Whether a line is of this keyword, which stands at its very beginning.
fn is(line: &[u8], keyword: &[u8]) -> bool {
    line.strip_prefix(keyword)
        .is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_whitespace))
}

fn search_of(line: &[u8]) -> Option<Vec<String>> {
    (is(line, SEARCH) || is(line, b"domain")).then(|| words(line).skip(1).collect())
}

fn words(line: &[u8]) -> impl Iterator<Item = String> {
    let words = line.split(u8::is_ascii_whitespace);
    words
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn entries(names: &[(&str, &str)]) -> BTreeMap<String, Entry> {
        let entry = |(n, (net, server)): (usize, &(&str, &str))| {
            let search = ["mesh.internal".to_owned(), format!("{net}.mesh.internal")];
            let entry = Entry {
                server: server.parse().unwrap(),
                search: search
                    .iter()
                    .map(|domain| domain.parse().unwrap())
                    .collect(),
            };
            (format!("mesh{n}"), entry)
        };
        names.iter().enumerate().map(entry).collect()
    }

    fn composed(user: Option<&str>, networks: &[(&str, &str)]) -> String {
        String::from_utf8(compose(user.map(str::as_bytes), &entries(networks))).unwrap()
    }

    const HOME: (&str, &str) = ("home", "10.7.0.1");
    const WORK: (&str, &str) = ("work", "10.8.0.1");

    #[test]
    fn our_server_is_asked_first_our_domains_come_last_and_the_users_lines_are_kept() {
        let user = "# lan\nsearch example.com corp\nnameserver 192.168.1.1\noptions edns0\n";
        assert_eq!(
            composed(Some(user), &[HOME]),
            "# mesh: begin; meshd wrote the lines up to the end mark, and takes them away again\n\
             nameserver 10.7.0.1\n\
             search example.com corp mesh.internal home.mesh.internal\n\
             # mesh: end\n\
             # lan\n\
             # mesh: set aside: search example.com corp\n\
             nameserver 192.168.1.1\n\
             options edns0\n"
        );
    }

    #[test]
    fn at_most_three_name_servers_stand_in_it_and_the_last_search_line_counts() {
        let user =
            "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\ndomain a\nsearch b c\n";
        let text = composed(Some(user), &[HOME, WORK]);
        let servers: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("nameserver"))
            .collect();
        assert_eq!(
            servers,
            [
                "nameserver 10.7.0.1",
                "nameserver 1.1.1.1",
                "nameserver 1.1.1.2"
            ]
        );
        let search: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("search"))
            .collect();
        assert_eq!(
            search,
            ["search b c mesh.internal home.mesh.internal work.mesh.internal"]
        );
        assert!(
            !text.lines().any(|line| line.starts_with("domain")),
            "{text}"
        );
    }

    #[test]
    fn what_a_missing_name_server_means_stays_so() {
        for user in [None, Some(""), Some("search a\n")] {
            assert!(
                composed(user, &[HOME]).contains("\nnameserver 127.0.0.1\n"),
                "{user:?}"
            );
        }
        assert!(!composed(Some("nameserver 9.9.9.9"), &[HOME]).contains("127.0.0.1"));
    }

    #[test]
    fn taking_out_what_was_put_in_gives_the_same_bytes() {
        let users: [&[u8]; 9] = [
            b"",
            b"\n",
            b"nameserver 1.1.1.1",
            b"nameserver 1.1.1.1\r\nsearch a\r\n",
            b"search a\nsearch b",
            b"nameserver 1\nnameserver 2\nnameserver 3\nnameserver 4\n\n\n# end",
            b"\xff\xfe no text \x00\n",
            b"#nameserver 5\n nameserver 6\n",
            b"searching\nnameservers\n",
        ];
        for user in users {
            for networks in [&[HOME][..], &[HOME, WORK]] {
                let text = compose(Some(user), &entries(networks));
                let stripped = strip(&text).unwrap();
                assert_eq!(stripped.text, user, "{}", String::from_utf8_lossy(&text));
                assert!(!stripped.made);
            }
            assert_eq!(strip(user), None);
        }
        let made = strip(&compose(None, &entries(&[HOME]))).unwrap();
        assert_eq!(
            made,
            Stripped {
                text: vec![],
                made: true
            }
        );
    }

    #[test]
    fn lines_that_somebody_wrote_into_the_block_or_in_the_place_of_its_end_stay() {
        let text = composed(Some("nameserver 1.1.1.1\n"), &[HOME]);
        let inside = text.replace("search mesh", "options debug\nsearch mesh");
        let left = strip(inside.as_bytes()).unwrap().text;
        let left = String::from_utf8(left).unwrap();
        assert!(
            left.contains("options debug\n") && left.contains("nameserver 1.1.1.1\n"),
            "{left}"
        );
        let endless = text.replace("# mesh: end\n", "options rotate\n");
        let left = String::from_utf8(strip(endless.as_bytes()).unwrap().text).unwrap();
        assert_eq!(left, "options rotate\nnameserver 1.1.1.1\n");
    }

    #[test]
    fn a_file_that_names_the_stub_leads_to_resolved() {
        assert!(names_resolved(
            b"# x\nnameserver 127.0.0.53\noptions edns0\n"
        ));
        assert!(!names_resolved(
            b"nameserver 127.0.0.1\n# nameserver 127.0.0.53\n"
        ));
    }
}

//! A place to type at.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use mesh_cli::output::{Stream, Symbols, Terminal};
use mesh_control::fake::{Fake, Listening, examples};
use mesh_ledger::ids::{NetworkId, ServerKey};
use mesh_ledger::mirror::{Permit, ServerAddress};
use mesh_ledger::ticket::Ticket;

/// Where a person sits: a daemon of paper below a root of its own, and a record of what was typed and seen.
pub(crate) struct Desk {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) fake: Arc<Fake>,
    _listening: Option<Listening>,
    pub(crate) input: String,
    record: String,
}

impl Desk {
    pub(crate) fn new(fake: Fake) -> Self {
        let mut desk = Self::without_daemon();
        std::fs::create_dir_all(desk.folder.path().join("run/mesh")).unwrap();
        desk.fake = Arc::new(fake);
        desk._listening = Some(
            desk.fake
                .listen(&desk.folder.path().join("run/mesh/meshd.sock"))
                .unwrap(),
        );
        desk
    }

    pub(crate) fn without_daemon() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    /// At a daemon that is there already, or is not.
    pub(crate) fn at(folder: tempfile::TempDir) -> Self {
        Self {
            folder,
            fake: Arc::default(),
            _listening: None,
            input: String::new(),
            record: String::new(),
        }
    }

    pub(crate) async fn pipe(&mut self, typed: &str) {
        let seen = self.run(None, typed).await;
        self.note("$", typed, seen);
    }

    pub(crate) async fn tty(&mut self, width: usize, typed: &str) {
        let seen = self.run(Some(width), typed).await;
        self.note(&format!("tty {width} $"), typed, seen);
    }

    pub(crate) async fn run(&self, width: Option<usize>, typed: &str) -> (String, String, u8) {
        let (out, err) = (Paper::default(), Paper::default());
        let stream = |paper: &Paper| {
            let mut stream = Stream::new(Box::new(paper.clone()), width, Symbols::Unicode);
            stream.set_color(false);
            stream
        };
        let terminal = Terminal {
            out: stream(&out),
            err: stream(&err),
            input: Box::new(io::Cursor::new(self.input.clone())),
            input_is_terminal: width.is_some(),
            ask: |_| Ok("correct horse".to_owned()),
            now_ms: || examples::NOW_MS,
        };
        let root = self.folder.path().to_str().unwrap();
        let args = ["mesh"]
            .into_iter()
            .chain(typed.split(' '))
            .chain(["--root", root]);
        let exit = mesh_cli::run(args.map(Into::into).collect(), terminal).await;
        (out.text(), err.text(), exit)
    }

    fn note(&mut self, prompt: &str, typed: &str, (out, err, exit): (String, String, u8)) {
        writeln!(self.record, "{prompt} mesh {typed}").unwrap();
        self.record.push_str(&out);
        for line in err.lines() {
            writeln!(self.record, "{}", format!("2> {line}").trim_end()).unwrap();
        }
        if exit != 0 {
            writeln!(self.record, "[exit {exit}]").unwrap();
        }
        self.record.push('\n');
    }

    pub(crate) fn compare(&self, name: &str) {
        let record = self
            .record
            .replace(self.folder.path().to_str().unwrap(), "/ROOT")
            .replace(&ticket(DAY), "MESH:1:4KQ7RZ...")
            .replace(&server(), "vpn.example.org:7443#KEY/PERMIT");
        let file =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/transcripts/{name}.txt"));
        if std::env::var_os("MESH_BLESS").is_some() {
            std::fs::write(&file, &record).unwrap();
        }
        let wanted = std::fs::read_to_string(&file).unwrap_or_default();
        for (line, (seen, wanted)) in record.lines().zip(wanted.lines()).enumerate() {
            assert_eq!(seen, wanted, "{name}.txt line {}", line + 1);
        }
        assert_eq!(
            record.lines().count(),
            wanted.lines().count(),
            "{name}.txt has more or fewer lines"
        );
    }
}

/// Seconds.
pub(crate) const DAY: i64 = 86_400;

/// A ticket that expires so many seconds after the desk's clock.
pub(crate) fn ticket(expires_in: i64) -> String {
    let expires = examples::NOW_MS.saturating_add_signed(expires_in * 1_000);
    let ticket = Ticket::new(NetworkId([1; 32]), [2; 16], false, expires, &[]);
    ticket.text().to_string()
}

/// A server as it prints itself.
pub(crate) fn server() -> String {
    let server = ServerAddress {
        host: "vpn.example.org".to_owned(),
        port: 7443,
        key: ServerKey([0x5e; 32]),
        permit: Some(Permit([7; 16])),
    };
    server.to_string()
}

/// What a command wrote.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

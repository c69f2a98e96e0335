//! Files that carry a network: read whole and bounded, written new and for their owner alone; and a network's events, from
//! the daemon or, when none runs, from its store.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mesh_control::client::Client;
use mesh_control::reply::Letter;
use mesh_control::{Bytes, Code, Error, call};
use mesh_ledger::carry::{Carried, Carry, Found, MAX_FILE};
use mesh_ledger::event::Event;
use mesh_ledger::ids::{EventId, NetworkId};
use mesh_ledger::past::Reading;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::offline;
pub(crate) use crate::stored::LONG;

/// All events of one network of this device.
pub(crate) struct Copy {
    /// The network's name, or the start of its id.
    pub(crate) name: String,
    pub(crate) id: NetworkId,
    /// Parents first.
    pub(crate) events: Vec<Event>,
}

impl Copy {
    fn of(reading: Reading<'_>) -> Self {
        let (graph, fold) = (reading.graph, reading.fold);
        let id = fold.authority.network;
        let mut events: Vec<Event> = graph.indices().map(|idx| graph.event(idx)).collect();
        events.sort_by_key(|event| (event.header().lamport, event.id()));
        let name = fold.state.name.as_ref();
        Self {
            name: name.map_or_else(|| id.short(), ToString::to_string),
            id,
            events,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        let events = self.events.iter();
        events.map(|event| event.bytes().to_vec()).collect()
    }
}

/// The events of the network that is meant, from the daemon; from the store if no daemon runs.
pub(crate) async fn events(context: &mut Context) -> Result<Copy, Error> {
    match context.connect().await {
        Ok(client) => {
            let network = context.network();
            let events = from_daemon(context, client, network).await;
            context.suggest(events, &[]).await
        }
        Err(error) if error.code == Code::NotRunning => {
            let stored = offline::read(&context.state_folder(), context.network().as_deref());
            let stored = stored.map_err(|error| match error.code {
                Code::NotPermitted => error.hint(context.typed_as_root()),
                _ => error,
            })?;
            let stored = stored.ok_or(error)?;
            if stored.damaged > 0 {
                let message = format!(
                    "{} stored events are damaged, or follow one that is",
                    stored.damaged
                );
                return Err(Error::new(Code::Verification, message).hint("mesh log verify"));
            }
            Ok(Copy::of(stored.book.reading()))
        }
        Err(error) => Err(error),
    }
}

/// The events of a network from the daemon.
pub(crate) async fn from_daemon(
    context: &mut Context,
    mut client: Client,
    network: Option<String>,
) -> Result<Copy, Error> {
    let mut asked = call::Events { network, from: 0 };
    let mut events = Vec::new();
    loop {
        let page = context.call_over(&mut client, asked, LONG).await?;
        for bytes in page.events {
            let event = Event::decode_unverified(&bytes.0);
            events.push(event.map_err(|error| Error::new(Code::Failed, error.to_string()))?);
        }
        let id: NetworkId = page.id.parse().map_err(|_| nonsense())?;
        let Some(from) = page.next else {
            events.sort_by_key(|event: &Event| (event.header().lamport, event.id()));
            let ids: BTreeSet<EventId> = events.iter().map(Event::id).collect();
            let mut parents = events.iter().flat_map(|event| &event.header().parents);
            if !parents.all(|id| ids.contains(id)) {
                let message = "meshd was started anew meanwhile";
                return Err(Error::new(Code::Failed, message).hint("the same command again"));
            }
            return Ok(Copy {
                name: page.network,
                id,
                events,
            });
        };
        asked = call::Events {
            network: Some(page.id),
            from,
        };
    }
}

/// Hands events to the daemon for a later call.
pub(crate) async fn upload(
    context: &mut Context,
    client: &mut Client,
    events: &[Vec<u8>],
) -> Result<u64, Error> {
    let (mut upload, mut at) = (None, 0);
    loop {
        let (mut piece, mut size) = (Vec::new(), 0);
        while let Some(bytes) = events.get(at) {
            size += bytes.len().div_ceil(3) * 4 + 3;
            if size > PIECE && !piece.is_empty() {
                break;
            }
            piece.push(Bytes(bytes.clone()));
            at += 1;
        }
        let call = call::Upload {
            upload,
            events: piece,
        };
        let taken = context.call_over(client, call, LONG).await?;
        if at >= events.len() {
            return Ok(taken.upload);
        }
        upload = Some(taken.upload);
    }
}

/// All bytes of a file, or of standard input for `-`, up to a number.
pub(crate) fn read(
    typed: &str,
    most: usize,
    context: &mut Context,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    if typed == "-" {
        return read_all(&mut *context.terminal.input, most, "standard input");
    }
    let mut file = File::open(Path::new(typed)).map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::Usage,
            std::io::ErrorKind::PermissionDenied => Code::NotPermitted,
            _ => Code::Failed,
        };
        let error = Error::new(code, format!("cannot read {typed}: {error}"));
        match code {
            Code::NotPermitted => error.hint(context.typed_as_root()),
            _ => error.hint("ls"),
        }
    })?;
    read_all(&mut file, most, typed)
}

pub(crate) fn read_all(
    from: &mut dyn Read,
    most: usize,
    name: &str,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    from.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::new(Code::Failed, format!("cannot read {name}: {error}")))?;
    if bytes.len() > most {
        let message = format!("{name} is larger than {} MiB", most >> 20);
        return Err(Error::new(Code::Usage, message).hint("mesh --help"));
    }
    Ok(bytes)
}

/// A file that carries a network.
pub(crate) fn carry(typed: &str, context: &mut Context) -> Result<Found, Error> {
    let bytes = read(typed, MAX_FILE, context)?;
    found(&bytes, typed)
}

/// What bytes of such a file hold.
pub(crate) fn found(bytes: &[u8], typed: &str) -> Result<Found, Error> {
    use mesh_ledger::carry::BadCarry;
    Carry::read(bytes).map_err(|bad| {
        let (code, hint) = match bad {
            BadCarry::NotOne => (Code::Usage, "mesh sync export FILE, on a member's machine"),
            BadCarry::Version => (Code::Usage, "mesh version"),
            BadCarry::TooLarge => (Code::Usage, "mesh sync export --since"),
            BadCarry::Nothing => (Code::Verification, "copy the file again"),
        };
        Error::new(code, format!("{typed}: {bad}")).hint(hint)
    })
}

/// Whether a file can be made here: told before anything is signed for it.
pub(crate) fn is_new(path: &Path) -> Result<(), Error> {
    if path.exists() {
        let message = format!("{} is here already", path.display());
        return Err(Error::new(Code::Conflict, message).hint("name a file that is not here yet"));
    }
    Ok(())
}

/// Writes a new file that only its owner can read.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::AlreadyExists => Code::Conflict,
            _ => Code::Failed,
        };
        Error::new(code, format!("cannot write {}: {error}", path.display()))
            .hint("name another file")
    })
}

/// A letter as the daemon takes it.
pub(crate) fn for_daemon(letter: &Carried) -> Letter {
    Letter {
        joiner: letter.joiner.to_string(),
        invite: letter.invite.to_string(),
        body: Bytes(letter.body.clone()),
    }
}

/// A letter as a file takes it.
pub(crate) fn for_file(letter: Letter) -> Result<Carried, Error> {
    Ok(Carried {
        joiner: letter.joiner.parse().map_err(|_| nonsense())?,
        invite: letter.invite.parse().map_err(|_| nonsense())?,
        body: letter.body.0,
    })
}

pub(crate) fn nonsense() -> Error {
    Error::new(Code::Failed, "meshd answered what it must not").hint("mesh version")
}

/// So many bytes of base64 fit into a call with room to spare.
const PIECE: usize = 56 * 1024;

/// The one event whose id begins with these digits.
pub(crate) fn named<'a>(events: &'a [Event], start: &str) -> Result<&'a Event, Error> {
    let mut found = events
        .iter()
        .filter(|event| event.id().to_string().starts_with(start));
    match (found.next(), found.next()) {
        (Some(event), None) => Ok(event),
        (Some(_), Some(_)) => {
            let message = format!("several events begin with {start}: give more digits");
            Err(Error::new(Code::Usage, message).hint("mesh log"))
        }
        _ => {
            let message = format!("no event begins with {start}");
            Err(Error::new(Code::NotFound, message).hint("mesh log"))
        }
    }
}

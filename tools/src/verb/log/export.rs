//! `mesh log export --automerge`

use std::path::{Path, PathBuf};

use mesh_control::{Code, Error};
use mesh_ledger::replica::Replica;
use mesh_ledger::wire::Index;
use serde::Serialize;

use crate::context::Context;
use crate::{files, render};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A new folder, or an empty one
    #[arg(long, value_name = "DIR", required = true)]
    automerge: PathBuf,
}

/// What was written, and how to read it: `manifest.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Manifest {
    /// The network's id: blake3 of its first event.
    pub(crate) network: String,
    /// How many events there are in all documents.
    pub(crate) events: usize,
    /// The documents, by segment.
    pub(crate) documents: Vec<Document>,
    /// How to read them.
    how_to_read: &'static str,
}

/// One Automerge document.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    /// Its name in the folder.
    pub(crate) file: String,
    /// Its events have lamport numbers from 1024 times this to 1023 more.
    segment: u32,
    /// How many events it holds.
    events: usize,
}

const HOW_TO_READ: &str = "Each document is a map. Each value is one signed event, its bytes as its author signed them; its \
key is the first 24 hexadecimal digits of the blake3 hash of these bytes. The whole hash is the event's id.";

pub(super) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let folder = &args.automerge;
    is_free(folder)?;
    let copy = files::events(context).await?;
    let events = copy.events.len();
    let mut index = Index::new();
    index.extend(copy.events);
    let segments: Vec<u32> = index.all_segments().collect();
    let replica = Replica::new();
    let mut documents = Vec::new();
    for segment in segments {
        let parts = replica
            .export(&index, segment)
            .map_err(|error| Error::new(Code::Failed, error.to_string()))?;
        let alone = parts.len() == 1;
        let mut left = index.segment_len(segment);
        for (part, bytes) in parts.iter().enumerate() {
            let file = if alone {
                format!("segment-{segment:07}.automerge")
            } else {
                format!("segment-{segment:07}-{part}.automerge")
            };
            let events = left.min(mesh_ledger::replica::MAX_DOCUMENT);
            left -= events;
            files::write_new(&folder.join(&file), bytes)?;
            documents.push(Document {
                file,
                segment,
                events,
            });
        }
    }
    let manifest = Manifest {
        network: copy.id.to_string(),
        events,
        documents,
        how_to_read: HOW_TO_READ,
    };
    let text = crate::context::tagged("automerge", &manifest)?;
    // Last, so that a folder with a manifest is a whole one.
    files::write_new(
        &folder.join("manifest.json"),
        format!("{text}\n").as_bytes(),
    )?;
    context.print("automerge", &manifest, |manifest, _| {
        render::log_exported(&copy.name, manifest, folder)
    })
}

/// Makes the folder, which must not hold anything yet.
fn is_free(folder: &Path) -> Result<(), Error> {
    let cannot = |error: std::io::Error| {
        let message = format!("cannot write to {}: {error}", folder.display());
        Error::new(Code::Failed, message).hint("name another folder")
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let mut entries = std::fs::read_dir(folder).map_err(cannot)?;
    if entries.next().is_some() {
        let message = format!("{} is not empty", folder.display());
        return Err(Error::new(Code::Conflict, message).hint("name a new folder"));
    }
    Ok(())
}

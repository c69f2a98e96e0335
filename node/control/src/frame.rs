//! The lines of the protocol.

use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::error::Error;
use crate::reply::Reply;
use crate::state::{State, Update, Watch};

/// The version of the protocol that this crate speaks. Tool and daemon must speak the same.
pub const PROTOCOL: u32 = 1;

/// A line from a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // Made and written one after the other.
pub enum FromTool {
    /// The first line, once.
    Hello {
        /// The version of the protocol.
        protocol: u32,
        /// The tool and its version, for the daemon's log; at most 100 bytes are looked at.
        tool: String,
    },
    /// Asks for something.
    Call {
        /// Chosen by the tool; the reply carries it.
        id: u64,
        /// What.
        call: Call,
    },
    /// Asks to be told of changes. At most once per connection.
    Watch {
        /// Chosen by the tool; states and updates carry it.
        id: u64,
        /// Of what.
        watch: Watch,
    },
}

/// A line from the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // Made and written one after the other.
pub enum FromDaemon {
    /// Answers `hello`.
    Welcome {
        /// The version of the protocol.
        protocol: u32,
        /// The daemon's version.
        version: String,
    },
    /// Says why the connection ends now.
    Refused(Error),
    /// Answers a call that worked: `{"ok":{"id":1,"reply":{..}}}`.
    Ok {
        /// The call's.
        id: u64,
        /// The answer.
        reply: Reply,
    },
    /// Answers a call or a watch that failed: `{"error":{"id":1,"error":{..}}}`.
    Error {
        /// The call's or the watch's.
        id: u64,
        /// What failed.
        error: Error,
    },
    /// Answers a watch.
    State {
        /// The watch's.
        id: u64,
        /// Everything, now.
        state: State,
    },
    /// Follows a state.
    Update {
        /// The watch's.
        id: u64,
        /// What changed.
        update: Update,
    },
}

//! The tool's end.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::call::{Call, Verb};
use crate::codec::{self, LineError, Lines, MAX_CALL, MAX_REPLY};
use crate::error::{Code, Error};
use crate::frame::{FromDaemon, FromTool, PROTOCOL};
use crate::state::{State, Update, Watch};

/// A connection to the daemon. Calls go one after the other; open two for two at once.
pub struct Client {
    lines: Lines<OwnedReadHalf>,
    write: OwnedWriteHalf,
    version: String,
    next_id: u64,
}

impl Client {
    /// Connects to the daemon's socket. Errors: `not_running` when nobody listens there, `not_permitted` when the
    /// socket refuses this user, `failed` when it speaks another protocol.
    pub async fn connect(socket: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|error| cannot_connect(socket, &error))?;
        Self::over(stream).await
    }

    /// Talks over a connected socket.
    pub async fn over(stream: UnixStream) -> Result<Self, Error> {
        let (read, write) = stream.into_split();
        let mut client = Self {
            lines: Lines::new(read, MAX_REPLY),
            write,
            version: String::new(),
            next_id: 1,
        };
        let tool = concat!("mesh ", env!("CARGO_PKG_VERSION")).to_owned();
        client
            .send(&FromTool::Hello {
                protocol: PROTOCOL,
                tool,
            })
            .await?;
        let welcome = timeout(GREETING, client.receive())
            .await
            .map_err(|_| Error::new(Code::Failed, "meshd does not answer"))??;
        match welcome {
            FromDaemon::Welcome {
                protocol: PROTOCOL,
                version,
            } => client.version = version,
            FromDaemon::Welcome { protocol, version } => {
                return Err(other_protocol(protocol, &version));
            }
            FromDaemon::Refused(error) => return Err(error),
            _ => return Err(out_of_turn()),
        }
        Ok(client)
    }

    /// The daemon's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Asks for something and waits for the answer, however long it takes. Dropping the future and then the client
    /// tells the daemon that nobody waits any more.
    pub async fn call<V: Verb>(&mut self, verb: V) -> Result<V::Answer, Error> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&FromTool::Call {
            id,
            call: verb.into_call(),
        })
        .await?;
        loop {
            match self.receive().await? {
                FromDaemon::Ok {
                    id: answered,
                    reply,
                } if answered == id => {
                    return V::answer(reply).map_err(|_| out_of_turn());
                }
                FromDaemon::Error {
                    id: answered,
                    error,
                } if answered == id => return Err(error),
                FromDaemon::Refused(error) => return Err(error),
                // The answer to a call that this client gave up waiting for.
                FromDaemon::Ok { .. } | FromDaemon::Error { .. } => {}
                _ => return Err(out_of_turn()),
            }
        }
    }

    /// Asks for the state and all that changes from now on.
    pub async fn watch(mut self, watch: Watch) -> Result<Watching, Error> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&FromTool::Watch { id, watch }).await?;
        match self.receive().await? {
            FromDaemon::State { state, .. } => Ok(Watching {
                client: self,
                state,
            }),
            FromDaemon::Error { error, .. } | FromDaemon::Refused(error) => Err(error),
            _ => Err(out_of_turn()),
        }
    }

    async fn send(&mut self, line: &FromTool) -> Result<(), Error> {
        let encoded = codec::encode(line, MAX_CALL).map_err(|_| {
            let what = if let FromTool::Call { call, .. } = line {
                Call::name(call)
            } else {
                "it"
            };
            Error::new(
                Code::Usage,
                format!("{what} is too long: a call has at most {MAX_CALL} bytes"),
            )
        })?;
        // A daemon that refused this connection says why before it closes: read that rather than report the pipe.
        match codec::send(&mut self.write, &encoded, GREETING).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                match self.receive().await? {
                    FromDaemon::Refused(error) => Err(error),
                    _ => Err(hung_up()),
                }
            }
            Err(_) => Err(hung_up()),
        }
    }

    async fn receive(&mut self) -> Result<FromDaemon, Error> {
        let line = self.lines.next(None).await.map_err(|error| match error {
            LineError::TooLong(_) => out_of_turn(),
            LineError::TooSlow | LineError::Cut | LineError::Io(_) => hung_up(),
        })?;
        let line = line.ok_or_else(hung_up)?;
        serde_json::from_slice(line.bytes()).map_err(|_| out_of_turn())
    }
}

/// A watch under way.
pub struct Watching {
    client: Client,
    state: State,
}

impl Watching {
    /// What is known now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Waits for the next change and takes it over.
    pub async fn next(&mut self) -> Result<Update, Error> {
        match self.client.receive().await? {
            FromDaemon::Update { update, .. } => {
                self.state.apply(update.clone());
                Ok(update)
            }
            FromDaemon::Refused(error) | FromDaemon::Error { error, .. } => Err(error),
            _ => Err(out_of_turn()),
        }
    }
}

fn cannot_connect(socket: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Error::new(Code::NotRunning, "meshd is not running")
        }
        io::ErrorKind::PermissionDenied => Error::new(
            Code::NotPermitted,
            "this user may not talk to meshd: root and the group mesh may",
        ),
        _ => Error::new(
            Code::Failed,
            format!("cannot reach meshd at {}: {error}", socket.display()),
        ),
    }
}

fn other_protocol(protocol: u32, version: &str) -> Error {
    let message =
        format!("meshd {version} speaks protocol {protocol}, this mesh speaks {PROTOCOL}");
    Error::new(Code::Failed, message).hint("sudo systemctl restart meshd")
}

fn hung_up() -> Error {
    Error::new(Code::Failed, "meshd closed the connection").hint("mesh status")
}

fn out_of_turn() -> Error {
    Error::new(
        Code::Failed,
        "meshd answered something this mesh does not understand",
    )
    .hint("mesh version")
}

/// How long a running daemon may take to greet, and to take a call.
const GREETING: Duration = Duration::from_secs(10);

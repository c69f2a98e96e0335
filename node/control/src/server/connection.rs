//! One tool.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Limits, PeerCredentials, Service};
use crate::call::Call;
use crate::codec::{self, LineError, Lines, MAX_CALL, MAX_REPLY};
use crate::error::{Code, Error};
use crate::frame::{FromDaemon, PROTOCOL};
use crate::reply::Reply;
use crate::state::{State, Watch};

/// Serves one tool until it goes, breaks a limit, or speaks nonsense.
pub(super) async fn run<S: Service>(
    stream: UnixStream,
    who: PeerCredentials,
    service: Arc<S>,
    limits: Limits,
) {
    let (read, write) = stream.into_split();
    let mut connection = Connection {
        lines: Lines::new(read, MAX_CALL),
        write,
        who,
        service,
        limits,
        tasks: JoinSet::new(),
        ids: BTreeMap::new(),
        watching: None,
        watch_asked: false,
    };
    match connection.serve().await {
        Ok(()) | Err(End::Gone) => {}
        Err(End::Refused(error)) => {
            let _ = connection.send(&FromDaemon::Refused(error)).await;
        }
    }
}

struct Connection<S> {
    lines: Lines<OwnedReadHalf>,
    write: OwnedWriteHalf,
    who: PeerCredentials,
    service: Arc<S>,
    limits: Limits,
    /// Calls under way; dropped with the connection.
    tasks: JoinSet<Done>,
    /// The tool's number of each, kept apart so that it outlives a panic of the call.
    ids: BTreeMap<Id, u64>,
    watching: Option<Watching>,
    watch_asked: bool,
}

enum Done {
    Call(Box<Result<Reply, Error>>),
    Watch(Watch, Result<watch::Receiver<Arc<State>>, Error>),
}

/// Why a connection ends.
enum End {
    Gone,
    Refused(Error),
}

enum Event {
    Line(Option<codec::Wiped>),
    Done(Result<(Id, Done), JoinError>),
    Changed(bool),
    Idle,
}

impl<S: Service> Connection<S> {
    async fn serve(&mut self) -> Result<(), End> {
        self.greet().await?;
        let mut idle_since = Instant::now();
        loop {
            let busy = !self.tasks.is_empty() || self.watching.is_some();
            let event = tokio::select! {
                Some(done) = self.tasks.join_next_with_id() => Event::Done(done),
                line = self.lines.next(Some(self.limits.line)), if self.tasks.len() < self.limits.calls => {
                    Event::Line(line.map_err(bad_line)?)
                }
                changed = next_change(self.watching.as_mut(), self.limits.update) => Event::Changed(changed),
                () = sleep_until(idle_since + self.limits.idle), if !busy => Event::Idle,
            };
            match event {
                Event::Line(None) => return Ok(()),
                Event::Line(Some(line)) => self.take(line.bytes()).await?,
                Event::Done(done) => self.finish(done).await?,
                Event::Changed(true) => self.tell().await?,
                Event::Changed(false) | Event::Idle => return Ok(()),
            }
            idle_since = Instant::now();
        }
    }

    async fn greet(&mut self) -> Result<(), End> {
        let line = timeout(self.limits.hello, self.lines.next(None))
            .await
            .map_err(|_| End::Gone)?;
        let line = line.map_err(bad_line)?.ok_or(End::Gone)?;
        let Ok(Line::Hello { protocol }) = serde_json::from_slice(line.bytes()) else {
            return Err(End::Refused(Error::new(
                Code::Usage,
                "the first line must be a hello",
            )));
        };
        let version = self.service.version();
        if protocol != PROTOCOL {
            let message =
                format!("meshd {version} speaks protocol {PROTOCOL}, this tool speaks {protocol}");
            return Err(End::Refused(
                Error::new(Code::Failed, message).hint("sudo systemctl restart meshd"),
            ));
        }
        self.send(&FromDaemon::Welcome {
            protocol: PROTOCOL,
            version,
        })
        .await
    }

    async fn take(&mut self, line: &[u8]) -> Result<(), End> {
        let line: Line = serde_json::from_slice(line).map_err(|error| {
            End::Refused(Error::new(
                Code::Usage,
                format!("not a line of this protocol: {error}"),
            ))
        })?;
        let (service, who) = (self.service.clone(), self.who);
        match line {
            Line::Hello { .. } => Err(End::Refused(Error::new(Code::Usage, "a second hello"))),
            Line::Call { id, call } => {
                let call: Call = match serde_json::from_str(call.get()) {
                    Ok(call) => call,
                    Err(error) => {
                        let message =
                            format!("meshd {} cannot read this call: {error}", service.version());
                        return self.send_error(id, Error::new(Code::Usage, message)).await;
                    }
                };
                let task = self
                    .tasks
                    .spawn(async move { Done::Call(Box::new(service.call(who, call).await)) });
                self.ids.insert(task.id(), id);
                Ok(())
            }
            Line::Watch { id, watch: _ } if self.watch_asked => {
                self.send_error(
                    id,
                    Error::new(Code::Usage, "this connection watches already"),
                )
                .await
            }
            Line::Watch { id, watch } => {
                self.watch_asked = true;
                let task = self.tasks.spawn(async move {
                    let states = service.watch(who, watch.clone()).await;
                    Done::Watch(watch, states)
                });
                self.ids.insert(task.id(), id);
                Ok(())
            }
        }
    }

    async fn finish(&mut self, done: Result<(Id, Done), JoinError>) -> Result<(), End> {
        let (task, done) = match done {
            Ok((task, done)) => (task, Some(done)),
            Err(error) => (error.id(), None),
        };
        let Some(id) = self.ids.remove(&task) else {
            return Ok(());
        };
        match done {
            Some(Done::Call(answer)) => match *answer {
                Ok(reply) => self.send(&FromDaemon::Ok { id, reply }).await,
                Err(error) => self.send_error(id, error).await,
            },
            Some(Done::Watch(_, Err(error))) => self.send_error(id, error).await,
            Some(Done::Watch(watch, Ok(mut states))) => {
                let state = only(&states.borrow_and_update(), watch.network.as_deref());
                self.send(&FromDaemon::State {
                    id,
                    state: state.clone(),
                })
                .await?;
                self.watching = Some(Watching {
                    id,
                    states,
                    network: watch.network,
                    told: state,
                    told_at: Instant::now(),
                });
                Ok(())
            }
            None => {
                let error = Error::new(Code::Failed, "meshd failed inside this call: a defect")
                    .hint("journalctl -u meshd");
                self.send_error(id, error).await
            }
        }
    }

    /// Tells the watcher what changed since it was told last.
    async fn tell(&mut self) -> Result<(), End> {
        let Some(mut watching) = self.watching.take() else {
            return Ok(());
        };
        let state = only(
            &watching.states.borrow_and_update(),
            watching.network.as_deref(),
        );
        for update in watching.told.updates(&state) {
            self.send(&FromDaemon::Update {
                id: watching.id,
                update,
            })
            .await?;
        }
        watching.told = state;
        watching.told_at = Instant::now();
        self.watching = Some(watching);
        Ok(())
    }

    async fn send_error(&mut self, id: u64, error: Error) -> Result<(), End> {
        self.send(&FromDaemon::Error { id, error }).await
    }

    async fn send(&mut self, line: &FromDaemon) -> Result<(), End> {
        let encoded = match (codec::encode(line, MAX_REPLY), line) {
            (Ok(encoded), _) => encoded,
            (Err(_), FromDaemon::Ok { id, .. }) => {
                let error = Error::new(
                    Code::Failed,
                    "the answer is larger than 16 MiB: ask for less",
                );
                codec::encode(&FromDaemon::Error { id: *id, error }, MAX_REPLY)
                    .map_err(|_| End::Gone)?
            }
            (Err(_), _) => return Err(End::Gone),
        };
        codec::send(&mut self.write, &encoded, self.limits.write)
            .await
            .map_err(|_| End::Gone)
    }
}

struct Watching {
    id: u64,
    states: watch::Receiver<Arc<State>>,
    network: Option<String>,
    told: State,
    told_at: Instant,
}

/// Waits for a new state, not sooner than `gap` after the last; false when there will be none.
async fn next_change(watching: Option<&mut Watching>, gap: Duration) -> bool {
    let Some(watching) = watching else {
        return std::future::pending().await;
    };
    let changed = watching.states.changed().await;
    // What changes while this waits is told together. A dropped wait starts over: the change is still marked.
    watching.states.mark_changed();
    sleep_until(watching.told_at + gap).await;
    changed.is_ok()
}

fn only(state: &State, network: Option<&str>) -> State {
    let wanted = |called: &str| {
        state
            .networks
            .iter()
            .filter(|known| known.is_called(called))
            .cloned()
            .collect()
    };
    network.map_or_else(
        || state.clone(),
        |called| State {
            networks: wanted(called),
        },
    )
}

fn bad_line(error: LineError) -> End {
    match error {
        LineError::TooLong(_) | LineError::TooSlow => {
            End::Refused(Error::new(Code::Usage, error.to_string()))
        }
        LineError::Cut | LineError::Io(_) => End::Gone,
    }
}

/// A line of a tool whose call is not decoded yet: a call this daemon does not know is an error of that call alone.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Hello {
        protocol: u32,
    },
    Call {
        id: u64,
        #[serde(borrow)]
        call: &'a RawValue,
    },
    Watch {
        id: u64,
        watch: Watch,
    },
}

//! The daemon's end: serves a [`Service`] to tools.
//!
//! A tool can be slow, broken or hostile: connections (in all and per user), calls under way, lines, and the time to
//! greet, to end a line, to take an answer and to be idle are all bounded by [`Limits`]. Root always finds a place.

mod connection;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

use crate::call::Call;
use crate::codec::{self, MAX_REPLY};
use crate::error::{Code, Error};
use crate::frame::FromDaemon;
use crate::reply::Reply;
use crate::state::{State, Watch};

/// Who is at the other end of the socket, told by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerCredentials {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id, where the platform tells.
    pub pid: Option<i32>,
}

/// What the daemon does for tools.
///
/// A future is dropped when its tool goes away or the server ends: what must be finished then is not done inside it.
pub trait Service: Send + Sync + 'static {
    /// The version told to tools.
    fn version(&self) -> String;

    /// Does what is asked. Up to [`Limits::calls`] of one connection run at once, in no order.
    fn call(
        &self,
        who: PeerCredentials,
        call: Call,
    ) -> impl Future<Output = Result<Reply, Error>> + Send;

    /// The states to tell a watcher of; the one in the receiver is sent first. The watch ends with the sender. The
    /// server leaves networks out that were not asked for; the service says `not_found` when there is none.
    fn watch(
        &self,
        who: PeerCredentials,
        watch: Watch,
    ) -> impl Future<Output = Result<watch::Receiver<Arc<State>>, Error>> + Send;
}

/// What tools may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of everybody but root.
    pub connections: usize,
    /// Connections of one user, root too.
    pub per_user: usize,
    /// Calls of one connection that run at once; further lines wait unread.
    pub calls: usize,
    /// From the connection to the end of the hello.
    pub hello: Duration,
    /// From the first byte of a line to its end.
    pub line: Duration,
    /// Until a line of the daemon is taken.
    pub write: Duration,
    /// Without a call under way or a watch.
    pub idle: Duration,
    /// Between two rounds of updates of a watch.
    pub update: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            per_user: 32,
            calls: 16,
            hello: Duration::from_secs(5),
            line: Duration::from_secs(10),
            write: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            update: Duration::from_millis(100),
        }
    }
}

/// Serves tools until `shutdown` is done, with the default [`Limits`]. Calls that run then are dropped.
pub async fn serve<S: Service>(
    listener: UnixListener,
    service: Arc<S>,
    shutdown: impl Future<Output = ()>,
) {
    serve_within(Limits::default(), listener, service, shutdown).await;
}

/// Serves tools until `shutdown` is done. Calls that run then are dropped.
pub async fn serve_within<S: Service>(
    limits: Limits,
    listener: UnixListener,
    service: Arc<S>,
    shutdown: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    let mut users: BTreeMap<Id, u32> = BTreeMap::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => return,
            Some(done) = connections.join_next_with_id() => {
                let id = match done {
                    Ok((id, ())) => id,
                    Err(error) => error.id(),
                };
                users.remove(&id);
            }
            accepted = accept(&listener) => {
                let Some((stream, who)) = accepted else { continue };
                let mine = users.values().filter(|uid| **uid == who.uid).count();
                let all = users.values().filter(|uid| **uid != 0).count();
                if mine >= limits.per_user || (who.uid != 0 && all >= limits.connections) {
                    refuse(stream).await;
                    continue;
                }
                let task = connections.spawn(connection::run(stream, who, service.clone(), limits));
                users.insert(task.id(), who.uid);
            }
        }
    }
}

async fn accept(listener: &UnixListener) -> Option<(UnixStream, PeerCredentials)> {
    match listener.accept().await {
        Ok((stream, _)) => {
            let who = credentials(&stream).ok()?;
            Some((stream, who))
        }
        Err(_) => {
            // Out of file descriptors, as a rule; no event says when there are some again.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            None
        }
    }
}

fn credentials(stream: &UnixStream) -> io::Result<PeerCredentials> {
    let who = stream.peer_cred()?;
    Ok(PeerCredentials {
        uid: who.uid(),
        gid: who.gid(),
        pid: who.pid(),
    })
}

/// Says why, as far as the socket takes it at once: a full server waits for nobody.
async fn refuse(mut stream: UnixStream) {
    let error = Error::new(
        Code::Failed,
        "meshd serves as many tools as it can: too many are connected",
    );
    if let Ok(line) = codec::encode(&FromDaemon::Refused(error), MAX_REPLY) {
        let _ = codec::send(&mut stream, &line, REFUSE).await;
    }
}

const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const REFUSE: Duration = Duration::from_millis(10);

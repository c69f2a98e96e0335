//! The control socket: hands tools' calls to the node.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mesh_control::call::Call;
use mesh_control::client::Client;
use mesh_control::error::{Code, Error};
use mesh_control::reply::Reply;
use mesh_control::server::{PeerCredentials, Service};
use mesh_control::state::{State, Watch};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::node::Event;

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Another daemon answers on it.
    #[error("meshd is running already: {} answers", .0.display())]
    Taken(PathBuf),
    /// The system said no.
    #[error("{}: {why}", .path.display())]
    Io { path: PathBuf, why: std::io::Error },
}

/// Makes the socket, for root and the group `mesh`. A socket that nobody answers on is replaced.
pub(crate) async fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |why| SocketError::Io {
        path: path.to_owned(),
        why,
    };
    if is_answered(path).await {
        return Err(SocketError::Taken(path.to_owned()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    if let Ok(Some(group)) = nix::unistd::Group::from_name("mesh") {
        nix::unistd::chown(path, None, Some(group.gid)).map_err(|errno| failed(errno.into()))?;
    }
    Ok(listener)
}

/// Whether a daemon is behind a socket. A process that was just killed may have left its end with a child that has not begun
/// yet, which takes connections for a moment and answers none.
async fn is_answered(path: &Path) -> bool {
    for _ in 0..20 {
        match Client::connect(path).await {
            Ok(_) => return true,
            Err(error) if error.code == Code::NotRunning => return false,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    true
}

/// What tools are served by.
pub(crate) struct Control {
    pub(crate) events: mpsc::Sender<Event>,
}

fn stopping() -> Error {
    Error::new(Code::Failed, "meshd is stopping")
}

impl Service for Control {
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    async fn call(&self, _who: PeerCredentials, call: Call) -> Result<Reply, Error> {
        let (respond, reply) = oneshot::channel();
        self.events
            .send(Event::Call(call, respond))
            .await
            .map_err(|_| stopping())?;
        reply.await.map_err(|_| stopping())?
    }

    async fn watch(
        &self,
        _who: PeerCredentials,
        _watch: Watch,
    ) -> Result<watch::Receiver<Arc<State>>, Error> {
        let (respond, states) = oneshot::channel();
        self.events
            .send(Event::Watch(respond))
            .await
            .map_err(|_| stopping())?;
        states.await.map_err(|_| stopping())
    }
}

//! The daemon's end: serves a [`Service`] to tools.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

use crate::call::Call;
use crate::error::Error;
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

    /// Does what is asked. Up to 16 of one connection run at once, in no order.
    fn call(
        &self,
        who: PeerCredentials,
        call: Call,
    ) -> impl Future<Output = Result<Reply, Error>> + Send;

    /// The states to tell a watcher of; the one in the receiver is sent first. The watch ends with the sender.
    fn watch(
        &self,
        who: PeerCredentials,
        watch: Watch,
    ) -> impl Future<Output = Result<watch::Receiver<Arc<State>>, Error>> + Send;
}

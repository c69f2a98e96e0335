//! Noticing that iroh is dead.
//!
//! iroh's tasks hold one another up: when one panics the others end, and each connection comes to nothing from then on with an
//! internal error. Nothing repairs that but a new endpoint, so the daemon ends, and is started again.

use std::sync::Arc;

use iroh::endpoint::ConnectingError;
use tokio::sync::Notify;

use super::Endpoint;

/// Whether iroh said that it is dead.
#[derive(Clone, Default)]
pub(super) struct Health(Arc<Notify>);

impl Health {
    /// Looks at why a connection came to nothing, and returns it as text.
    pub(super) fn told(&self, error: ConnectingError) -> String {
        if matches!(error, ConnectingError::InternalConsistencyError { .. }) {
            self.0.notify_one();
        }
        error.to_string()
    }
}

impl Endpoint {
    /// Waits until iroh is dead, and returns how that showed.
    pub(crate) async fn failed(&self) -> String {
        self.health.0.notified().await;
        "iroh's own tasks ended".to_owned()
    }

    /// Returns whether the endpoint was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.iroh.is_closed()
    }
}

//! Answering: a first packet is looked at before anything is said or kept.
//!
//! A caller that is not expected gets no answer at all, so a scanner does not learn that something listens. One that is gets a
//! handshake for the name by which it called, and for no other.

use std::sync::Arc;

use iroh::endpoint::{Connection, Incoming, IncomingAddr};
use mesh_core::callers::{Caller, Expected};
use mesh_ledger::alpn::Name;

use super::Endpoint;

/// A first packet of a caller that is expected.
pub(crate) struct Knock {
    incoming: Incoming,
    name: Name,
    /// As what it calls.
    pub(crate) caller: Caller,
}

impl Knock {
    /// Returns where it comes from.
    pub(crate) fn from(&self) -> IncomingAddr {
        self.incoming.remote_addr()
    }
}

impl Endpoint {
    /// Sets which callers are answered from now on.
    pub(crate) fn set_expected(&self, expected: Expected) {
        self.expected.store(Arc::new(expected));
    }

    /// Returns the next caller that is expected; `None` when the endpoint is closed.
    pub(crate) async fn accept(&self) -> Option<Knock> {
        loop {
            let incoming = self.iroh.accept().await?;
            match self.recognise(&incoming) {
                Some((name, caller)) => {
                    return Some(Knock {
                        incoming,
                        name,
                        caller,
                    });
                }
                None => incoming.ignore(),
            }
        }
    }

    fn recognise(&self, incoming: &Incoming) -> Option<(Name, Caller)> {
        // A hello that needs more than one packet is none of ours.
        let offered = incoming.decrypt()?.alpns()?;
        let offered: Vec<_> = offered.collect::<Result<_, _>>().ok()?;
        let expected = self.expected.load();
        expected.find(offered.iter().map(AsRef::as_ref))
    }

    /// Completes the handshake with a caller.
    pub(crate) async fn answer(&self, knock: Knock) -> Result<Connection, String> {
        let config = self
            .iroh
            .create_server_config_builder(vec![knock.name.to_vec()])
            .build();
        let accepting = knock.incoming.accept_with(Arc::new(config));
        let accepting = accepting.map_err(|error| error.to_string())?;
        accepting.await.map_err(|error| self.health.told(error))
    }
}

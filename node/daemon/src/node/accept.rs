//! Taking connections: a task looks at each first packet, and one for each caller hears its greeting.

use std::time::Duration;

use iroh::endpoint::IncomingAddr;
use mesh_core::peer::PeerId;
use mesh_core::slots::{Limits, Origin};

use super::{Event, Node};
use crate::link::Wire;
use crate::visitors::Visitors;

/// How many strangers may be in the middle of saying hello.
const GREETINGS: Limits = Limits { all: 256, each: 32 };

impl Node {
    /// Starts to take connections. A panic inside iroh ends the task that it is in, and iroh with it; that is told.
    pub(super) fn spawn_acceptor(&self) {
        let (endpoint, events) = (self.endpoint.clone(), self.events.clone());
        let (watched, failed) = (self.endpoint.clone(), self.events.clone());
        let accepting = tokio::spawn(async move {
            let greetings = Visitors::new(GREETINGS);
            while let Some(knock) = endpoint.accept().await {
                let (endpoint, events) = (endpoint.clone(), events.clone());
                greetings.receive(origin(&knock.from()), async move {
                    let greeted = async {
                        let caller = knock.caller;
                        let connection = endpoint.answer(knock).await?;
                        let greeted = Wire::greeted(connection, &caller).await;
                        greeted.map_err(|error| error.to_string())
                    };
                    match tokio::time::timeout(Duration::from_secs(10), greeted).await {
                        Ok(Ok((wire, hello))) => {
                            drop(events.send(Event::Incoming(wire, hello)).await)
                        }
                        Ok(Err(error)) => {
                            tracing::debug!("an incoming connection came to nothing: {error}")
                        }
                        Err(_) => {}
                    }
                });
            }
        });
        tokio::spawn(async move {
            let why = tokio::select! {
                ended = accepting => match ended {
                    Ok(()) if watched.is_closed() => return,
                    Ok(()) => "iroh takes no connection any more".to_owned(),
                    Err(error) => format!("what takes connections ended: {error}"),
                },
                why = watched.failed() => why,
            };
            drop(failed.send(Event::Failed(why)).await);
        });
    }
}

/// Where somebody who connects comes from.
fn origin(from: &IncomingAddr) -> Origin {
    match from {
        IncomingAddr::Ip(address) => (*address).into(),
        IncomingAddr::Relay { endpoint_id, .. } => Origin::Device(PeerId(*endpoint_id.as_bytes())),
        // There is no other way in; what comes by one is one origin.
        _ => Origin::Device(PeerId([0; 32])),
    }
}

//! Following what happens: the daemon's states as they change, across its restarts.

use std::time::Duration;

use mesh_control::client::{Client, Watching};
use mesh_control::state::{State, Watch};
use mesh_control::{Code, Error};

use crate::context::Context;

/// See the module.
pub(crate) struct Follower {
    network: Option<String>,
    socket: std::path::PathBuf,
    watching: Option<Watching>,
}

/// What happened.
pub(crate) enum Step {
    /// Something changed: the state before and after.
    Changed(Box<(State, State)>),
    /// The daemon is gone. The next step waits for it.
    Lost,
    /// It is back, with this state.
    Back(State),
}

impl Follower {
    /// Begins to follow; gives what there is.
    pub(crate) async fn start(context: &Context) -> Result<(Self, State), Error> {
        let network = context.network();
        let watch = Watch {
            network: network.clone(),
        };
        let watching = context.connect().await?.watch(watch).await?;
        let state = watching.state().clone();
        let follower = Self {
            network,
            socket: context.socket(),
            watching: Some(watching),
        };
        Ok((follower, state))
    }

    /// Waits for the next step. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Step, Error> {
        if let Some(watching) = &mut self.watching {
            let before = watching.state().clone();
            return Ok(match watching.next().await {
                Ok(_) => Step::Changed(Box::new((before, watching.state().clone()))),
                Err(_) => {
                    self.watching = None;
                    Step::Lost
                }
            });
        }
        loop {
            let watch = Watch {
                network: self.network.clone(),
            };
            let watching = match Client::connect(&self.socket).await {
                Ok(client) => client.watch(watch).await,
                Err(error) => Err(error),
            };
            match watching {
                Ok(watching) => {
                    let state = watching.state().clone();
                    self.watching = Some(watching);
                    return Ok(Step::Back(state));
                }
                Err(error) if error.code == Code::NotPermitted => return Err(error),
                // No event says that a daemon begins to listen.
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}

/// Whether a network was there before and is not any more: this device has left it.
pub(crate) fn is_gone(before: &State, after: &State, network: &str) -> bool {
    let has = |state: &State| {
        let mut networks = state.networks.iter().map(|known| &known.status.network);
        networks.any(|known| known.name == network || known.id == network)
    };
    has(before) && !has(after)
}

/// There is nothing more to follow.
pub(crate) fn gone(network: &str) -> Error {
    Error::new(
        Code::NotFound,
        format!("this device has left {network}: there is nothing more to follow"),
    )
    .hint("mesh networks")
}

/// How often it is looked whether the daemon is back.
const AGAIN: Duration = Duration::from_millis(500);

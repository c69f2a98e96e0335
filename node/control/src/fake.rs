//! A daemon of paper for the tests of tools: it answers what it was told to answer, over a real socket, through the real
//! server and codec, and remembers what it was asked.

pub mod examples;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::call::Call;
use crate::error::{Code, Error};
use crate::reply::Reply;
use crate::server::{PeerCredentials, Service, serve};
use crate::state::{State, Watch};

/// A scripted [`Service`].
pub struct Fake {
    script: Mutex<Script>,
    states: watch::Sender<Arc<State>>,
}

#[derive(Default)]
struct Script {
    answers: BTreeMap<String, VecDeque<Result<Reply, Error>>>,
    asked: Vec<(PeerCredentials, Call)>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            script: Mutex::default(),
            states: watch::Sender::new(Arc::new(State::default())),
        }
    }
}

impl Fake {
    /// Answers the next call named `name`, as [`Call::name`] spells it, with `answer`. Several answers to one name are
    /// given in turn and the last of them ever after; a call without one fails.
    #[must_use]
    pub fn on(self, name: &str, answer: Result<Reply, Error>) -> Self {
        self.script()
            .answers
            .entry(name.to_owned())
            .or_default()
            .push_back(answer);
        self
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Call> {
        self.script()
            .asked
            .iter()
            .map(|(_, call)| call.clone())
            .collect()
    }

    /// Shows watchers a state.
    pub fn show(&self, state: State) {
        self.states.send_replace(Arc::new(state));
    }

    /// Listens at `socket` in a task of the current runtime until the handle is dropped.
    pub fn listen(self: &Arc<Self>, socket: &Path) -> io::Result<Listening> {
        let listener = UnixListener::bind(socket)?;
        Ok(Listening(tokio::spawn(serve(
            listener,
            self.clone(),
            std::future::pending(),
        ))))
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Fake {
    fn version(&self) -> String {
        "0.0.0-fake".to_owned()
    }

    async fn call(&self, who: PeerCredentials, call: Call) -> Result<Reply, Error> {
        let name = call.name();
        let mut script = self.script();
        script.asked.push((who, call));
        let answers = script.answers.get_mut(name);
        let answer = answers.and_then(|answers| {
            if answers.len() > 1 {
                answers.pop_front()
            } else {
                answers.front().cloned()
            }
        });
        answer.unwrap_or_else(|| {
            Err(Error::new(
                Code::Failed,
                format!("the fake has no answer to {name}"),
            ))
        })
    }

    async fn watch(
        &self,
        _: PeerCredentials,
        _: Watch,
    ) -> Result<watch::Receiver<Arc<State>>, Error> {
        Ok(self.states.subscribe())
    }
}

/// A fake at its socket; gone when dropped.
pub struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

//! Running a command for what happens: one at a time, in order, without a shell.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::happening::Happening;
use crate::render::clean;

/// So many happenings may wait while a command runs.
const QUEUE: usize = 1024;

/// See the module. Without a command it does nothing.
pub(super) struct Runner(Option<Running>);

struct Running {
    queue: mpsc::Sender<Happening>,
    ended: mpsc::UnboundedReceiver<Ended>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// How a command ended.
pub(super) struct Ended {
    /// Whether with 0.
    pub(super) well: bool,
    /// In words.
    pub(super) text: String,
}

impl Runner {
    pub(super) fn start(command: Vec<String>) -> Self {
        if command.is_empty() {
            return Self(None);
        }
        let (queue, mut happenings) = mpsc::channel::<Happening>(QUEUE);
        // As many at most as happenings come through the queue.
        let (say, ended) = mpsc::unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while let Some(happening) = happenings.recv().await {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let _ = say.send(run(&command, &happening).await);
            }
        });
        Self(Some(Running {
            queue,
            ended,
            stop,
            task,
        }))
    }

    /// Has the command run for something, in its turn; false if too much waits already.
    pub(super) fn run(&self, happening: &Happening) -> bool {
        self.0
            .as_ref()
            .is_none_or(|running| running.queue.try_send(happening.clone()).is_ok())
    }

    /// Waits for a command to end; for ever if there is none.
    pub(super) async fn ended(&mut self) -> Ended {
        if let Some(running) = &mut self.0
            && let Some(ended) = running.ended.recv().await
        {
            return ended;
        }
        std::future::pending().await
    }

    /// Has the command run no more but for what it runs for now.
    pub(super) fn leave_what_waits(&self) {
        if let Some(running) = &self.0 {
            running.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Waits for all that is to run.
    pub(super) async fn finish(self) -> Vec<Ended> {
        let Some(mut running) = self.0 else {
            return Vec::new();
        };
        drop(running.queue);
        let _ = running.task.await;
        let mut ended = Vec::new();
        while let Ok(one) = running.ended.try_recv() {
            ended.push(one);
        }
        ended
    }
}

/// Runs the command once. What happened is in its environment alone: what others wrote never becomes an argument.
async fn run(command: &[String], happening: &Happening) -> Ended {
    let [program, args @ ..] = command else {
        return ended(false, "no command");
    };
    let time = happening.time_ms.map(|time| time.to_string());
    let status = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .env("MESH_KIND", clean(&happening.kind))
        .env("MESH_NETWORK", clean(&happening.network))
        .env("MESH_NETWORK_ID", clean(&happening.network_id))
        .env("MESH_NAME", clean(&happening.name))
        .env("MESH_BY", clean(&happening.by))
        .env("MESH_TEXT", clean(&happening.text))
        .env("MESH_EVENT", clean(&happening.event))
        .env("MESH_TIME_MS", time.unwrap_or_default())
        .status()
        .await;
    match status {
        Ok(status) if status.success() => ended(true, &format!("{program}: done")),
        Ok(status) => ended(false, &format!("{program}: {status}")),
        Err(error) => ended(false, &format!("cannot run {program}: {error}")),
    }
}

fn ended(well: bool, text: &str) -> Ended {
    Ended {
        well,
        text: text.to_owned(),
    }
}

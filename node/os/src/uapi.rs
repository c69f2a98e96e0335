//! The socket by which `wg` asks about an interface: WireGuard's cross-platform protocol, as far as it is a socket.
//!
//! A request is lines and an empty line; so is an answer, whose last line is a number of an error, or 0. What stands in them
//! is for whoever answers: here is who may ask, for how long, how much, and that the socket goes when it is not served any
//! more. The secrets that pass are wiped.
//!
//! Only the user of this process may ask, which is root. The socket has mode 0600 from the moment it is there, in a folder
//! that nobody else can write to, and who connects is looked at once more.

#[cfg(target_os = "linux")]
mod linux;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use zeroize::Zeroizing;

use self::linux::Place;
#[cfg(target_os = "linux")]
pub use self::linux::sweep;
use crate::dirs::DirsError;

/// The longest request in bytes, its empty line included.
pub const MAX_REQUEST: usize = 256 * 1024;

/// How many may talk at once; others wait to be let in.
const CONVERSATIONS: usize = 8;
/// How long a whole request may take to arrive, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nobody is let in when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(200);

/// What is answered: lines, each with its end, or why not.
pub type Answer = Result<Zeroizing<String>, Refusal>;

/// Why a request is refused, as far as there is a number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not of this protocol.
    #[error("not a request of WireGuard's cross-platform protocol")]
    Protocol,
    /// A value is not what its name says, or the name is unknown.
    #[error("a value is malformed or unknown")]
    Invalid,
    /// It is longer than [`MAX_REQUEST`].
    #[error("the request is longer than {MAX_REQUEST} bytes")]
    TooLong,
    /// This interface does not do that.
    #[error("the interface does not do that")]
    Unsupported,
    /// The port is another's.
    #[error("the port is taken")]
    PortTaken,
    /// It could not be answered.
    #[error("it could not be done")]
    Failed,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum UapiError {
    /// The folder is not safe, or could not be made.
    #[error(transparent)]
    Folder(#[from] DirsError),
    /// No interface can have this name.
    #[error("{0:?} is no name of an interface")]
    Name(String),
    /// Another process answers on it.
    #[error("another process answers on {path}", path = .0.display())]
    Taken(PathBuf),
    /// The system said no.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The socket of one interface. It is gone when this is dropped, and conversations break off.
#[derive(Debug)]
pub struct Server {
    /// Removes the socket when it is dropped.
    _place: Place,
    serving: JoinHandle<()>,
}

impl Server {
    /// Makes the socket `INTERFACE.sock` in the folder, which is made if it is not there, and answers each request by
    /// `answer`. A socket that a killed process left is replaced. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`UapiError`].
    pub fn start<F, A>(folder: &Path, interface: &str, answer: F) -> Result<Self, UapiError>
    where
        F: Fn(Zeroizing<Vec<u8>>) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let (place, listener) = Place::take(folder, interface)?;
        let listener = UnixListener::from_std(listener).map_err(|source| UapiError::Io {
            path: place.path().to_owned(),
            source,
        })?;
        Ok(Self {
            _place: place,
            serving: tokio::spawn(serve(listener, Arc::new(answer), PATIENCE)),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve<F, A>(listener: UnixListener, answer: Arc<F>, patience: Duration)
where
    F: Fn(Zeroizing<Vec<u8>>) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    // They end with this task.
    let mut conversations = JoinSet::new();
    loop {
        while conversations.try_join_next().is_some() {}
        if conversations.len() >= CONVERSATIONS {
            conversations.join_next().await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) if is_own_user(&stream) => {
                conversations.spawn(converse(stream, answer.clone(), patience));
            }
            Ok(_) => tracing::warn!("another user asked about an interface, and got no answer"),
            Err(error) => {
                tracing::debug!(%error, "nobody could be let in");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_own_user(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn converse<F, A>(mut stream: UnixStream, answer: Arc<F>, patience: Duration)
where
    F: Fn(Zeroizing<Vec<u8>>) -> A,
    A: Future<Output = Answer>,
{
    // With all its room from the start, so that no copy of a key is left behind by growing.
    let mut heard = Zeroizing::new(Vec::with_capacity(MAX_REQUEST));
    loop {
        let said = match timeout(patience, request(&mut stream, &mut heard)).await {
            Ok(Ok(Some(request))) => answer(request).await,
            Ok(Ok(None)) => Err(Refusal::TooLong),
            // It says nothing more, or not soon enough.
            Ok(Err(_)) | Err(_) => return,
        };
        let over = said == Err(Refusal::TooLong);
        let told = timeout(patience, tell(&mut stream, said)).await;
        if over || !matches!(told, Ok(Ok(()))) {
            return;
        }
    }
}

/// The next request, with its empty line; `None` if it is too long.
async fn request(
    stream: &mut UnixStream,
    heard: &mut Zeroizing<Vec<u8>>,
) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut looked = 0;
    loop {
        if let Some(end) = end(heard, looked) {
            let request = Zeroizing::new(heard.get(..end).unwrap_or_default().to_vec());
            heard.drain(..end);
            return Ok(Some(request));
        }
        looked = heard.len();
        let room = MAX_REQUEST.saturating_sub(looked);
        if room == 0 {
            return Ok(None);
        }
        if (&mut *stream)
            .take(room as u64)
            .read_buf(&mut **heard)
            .await?
            == 0
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Where the first empty line ends, if there is one past what was looked at already.
fn end(heard: &[u8], looked: usize) -> Option<usize> {
    if heard.first() == Some(&b'\n') {
        return Some(1);
    }
    let from = looked.saturating_sub(1);
    let rest = heard.get(from..)?;
    let place = rest.windows(2).position(|pair| pair == b"\n\n")?;
    Some(from + place + 2)
}

async fn tell(stream: &mut UnixStream, said: Answer) -> io::Result<()> {
    let number = match &said {
        Ok(lines) => {
            stream.write_all(lines.as_bytes()).await?;
            0
        }
        // `wg` wants it below zero, whatever is written about it.
        Err(refusal) => -linux::number(*refusal),
    };
    stream
        .write_all(format!("errno={number}\n\n").as_bytes())
        .await
}

#[cfg(test)]
mod tests;

//! Frames on a stream.

use std::time::Duration;

use iroh::endpoint::{RecvStream, SendStream};
use mesh_ledger::mirror::message::{BadFrame, Request, Response, body_length};

/// Why a stream does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The other side ended it, or is gone.
    #[error("the stream ended")]
    Ended,
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] BadFrame),
    /// There is no room for it.
    #[error("there is no room for the frame")]
    Full,
    /// The other side is too slow.
    #[error("the other side is too slow")]
    Slow,
}

/// The next request of at most `limit` bytes, with the room that `room` has for it. Its beginning may take any time, the rest of
/// it `slow`.
pub(crate) async fn read<S>(
    recv: &mut RecvStream,
    limit: usize,
    slow: Duration,
    room: impl AsyncFnOnce(usize) -> Option<S>,
) -> Result<(Request, S), WireError> {
    let mut prefix = [0; 4];
    recv.read_exact(&mut prefix[..1])
        .await
        .map_err(|_| WireError::Ended)?;
    let rest = async {
        recv.read_exact(&mut prefix[1..])
            .await
            .map_err(|_| WireError::Ended)?;
        let length = body_length(prefix, limit)?;
        let space = room(length).await.ok_or(WireError::Full)?;
        let mut body = vec![0; length];
        recv.read_exact(&mut body)
            .await
            .map_err(|_| WireError::Ended)?;
        Ok((Request::decode(&body)?, space))
    };
    tokio::time::timeout(slow, rest)
        .await
        .map_err(|_| WireError::Slow)?
}

/// Sends a response; the other side must take it within `slow`.
pub(crate) async fn write(
    send: &mut SendStream,
    response: &Response,
    slow: Duration,
) -> Result<(), WireError> {
    let bytes = response.encode()?;
    tokio::time::timeout(slow, send.write_all(&bytes))
        .await
        .map_err(|_| WireError::Slow)?
        .map_err(|_| WireError::Ended)
}

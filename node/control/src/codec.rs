//! One JSON value per line, with the size bounded before anything is decoded and every buffer wiped after use: lines may
//! carry tickets and recovery words.

use std::io;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroize;

/// The longest line a tool may send, in bytes, without its newline: 64 KiB.
pub const MAX_CALL: usize = 64 * 1024;

/// The longest line the daemon may send, in bytes, without its newline: 16 MiB.
pub const MAX_REPLY: usize = 16 * 1024 * 1024;

/// Why no line could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
    #[error("a line was begun and not ended in time")]
    TooSlow,
    #[error("the connection ended inside a line")]
    Cut,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Splits a stream into lines.
pub(crate) struct Lines<R> {
    stream: R,
    buffer: Wiped,
    /// So many bytes of the buffer hold no newline.
    searched: usize,
    /// When the first byte of the unfinished line came.
    begun: Option<Instant>,
    max: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(stream: R, max: usize) -> Self {
        Self {
            stream,
            buffer: Wiped::new(max + READ + 1),
            searched: 0,
            begun: None,
            max,
        }
    }

    /// The next line without its newline, nothing at the end of the stream. A line must end within `patience` of its
    /// first byte. Nothing is lost when the future is dropped.
    pub(crate) async fn next(
        &mut self,
        patience: Option<Duration>,
    ) -> Result<Option<Wiped>, LineError> {
        loop {
            if let Some(line) = self.take_line()? {
                return Ok(Some(line));
            }
            self.buffer.make_room(READ)?;
            let read = self.stream.read_buf(&mut self.buffer.bytes);
            let count = match (self.begun, patience) {
                (Some(begun), Some(patience)) => timeout_at(begun + patience, read)
                    .await
                    .map_err(|_| LineError::TooSlow)??,
                _ => read.await?,
            };
            if count == 0 {
                return if self.buffer.bytes.is_empty() {
                    Ok(None)
                } else {
                    Err(LineError::Cut)
                };
            }
            self.begun.get_or_insert_with(Instant::now);
        }
    }

    fn take_line(&mut self) -> Result<Option<Wiped>, LineError> {
        let bytes = &mut self.buffer.bytes;
        let fresh = bytes.get(self.searched..).unwrap_or_default();
        let Some(end) = fresh
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|at| at + self.searched)
        else {
            self.searched = bytes.len();
            return if bytes.len() > self.max {
                Err(LineError::TooLong(self.max))
            } else {
                Ok(None)
            };
        };
        if end > self.max {
            return Err(LineError::TooLong(self.max));
        }
        let mut line = Wiped::new(self.max);
        line.append(bytes.get(..end).unwrap_or_default())?;
        bytes.drain(..=end);
        self.searched = 0;
        self.begun = (!bytes.is_empty()).then(Instant::now);
        Ok(Some(line))
    }
}

/// A value as one line with its newline; fails when it is longer than `max`.
pub(crate) fn encode<T: Serialize>(value: &T, max: usize) -> Result<Wiped, serde_json::Error> {
    let mut line = Wiped::new(max);
    serde_json::to_writer(&mut line, value)?;
    line.max += 1;
    line.append(b"\n").map_err(serde_json::Error::io)?;
    Ok(line)
}

/// Writes an encoded line, and gives up when the other end does not take it within `patience`.
pub(crate) async fn send<W: AsyncWrite + Unpin>(
    stream: &mut W,
    line: &Wiped,
    patience: Duration,
) -> io::Result<()> {
    timeout_at(Instant::now() + patience, stream.write_all(&line.bytes))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Bytes that are wiped when dropped and also when they move to a larger place; never more than a maximum.
pub(crate) struct Wiped {
    bytes: Vec<u8>,
    max: usize,
}

impl Wiped {
    fn new(max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            max,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn append(&mut self, more: &[u8]) -> io::Result<()> {
        self.make_room(more.len())?;
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// Makes room for `more` bytes, so that no `Vec` moves by itself and leaves a copy behind.
    fn make_room(&mut self, more: usize) -> io::Result<()> {
        let wanted = self.bytes.len() + more;
        if wanted > self.max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("more than {} bytes", self.max),
            ));
        }
        if wanted > self.bytes.capacity() {
            let mut larger = Vec::with_capacity((wanted * 2).max(FIRST).min(self.max));
            larger.extend_from_slice(&self.bytes);
            self.bytes.zeroize();
            self.bytes = larger;
        }
        Ok(())
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl io::Write for Wiped {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.append(more)?;
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// So much is read at once.
const READ: usize = 8 * 1024;
/// The first size of a buffer.
const FIRST: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    async fn lines_of(bytes: &[u8], max: usize) -> (Vec<String>, Option<LineError>) {
        let mut lines = Lines::new(bytes, max);
        let mut seen = Vec::new();
        loop {
            match lines.next(None).await {
                Ok(Some(line)) => seen.push(String::from_utf8(line.bytes().to_vec()).unwrap()),
                Ok(None) => return (seen, None),
                Err(error) => return (seen, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn lines_come_one_by_one_however_they_arrive() {
        let (seen, error) = lines_of(b"one\n\nthree\n", 5).await;
        assert_eq!(seen, ["one", "", "three"]);
        assert!(error.is_none());
    }

    #[tokio::test]
    async fn a_line_over_the_maximum_is_refused_with_or_without_its_end() {
        assert!(matches!(
            lines_of(b"123456\n", 5).await.1,
            Some(LineError::TooLong(5))
        ));
        let endless = vec![b'x'; 100_000];
        assert!(matches!(
            lines_of(&endless, MAX_CALL).await.1,
            Some(LineError::TooLong(MAX_CALL))
        ));
    }

    #[tokio::test]
    async fn a_line_of_exactly_the_maximum_passes() {
        let mut bytes = vec![b'x'; MAX_CALL];
        bytes.push(b'\n');
        assert_eq!(lines_of(&bytes, MAX_CALL).await.0.len(), 1);
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_line_is_an_error() {
        assert!(matches!(
            lines_of(b"one\ntw", 5).await.1,
            Some(LineError::Cut)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_does_not_end_in_time_is_refused() {
        let (mut tool, daemon) = tokio::io::duplex(64);
        tool.write_all(b"begun").await.unwrap();
        let mut lines = Lines::new(daemon, 100);
        assert!(matches!(
            lines.next(Some(Duration::from_secs(10))).await,
            Err(LineError::TooSlow)
        ));
    }

    #[test]
    fn a_value_that_encodes_to_more_than_the_maximum_is_refused() {
        assert!(encode(&"x".repeat(10), 11).is_err());
        assert_eq!(encode(&"x".repeat(10), 12).unwrap().bytes().len(), 13);
    }
}

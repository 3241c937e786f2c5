//! One connection: frames in, frames out, one after the other.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::limits::MAX_FRAME_BYTES;
use crate::protocol::{self, ProtocolError};
use crate::state::Shared;

/// Room made for a frame at a time, so that memory follows what came, not what was announced.
const READ_CHUNK_BYTES: usize = 64 << 10;

/// Why the broker closes a connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum ConnectionError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a frame of {0} bytes is announced, {MAX_FRAME_BYTES} is the limit")]
    FrameSize(i32),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl ConnectionError {
    /// Whether the client is gone, as opposed to sent away.
    pub(super) fn is_hang_up(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let gone = |kind| matches!(kind, BrokenPipe | ConnectionReset | UnexpectedEof);
        matches!(self, Self::Io(error) if gone(error.kind()))
    }
}

/// Serves a client until it hangs up.
pub(super) async fn serve(
    stream: TcpStream,
    client: SocketAddr,
    shared: &Shared,
) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let broker = SocketAddr::new(local.ip().to_canonical(), local.port());
    let mut stream = BufReader::new(stream);
    while let Some(frame) = read_frame(&mut stream).await? {
        if let Some(answer) = protocol::answer(shared, client, broker, frame).await? {
            stream.write_all(&answer).await?;
        }
    }
    Ok(())
}

/// The next frame without its length; none if the client hung up between frames.
async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Bytes>, ConnectionError> {
    let announced = match stream.read_i32().await {
        Ok(announced) => announced,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size = usize::try_from(announced)
        .ok()
        .filter(|size| *size <= MAX_FRAME_BYTES)
        .ok_or(ConnectionError::FrameSize(announced))?;
    let mut frame = BytesMut::new();
    while frame.len() < size {
        let missing = size - frame.len();
        frame.reserve(missing.min(READ_CHUNK_BYTES));
        let mut limited = (&mut *stream).take(missing as u64);
        if limited.read_buf(&mut frame).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(Some(frame.freeze()))
}

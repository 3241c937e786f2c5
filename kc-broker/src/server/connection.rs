//! A connection: reads one request frame, writes its response frame, and continues with the next.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::Activity;
use crate::limits::{
    FREE_BYTES, IDLE_TIMEOUT, MAX_FRAME_BYTES, MAX_IN_FLIGHT_BYTES, STALL_TIMEOUT,
};
use crate::protocol::{self, ProtocolError};
use crate::state::Shared;

/// The step by which the buffer of a frame grows. The buffer grows as bytes are received, so that a client cannot
/// reserve memory by announcing a large frame.
const READ_CHUNK_BYTES: usize = 64 << 10;

/// The reason why the broker closes a connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum ConnectionError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "the client announced a frame of {0} bytes, but a frame must have 0 to {MAX_FRAME_BYTES} bytes"
    )]
    FrameSize(i32),
    #[error("the client sent nothing, or read nothing of its response, for {} s", .0.as_secs())]
    Silent(Duration),
    #[error(
        "the limit of {MAX_IN_FLIGHT_BYTES} bytes for requests and responses in flight is reached"
    )]
    InFlight,
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl ConnectionError {
    /// Returns whether the client, and not the broker, closed the connection.
    pub(super) fn is_hang_up(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let gone = |kind| matches!(kind, BrokenPipe | ConnectionReset | UnexpectedEof);
        matches!(self, Self::Io(error) if gone(error.kind()))
    }
}

/// Serves a client until it closes the connection.
pub(super) async fn serve(
    stream: TcpStream,
    client: SocketAddr,
    shared: &Shared,
    activity: &Activity,
) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let broker = SocketAddr::new(local.ip().to_canonical(), local.port());
    let mut stream = BufReader::new(stream);
    let mut patience = STALL_TIMEOUT;
    loop {
        activity.rests();
        let Some(size) = within(patience, read_size(&mut stream)).await? else {
            return Ok(());
        };
        activity.works();
        let mut charge = Charge::new(&shared.in_flight);
        let frame = read_frame(&mut stream, size, &mut charge).await?;
        let answer = protocol::answer(shared, client, broker, frame).await?;
        drop(charge);
        if let Some(answer) = answer {
            let mut charge = Charge::new(&shared.in_flight);
            charge.grow(answer.len())?;
            write(&mut stream, &answer).await?;
        }
        patience = IDLE_TIMEOUT;
    }
}

/// The bytes of one request or response that count towards [`MAX_IN_FLIGHT_BYTES`]. When this value is dropped, they no
/// longer count.
struct Charge<'a> {
    budget: &'a Semaphore,
    size: usize,
    permit: Option<SemaphorePermit<'a>>,
}

impl<'a> Charge<'a> {
    fn new(budget: &'a Semaphore) -> Self {
        Self {
            budget,
            size: 0,
            permit: None,
        }
    }

    /// Adds `bytes` to the size of the request or response. Returns an error if this would exceed the limit.
    fn grow(&mut self, bytes: usize) -> Result<(), ConnectionError> {
        let counted = |size: usize| size.saturating_sub(FREE_BYTES);
        let more = counted(self.size + bytes) - counted(self.size);
        self.size += bytes;
        let more = u32::try_from(more).map_err(|_| ConnectionError::InFlight)?;
        let taken = self.budget.try_acquire_many(more);
        let taken = taken.map_err(|_| ConnectionError::InFlight)?;
        match &mut self.permit {
            Some(permit) => permit.merge(taken),
            None => self.permit = Some(taken),
        }
        Ok(())
    }
}

/// Reads the announced size of the next frame. Returns `None` if the client closed the connection between frames.
async fn read_size(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<usize>, ConnectionError> {
    let announced = match stream.read_i32().await {
        Ok(announced) => announced,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size = usize::try_from(announced).ok();
    let size = size.filter(|size| *size <= MAX_FRAME_BYTES);
    size.map(Some).ok_or(ConnectionError::FrameSize(announced))
}

/// Reads a frame without its length prefix.
async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    size: usize,
    charge: &mut Charge<'_>,
) -> Result<Bytes, ConnectionError> {
    let mut frame = BytesMut::new();
    while frame.len() < size {
        // `reserve` may add more room than requested; only the charged bytes are read.
        if charge.size == frame.len() {
            let room = (size - frame.len()).min(READ_CHUNK_BYTES);
            charge.grow(room)?;
            frame.reserve(room);
        }
        let charged = charge.size - frame.len();
        let mut limited = (&mut *stream).take(charged as u64);
        let read = async { Ok(limited.read_buf(&mut frame).await?) };
        if within(STALL_TIMEOUT, read).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(frame.freeze())
}

async fn write(
    stream: &mut BufReader<TcpStream>,
    mut answer: &[u8],
) -> Result<(), ConnectionError> {
    while !answer.is_empty() {
        let write = async { Ok(stream.write(answer).await?) };
        match within(STALL_TIMEOUT, write).await? {
            0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            written => answer = answer.get(written..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// Waits for `work`, which depends on the client. Returns [`ConnectionError::Silent`] if `work` takes longer than
/// `patience`.
async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, ConnectionError>>,
) -> Result<T, ConnectionError> {
    let done = timeout(patience, work).await;
    done.unwrap_or(Err(ConnectionError::Silent(patience)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_is_bounded_and_small_requests_pass_whatever_others_send() {
        let budget = Semaphore::new(1_000);
        let mut large = Charge::new(&budget);
        large.grow(FREE_BYTES).unwrap();
        assert_eq!(budget.available_permits(), 1_000);
        large.grow(900).unwrap();
        assert_eq!(budget.available_permits(), 100);
        let refused = Charge::new(&budget).grow(FREE_BYTES + 101);
        assert!(matches!(refused, Err(ConnectionError::InFlight)));
        Charge::new(&budget).grow(FREE_BYTES).unwrap();
        drop(large);
        assert_eq!(budget.available_permits(), 1_000);
    }

    #[tokio::test]
    async fn a_frame_is_charged_in_full() {
        const SIZE: usize = 4 << 20;
        let budget = Semaphore::new(MAX_IN_FLIGHT_BYTES);
        let mut charge = Charge::new(&budget);
        let mut sent = tokio::io::repeat(7);
        let frame = read_frame(&mut sent, SIZE, &mut charge).await.unwrap();
        assert_eq!(frame.len(), SIZE);
        let taken = MAX_IN_FLIGHT_BYTES - budget.available_permits();
        assert_eq!(taken, SIZE - FREE_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_in_a_frame_is_sent_away() {
        let (mut client, mut broker) = tokio::io::duplex(64);
        let budget = Semaphore::new(MAX_IN_FLIGHT_BYTES);
        client.write_all(&[0; 10]).await.unwrap();
        let read = read_frame(&mut broker, 11, &mut Charge::new(&budget)).await;
        assert!(matches!(read, Err(ConnectionError::Silent(STALL_TIMEOUT))));
    }
}

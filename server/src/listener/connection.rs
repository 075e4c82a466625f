//! A TCP connection that fails when a request header does not arrive in time, or when its client
//! does not read.
//!
//! hyper has one timeout for both idle connections and incoming headers, and none for writes. Here
//! the first byte after the last response starts the header timeout, which is shorter. The idle
//! timeout is hyper's; it also covers a header that began in the same packet as the previous
//! request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::ConnectionLogs;

/// Counts the requests of a connection: odd while one is served.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests(Arc<AtomicUsize>);

impl Requests {
    /// A request or its response begins.
    pub(super) fn advance(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the first request has arrived.
    pub(super) fn has_begun(&self) -> bool {
        self.number() > 0
    }

    fn number(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// The connection and its timeouts.
pub(super) struct HttpConnection {
    stream: TcpStream,
    requests: Requests,
    header_timeout: Duration,
    write_timeout: Duration,
    /// The deadline of the header that follows this number of [`Requests`].
    header: Option<(usize, Pin<Box<Sleep>>)>,
    write: Option<Pin<Box<Sleep>>>,
    logs: Arc<ConnectionLogs>,
}

impl HttpConnection {
    /// A new connection that expects its first header.
    pub(super) fn new(
        stream: TcpStream,
        requests: Requests,
        (header_timeout, write_timeout): (Duration, Duration),
        logs: Arc<ConnectionLogs>,
    ) -> Self {
        let header = Some((requests.number(), Box::pin(sleep(header_timeout))));
        Self { stream, requests, header_timeout, write_timeout, header, write: None, logs }
    }

    /// Fails if the header has exceeded its deadline; otherwise registers a wake-up for it.
    fn check_header(&mut self, has_read: bool, context: &mut Context<'_>) -> io::Result<()> {
        let number = self.requests.number();
        if !number.is_multiple_of(2) {
            self.header = None;
            return Ok(()); // A body is arriving, or its handler runs.
        }
        self.header.take_if(|(of, _)| *of != number);
        if has_read && self.header.is_none() {
            self.header = Some((number, Box::pin(sleep(self.header_timeout))));
        }
        let Some((_, time)) = &mut self.header else { return Ok(()) };
        if time.as_mut().poll(context).is_pending() {
            return Ok(());
        }
        if let Some(count) = self.logs.count("late header") {
            let timeout = self.header_timeout;
            tracing::warn!(
                count,
                ?timeout,
                "closed connections whose request header did not arrive (limits.header_timeout_ms)"
            );
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Returns the result of a write, or fails if the client has not read for too long.
    fn check_write<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write = None;
            return written;
        }
        let timeout = self.write_timeout;
        let time = self.write.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(time.as_mut().poll(context));
        if let Some(count) = self.logs.count("stalled write") {
            tracing::warn!(
                count,
                ?timeout,
                "closed connections whose client reads no answer (limits.idle_timeout_ms)"
            );
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for HttpConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let has_read = buffer.filled().len() > before;
        self.check_header(has_read, context)?;
        read
    }
}

impl AsyncWrite for HttpConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check_write(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.check_write(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

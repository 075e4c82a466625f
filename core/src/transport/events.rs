//! A stream of server-sent events with a watchdog.
//!
//! It reassembles events from chunks, and ends after a silence, because a dead connection gives no
//! signal: a minute, unless fewer pings were requested. An event only hints that there is something
//! to fetch, so a lost one loses no data. The driver interprets the events.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rejoin_protocol::wire::event::{Event, EventReader};
use tokio::time::Instant;

use super::error::TransportError;

/// Interval of the server's keep-alive comments, unless the request names another.
pub const PING: Duration = Duration::from_secs(20);

/// Silence after which the connection counts as dead, by default.
pub const IDLE: Duration = Duration::from_mins(1);

/// An open event stream. Dropping it closes the connection.
pub struct EventStream {
    pieces: BoxStream<'static, Result<Bytes, TransportError>>,
    reader: EventReader,
    ready: VecDeque<Event>,
    idle: Duration,
    /// When the last chunk arrived, or the stream was opened.
    since: Instant,
    /// The longest time between two chunks.
    longest: Duration,
}

impl fmt::Debug for EventStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EventStream").field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl EventStream {
    /// A stream over the chunks of a response body.
    pub fn new(pieces: BoxStream<'static, Result<Bytes, TransportError>>) -> Self {
        Self {
            pieces,
            reader: EventReader::default(),
            ready: VecDeque::new(),
            idle: IDLE,
            since: Instant::now(),
            longest: Duration::ZERO,
        }
    }

    /// Sets the silence after which the connection counts as dead.
    #[must_use]
    pub(crate) fn idle(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// How long nothing has arrived.
    pub(crate) fn silence(&self) -> Duration {
        self.since.elapsed()
    }

    /// The longest silence that ended with a chunk.
    pub(crate) fn longest_silence(&self) -> Duration {
        self.longest
    }

    /// The next event; `None` when the stream ended, broke or was silent for too long. Requires
    /// tokio's timers; dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let piece = tokio::time::timeout(self.idle, self.pieces.next()).await.ok()??.ok()?;
            self.longest = self.longest.max(self.since.elapsed());
            self.since = Instant::now();
            self.ready.extend(self.reader.push(&piece).ok()?);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use rejoin_protocol::wire::event::{Event, HelloEvent, PING as COMMENT};

    use super::{EventStream, IDLE, PING};

    fn hello() -> Event {
        Event::Hello(HelloEvent { epoch: "e".into() })
    }

    #[tokio::test(start_paused = true)]
    async fn stream_ends_after_three_missed_pings() {
        let start = tokio::time::Instant::now();
        let pings = stream::unfold(0, |sent| async move {
            tokio::time::sleep(PING).await;
            (sent < 9).then(|| (Ok(Bytes::from(COMMENT)), sent + 1))
        });
        let first = stream::iter([Ok(Bytes::from(hello().to_text()))]);
        let mut stream = EventStream::new(first.chain(pings).chain(stream::pending()).boxed());
        assert_eq!(stream.next().await, Some(hello()));
        assert_eq!(stream.next().await, None);
        assert_eq!(IDLE, 3 * PING);
        // Nine pings keep it alive, then silence ends it.
        assert_eq!(start.elapsed(), 9 * PING + IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn broken_or_invalid_stream_ends() {
        let piece = hello().to_text() + &Event::Changed.to_text();
        let (head, tail) = piece.split_at(30);
        let broken = Err(crate::transport::TransportError::Lost("reset".into()));
        let pieces = [Ok(Bytes::from(head.to_owned())), Ok(Bytes::from(tail.to_owned())), broken];
        let mut stream = EventStream::new(stream::iter(pieces).chain(stream::pending()).boxed());
        assert_eq!(stream.next().await, Some(hello()));
        assert_eq!(stream.next().await, Some(Event::Changed));
        assert_eq!(stream.next().await, None);
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(b"xxxxxxxxxxxxxxxx")));
        assert_eq!(EventStream::new(endless.boxed()).next().await, None);
    }
}

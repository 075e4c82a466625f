//! Server-sent events: an incremental parser, and a stream with a watchdog.
//!
//! Promise: events come out whole, whatever pieces they arrived in; a stream that has been silent for three pings is over,
//! because a dead connection does not say so. An event is only a hint that there is something to fetch, so nothing is
//! lost with one. Border: bytes in, events out; what an event means is the driver's.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::TransportError;

/// How often the server says something, if only a comment.
pub const PING: Duration = Duration::from_secs(20);

/// Silence after which the connection is taken for dead.
pub const IDLE: Duration = Duration::from_mins(1);

/// Longest line and largest event that is taken in; ours are below a hundred bytes.
const LARGEST: usize = 64 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `hello`, `changed`, `bye`; `message` where the server named none.
    pub name: String,
    /// The lines of data, joined.
    pub data: String,
}

/// Takes in bytes as they come and gives whole events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_return: bool,
    name: String,
    data: String,
    has_data: bool,
}

impl Parser {
    /// Takes in a piece, of any size, and adds the events that it completes to `events`.
    ///
    /// Fails when a line or an event is larger than any of ours could be.
    pub fn feed(&mut self, piece: &[u8], events: &mut Vec<Event>) -> Result<(), TransportError> {
        for &byte in piece {
            // A line ends with LF, CR or CRLF; the LF of a CRLF may come in the next piece.
            let ends = match byte {
                b'\n' => !self.after_return,
                b'\r' => true,
                _ => false,
            };
            let swallowed = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            if ends {
                let line = std::mem::take(&mut self.line);
                self.line_ended(&String::from_utf8_lossy(&line), events);
            } else if !swallowed {
                self.line.push(byte);
            }
            if self.line.len() + self.data.len() > LARGEST {
                return Err(TransportError::TooLarge { limit: LARGEST as u64 });
            }
        }
        Ok(())
    }

    fn line_ended(&mut self, line: &str, events: &mut Vec<Event>) {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = std::mem::take(&mut self.data);
            if std::mem::take(&mut self.has_data) || !name.is_empty() {
                let name = if name.is_empty() { "message".into() } else { name };
                events.push(Event { name, data });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // A comment (the ping), `id`, `retry` and what later versions may add.
            _ => {}
        }
    }
}

/// An open stream of events. Dropping it closes the connection.
pub struct EventStream {
    pieces: BoxStream<'static, Result<Bytes, TransportError>>,
    parser: Parser,
    ready: std::collections::VecDeque<Event>,
    idle: Duration,
}

impl fmt::Debug for EventStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EventStream").field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl EventStream {
    /// A stream over the bytes of an answer.
    pub fn new(pieces: BoxStream<'static, Result<Bytes, TransportError>>) -> Self {
        Self {
            pieces,
            parser: Parser::default(),
            ready: std::collections::VecDeque::new(),
            idle: IDLE,
        }
    }

    /// The next event; `None` when the stream ended, broke, or was silent for too long. Must be awaited where there
    /// are tokio's timers; may be dropped and called again without losing an event.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let piece = tokio::time::timeout(self.idle, self.pieces.next()).await.ok()??.ok()?;
            let mut events = Vec::new();
            self.parser.feed(&piece, &mut events).ok()?;
            self.ready.extend(events);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};

    use super::{Event, EventStream, IDLE, LARGEST, PING, Parser};

    fn parsed(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.feed(piece, &mut events).unwrap();
        }
        events.into_iter().map(|event| (event.name, event.data)).collect()
    }

    #[test]
    fn events_come_out_whole_whatever_the_line_ends_are() {
        type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
        let table: [Row; 8] = [
            ("ours", "event: changed\ndata: {}\n\n", &[("changed", "{}")]),
            ("CRLF", "event: changed\r\ndata: {}\r\n\r\n", &[("changed", "{}")]),
            ("CR", "event: changed\rdata: {}\r\r", &[("changed", "{}")]),
            ("comments are pings", ": ping\n\n:\n\nevent: bye\ndata: {}\n\n", &[("bye", "{}")]),
            ("two lines of data", "data: a\ndata: b\n\n", &[("message", "a\nb")]),
            ("no space", "event:hello\ndata:x\n\n", &[("hello", "x")]),
            ("unknown fields", "id: 3\nretry: 1\nzz\nevent: a\n\n", &[("a", "")]),
            ("unfinished", "event: changed\ndata: {}\n", &[]),
        ];
        for (name, text, expected) in table {
            let expected: Vec<_> =
                expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            assert_eq!(parsed(&[text.as_bytes()]), expected, "{name}: whole");
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(parsed(&bytes), expected, "{name}: byte by byte");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        assert!(parser.feed(&vec![b'x'; LARGEST], &mut events).is_ok());
        assert!(parser.feed(b"x", &mut events).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_over_after_three_pings_missed_and_not_before() {
        let start = tokio::time::Instant::now();
        let pings = stream::unfold(0, |sent| async move {
            tokio::time::sleep(PING).await;
            (sent < 9).then(|| (Ok(Bytes::from_static(b": ping\n\n")), sent + 1))
        });
        let hello = stream::iter([Ok(Bytes::from_static(b"event: hello\ndata: {}\n\n"))]);
        let mut stream = EventStream::new(hello.chain(pings).chain(stream::pending()).boxed());
        let hello = Event { name: "hello".into(), data: "{}".into() };
        assert_eq!(stream.next().await, Some(hello));
        assert_eq!(stream.next().await, None);
        assert_eq!(IDLE, 3 * PING);
        // Nine pings kept it alive; the tenth end of waiting ended the pings, and silence did the rest.
        assert_eq!(start.elapsed(), 9 * PING + IDLE);
    }
}

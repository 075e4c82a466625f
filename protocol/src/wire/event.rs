//! `GET /sync/events`: the server-sent events that wake a device. They carry no rows and no ids: a device that is woken
//! pulls, and one that misses an event pulls at its next interval.

use serde::{Deserialize, Serialize};

/// What a server says, every twenty seconds, when it has nothing to say: a comment, which readers skip.
pub const PING: &str = ": ping\n\n";

/// The longest line and the longest event that are read, in bytes; a stream that sends more is no stream of ours.
const LONGEST: usize = 16 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The first event of a stream.
    Hello(Hello),
    /// There may be something to pull. Several changes may be told as one.
    Changed,
    /// The server closes the stream.
    Bye(Bye),
}

/// What opens a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// The server's epoch.
    pub epoch: String,
}

/// What closes a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bye {
    /// `token_expired`: come back with a new one; `shutdown`: come back later.
    pub reason: String,
}

impl Event {
    /// The event as it stands in the stream, with the empty line that ends it.
    pub fn to_text(&self) -> String {
        let (name, data) = match self {
            Self::Hello(hello) => ("hello", serde_json::to_string(hello)),
            Self::Changed => ("changed", Ok(String::from("{}"))),
            Self::Bye(bye) => ("bye", serde_json::to_string(bye)),
        };
        // Structs of strings always have a JSON text.
        format!("event: {name}\ndata: {}\n\n", data.unwrap_or_default())
    }

    /// The event of this name, or `None` for a name that this version does not know.
    fn of(name: &str, data: &str) -> Option<Self> {
        match name {
            "hello" => serde_json::from_str(data).ok().map(Self::Hello),
            "changed" => Some(Self::Changed),
            "bye" => serde_json::from_str(data).ok().map(Self::Bye),
            _ => None,
        }
    }
}

/// Reads a stream as its bytes come, in pieces of any size.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    name: String,
    data: String,
    after_return: bool,
}

/// The bytes are no stream of events of ours; the connection is to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event or a line of it is longer than 16 KiB")]
pub struct EventTooLong;

impl EventReader {
    /// Takes the next bytes and returns the events that they complete. Comments and unknown events are skipped.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, EventTooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            let second_half = *byte == b'\n' && self.after_return;
            self.after_return = *byte == b'\r';
            match byte {
                _ if second_half => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ => self.line.push(*byte),
            }
            if self.line.len() > LONGEST || self.data.len() > LONGEST {
                return Err(EventTooLong);
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return Event::of(&name, data.trim_end_matches('\n'));
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Bye, Event, EventReader, EventTooLong, Hello, PING};

    fn stream() -> (String, Vec<Event>) {
        let events = vec![
            Event::Hello(Hello { epoch: String::from("5d\u{e4}") }),
            Event::Changed,
            Event::Bye(Bye { reason: String::from("token_expired") }),
        ];
        let text: Vec<_> = events.iter().map(Event::to_text).collect();
        (text.join(PING), events)
    }

    #[test]
    fn a_stream_is_read_in_pieces_of_any_size() {
        let (text, events) = stream();
        for ends in ["\n", "\r\n", "\r"] {
            let text = text.replace('\n', ends);
            for size in 1..=text.len() {
                let mut reader = EventReader::default();
                let read: Vec<_> = text
                    .as_bytes()
                    .chunks(size)
                    .flat_map(|piece| reader.push(piece).unwrap())
                    .collect();
                assert_eq!(read, events, "{ends:?} by {size}");
            }
        }
    }

    #[test]
    fn unknown_events_and_fields_are_skipped() {
        let mut reader = EventReader::default();
        let text = b"id: 7\nevent: news\ndata: {}\n\nevent:changed\ndata\nretry: 5\n\n\n\ndata: {}\n\nevent: hello\ndata: {\n\n";
        assert_eq!(reader.push(text), Ok(vec![Event::Changed]));
    }

    #[test]
    fn a_line_or_an_event_without_end_is_refused() {
        assert_eq!(EventReader::default().push(&vec![b'a'; 20_000]), Err(EventTooLong));
        let lines = "data: a\n".repeat(20_000);
        assert_eq!(EventReader::default().push(lines.as_bytes()), Err(EventTooLong));
    }
}

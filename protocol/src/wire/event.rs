//! `GET /sync/events`: server-sent events that wake a device. They carry no rows and no ids: a
//! woken device pulls, and a device that misses an event pulls at its next interval.

use serde::{Deserialize, Serialize};

/// The query of the stream's request, beside the device's id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsAsk {
    /// Seconds between two keep-alive comments; the server answers with 20 to 600. Default 20.
    #[serde(default)]
    pub ping: Option<u64>,
}

/// The keep-alive comment; readers skip it.
pub const PING: &str = ": ping\n\n";

/// Maximum length of a line and of an event in bytes; longer ones end the stream.
const LONGEST: usize = 16 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The first event of a stream.
    Hello(HelloEvent),
    /// There may be changes to pull; several may be combined.
    Changed,
    /// The server closes the stream.
    Bye(Bye),
}

/// The content of the first event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HelloEvent {
    /// The server's epoch.
    pub epoch: String,
}

/// The content of the last event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bye {
    /// `token_expired`: reconnect with a new token; `shutdown`: reconnect later.
    pub reason: String,
}

impl Event {
    /// The event as stream text, with its terminating empty line.
    pub fn to_text(&self) -> String {
        let (name, data) = match self {
            Self::Hello(hello) => ("hello", serde_json::to_string(hello)),
            Self::Changed => ("changed", Ok(String::from("{}"))),
            Self::Bye(bye) => ("bye", serde_json::to_string(bye)),
        };
        // A struct of strings always serializes.
        format!("event: {name}\ndata: {}\n\n", data.unwrap_or_default())
    }

    /// Parses an event; `None` for an unknown name.
    fn of(name: &str, data: &str) -> Option<Self> {
        match name {
            "hello" => serde_json::from_str(data).ok().map(Self::Hello),
            "changed" => Some(Self::Changed),
            "bye" => serde_json::from_str(data).ok().map(Self::Bye),
            _ => None,
        }
    }
}

/// Parses a stream from byte chunks of any size.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    name: String,
    data: String,
    after_return: bool,
}

/// The stream exceeds the length limit; close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event or a line of it is longer than 16 KiB")]
pub struct EventTooLong;

impl EventReader {
    /// Consumes bytes and returns the completed events. Skips comments and unknown events.
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
    use super::{Bye, Event, EventReader, EventTooLong, HelloEvent, PING};

    fn stream() -> (String, Vec<Event>) {
        let events = vec![
            Event::Hello(HelloEvent { epoch: String::from("5d\u{e4}") }),
            Event::Changed,
            Event::Bye(Bye { reason: String::from("token_expired") }),
        ];
        let text: Vec<_> = events.iter().map(Event::to_text).collect();
        (text.join(PING), events)
    }

    #[test]
    fn stream_is_parsed_in_chunks_of_any_size() {
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
    fn overlong_line_or_event_is_refused() {
        assert_eq!(EventReader::default().push(&vec![b'a'; 20_000]), Err(EventTooLong));
        let lines = "data: a\n".repeat(20_000);
        assert_eq!(EventReader::default().push(lines.as_bytes()), Err(EventTooLong));
    }
}

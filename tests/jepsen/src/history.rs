//! The history file of a device process: one JSON line per event, which survives a SIGKILL of the
//! process.
//!
//! Each line is one `write` to a file opened for appending, so all events recorded before a kill
//! are in the file. A kill may truncate the last line: the next process of the device terminates
//! it, and readers skip it. A transaction with a truncated line never committed, because the line
//! is complete before the commit begins.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// An event in a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// A transaction has read all registers, has written some, and is about to commit.
    Begun {
        /// The number of the transaction on its device.
        number: u64,
        /// The value of each register before its own writes.
        reads: Vec<String>,
        /// The registers that it writes.
        writes: Vec<usize>,
    },
    /// The commit has returned.
    Committed { number: u64 },
    /// A watched query returned all registers. It may lag behind the transactions.
    Watched { reads: Vec<String> },
    /// The transaction failed. It must have no effect, and the failure is a violation.
    Failed { number: u64, why: String },
}

/// The value that transaction `number` of `device` writes; no other transaction writes it.
pub(crate) fn value(device: usize, number: u64) -> String {
    format!("{device}:{number}")
}

/// The device and the number of the transaction that wrote a value.
pub(crate) fn author(value: &str) -> Option<(usize, u64)> {
    let (device, number) = value.split_once(':')?;
    Some((device.parse().ok()?, number.parse().ok()?))
}

/// The history that a device appends to.
#[derive(Debug)]
pub(crate) struct Recorder(File);

impl Recorder {
    /// Opens the history of a device and terminates a line truncated by a kill.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = File::options().create(true).append(true).read(true).open(path)?;
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Self(file))
    }

    /// Appends an event.
    pub(crate) fn record(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        Ok(self.0.write_all(&line)?)
    }
}

/// Every event of a device in order; empty if it has recorded none.
pub(crate) fn load(path: &Path) -> Result<Vec<Event>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.with_context(|| path.display().to_string())?,
    };
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// The number of the next transaction of a device.
pub(crate) fn next_number(events: &[Event]) -> u64 {
    let begun = events.iter().filter_map(|event| match event {
        Event::Begun { number, .. } => Some(*number),
        _ => None,
    });
    begun.max().unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use super::{Event, Recorder, author, load, next_number, value};

    #[test]
    fn value_names_its_author() {
        assert_eq!(author(&value(7, 12)), Some((7, 12)));
        assert_eq!(author(""), None);
    }

    #[test]
    fn history_survives_truncated_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        assert_eq!(load(&path).unwrap(), []);
        let begun = Event::Begun { number: 1, reads: vec![String::new()], writes: vec![0] };
        Recorder::open(&path).unwrap().record(&begun).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [whole.as_slice(), b"{\"begun\":{\"num"].concat()).unwrap();
        let committed = Event::Committed { number: 1 };
        Recorder::open(&path).unwrap().record(&committed).unwrap();
        let events = load(&path).unwrap();
        assert_eq!(events, [begun, committed]);
        assert_eq!(next_number(&events), 2);
    }
}

//! The output of a process that a crash test kills: one line at a time, written directly into a
//! pipe that outlives the process.
//!
//! The test reads the pipe to its end, so it has exactly what was written before the crash.

use std::fmt;
use std::io::Write as _;
use std::str::FromStr;

use rejoin_core::death::Failpoint;

/// Adds one to a row of the log: however late another device's comes, all count.
pub const COUNT: &str = r#"{"name": "count", "parameters": [{"name": "id", "type": "text"}],
    "statements": ["UPDATE seats SET number = number + 1 WHERE id = :id"]}"#;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputLine {
    /// A transaction of this name is about to be written.
    Begun(String),
    /// Its commit has returned.
    Done(String),
    /// It has returned, and wrote nothing.
    Empty(String),
    /// The engine passes this point.
    At(Failpoint),
    /// The process ends without being killed.
    Ended,
}

impl OutputLine {
    /// Writes the whole line; it is in the pipe when this returns.
    pub fn print(&self) {
        let mut out = std::io::stdout().lock();
        // A closed pipe has no reader, so the error does not matter.
        let _ = writeln!(out, "{self}").and_then(|()| out.flush());
    }
}

impl fmt::Display for OutputLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun(name) => write!(out, "begun {name}"),
            Self::Done(name) => write!(out, "done {name}"),
            Self::Empty(name) => write!(out, "empty {name}"),
            Self::At(place) => write!(out, "at {place:?}"),
            Self::Ended => write!(out, "ended"),
        }
    }
}

impl FromStr for OutputLine {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        Ok(match verb {
            "begun" => Self::Begun(rest.to_owned()),
            "done" => Self::Done(rest.to_owned()),
            "empty" => Self::Empty(rest.to_owned()),
            "at" => Self::At(failpoint(rest)?),
            "ended" => Self::Ended,
            _ => anyhow::bail!("{line:?} is no known line"),
        })
    }
}

/// The point of this name.
///
/// # Errors
/// If there is none.
pub fn failpoint(name: &str) -> anyhow::Result<Failpoint> {
    let found = Failpoint::ALL.into_iter().find(|place| format!("{place:?}") == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no place {name:?}"))
}

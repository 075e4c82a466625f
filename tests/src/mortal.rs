//! What a process that is going to be killed says before: one line a time, straight into a pipe that outlives it.
//!
//! The killer reads the pipe to its end, so that what was said before the death is known, and nothing else is.

use std::fmt;
use std::io::Write as _;
use std::str::FromStr;

use rejoin_core::death::Place;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A transaction of this name is about to be written.
    Begun(String),
    /// Its commit has returned.
    Done(String),
    /// The engine passes this place.
    At(Place),
    /// The life is over, and nobody ended it.
    Ended,
}

impl Said {
    /// Says it: whole, and in the pipe when this returns.
    pub fn say(&self) {
        let mut out = std::io::stdout().lock();
        // Nobody reads any more: then there is nobody to tell.
        let _ = writeln!(out, "{self}").and_then(|()| out.flush());
    }
}

impl fmt::Display for Said {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun(name) => write!(out, "begun {name}"),
            Self::Done(name) => write!(out, "done {name}"),
            Self::At(place) => write!(out, "at {place:?}"),
            Self::Ended => write!(out, "ended"),
        }
    }
}

impl FromStr for Said {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        Ok(match verb {
            "begun" => Self::Begun(rest.to_owned()),
            "done" => Self::Done(rest.to_owned()),
            "at" => Self::At(place(rest)?),
            "ended" => Self::Ended,
            _ => anyhow::bail!("{line:?} is nothing that can be said"),
        })
    }
}

/// The place of this name.
///
/// # Errors
/// If there is none.
pub fn place(name: &str) -> anyhow::Result<Place> {
    let found = Place::ALL.into_iter().find(|place| format!("{place:?}") == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no place {name:?}"))
}

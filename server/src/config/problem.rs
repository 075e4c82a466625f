//! A problem of a configuration: where, what, and the way out. Problems are collected; the first one stops nothing.

use std::fmt;

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; `None` if it does not come from a file (a builder, the environment).
    pub line: Option<usize>,
    /// What it is about: `tables.places.owner_column`, `REJOIN_LISTEN`.
    pub place: String,
    /// What is wrong, and the way out.
    pub why: String,
}

impl Problem {
    /// A problem that has no line.
    pub fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self { line: None, place: place.into(), why: why.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "line {line}: {}: {}", self.place, self.why),
            None => write!(out, "{}: {}", self.place, self.why),
        }
    }
}

//! A problem of a configuration: where it is, what is wrong, and the remedy. All problems are collected before they are reported.

use std::fmt;

/// Which rule a configuration breaks: what a host program can go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The file, the environment, or a value of a key: syntax, a misspelt key, a number out of its bounds.
    Setting,
    /// A table is configured twice.
    DuplicateTable,
    /// `push` is no policy.
    InvalidPushPolicy,
    /// Devices may write, and rows have no owner.
    MissingOwnership,
    /// A row would belong to its owner and to its parent's.
    TwoOwners,
    /// The parent is no synced table.
    UnregisteredParent,
    /// A parent is named without the column that holds its key.
    MissingParentColumn,
    /// The chain of parents is a circle.
    Cycle,
    /// The chain of parents ends at a table without an owner.
    OrphanedChain,
    /// A protected column is the server's to write anyway.
    RedundantProtected,
    /// Buckets cannot be told apart, or are opened without `allow_global_read`.
    InvalidBucketConfig,
    /// A table is named of which nothing is known.
    UnknownTable,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which rule it breaks.
    pub kind: ProblemKind,
    /// The line, from 1; `None` if it does not come from a file (a builder, the environment).
    pub line: Option<usize>,
    /// What it is about: `tables.places.owner_column`, `REJOIN_LISTEN`.
    pub place: String,
    /// What is wrong, and the way out.
    pub why: String,
}

impl Problem {
    /// A problem with a setting, without a line.
    pub fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self::of(ProblemKind::Setting, place, why)
    }

    /// A problem of this kind, without a line.
    pub fn of(kind: ProblemKind, place: impl Into<String>, why: impl Into<String>) -> Self {
        Self { kind, line: None, place: place.into(), why: why.into() }
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

//! Configuration problems: location, cause and remedy. All problems are collected before they are
//! reported.

use std::fmt;

/// The kind of a problem, for host programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The file, the environment, or a value: syntax, an unknown key, a number out of range.
    Setting,
    /// A table is configured twice.
    DuplicateTable,
    /// `push` is not a valid policy.
    InvalidPushPolicy,
    /// Devices may write, but rows have no owner.
    MissingOwnership,
    /// A row would have two owners: its own and its parent's.
    TwoOwners,
    /// The parent is not a synced table.
    UnregisteredParent,
    /// A parent is named without the column that holds its key.
    MissingParentColumn,
    /// The chain of parents is a circle.
    Cycle,
    /// The chain of parents ends at a table without an owner.
    OrphanedChain,
    /// A protected column is written by the server anyway.
    RedundantProtected,
    /// Bucket names are ambiguous, or buckets are public without `allow_global_read`.
    InvalidBucketConfig,
    /// An unknown table is named.
    UnknownTable,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The kind of the problem.
    pub kind: ProblemKind,
    /// The line, from 1; `None` if the setting does not come from a file (builder, environment).
    pub line: Option<usize>,
    /// The setting concerned: `tables.places.owner_column`, `REJOIN_LISTEN`.
    pub place: String,
    /// What is wrong, and the remedy.
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

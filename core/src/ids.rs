//! Identifiers as newtypes, so that they cannot be confused.

pub mod row_id;

use std::fmt;

use uuid::Uuid;

/// The random id of a mutation: UUIDv4, 16 bytes in the file, hyphenated lower case on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MutationId(pub Uuid);

impl fmt::Display for MutationId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(out)
    }
}

impl MutationId {
    /// Reads the wire's text.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::parse_str(text).ok().map(Self)
    }
}

/// The number of a mutation in this file's queue; rises and is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub i64);

/// The number of a table in this file; effects name tables by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableNumber(pub u32);

/// The identity of a column within its table. Effects name columns by it, so that they survive
/// renames and reordering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnId(pub u32);

//! Result of the determinism check of a statement, stored with its footprint.
//! [`crate::engine::action::fit`] computes it.

use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// Functions with another value at each run, and their replacements.
pub(crate) const NEVER: &[(&str, &str)] = &[
    ("random", CHANCE),
    ("randomblob", CHANCE),
    ("rejoin_new_id", CHANCE),
    ("changes", COUNTERS),
    ("total_changes", COUNTERS),
    ("last_insert_rowid", COUNTERS),
    ("rejoin_row_state", "the sync state of a row exists on this device only"),
    ("current_date", CLOCK),
    ("current_time", CLOCK),
    ("current_timestamp", CLOCK),
];

/// Functions that read the clock only with certain arguments, such as `now`.
pub(crate) const CLOCKS: &[&str] =
    &["date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff"];

const CHANCE: &str =
    "it returns another value when the action runs again; use an id of the context, or an argument";
const COUNTERS: &str =
    "it depends on earlier statements of this connection, which differ when the action runs again";
pub(crate) const CLOCK: &str =
    "the clock differs when the action runs again; use the time of the context";

/// Whether a footprint stores the name of the function.
pub(crate) fn is_of_interest(function: &str) -> bool {
    let named = |other: &str| function.eq_ignore_ascii_case(other);
    NEVER.iter().any(|(name, _)| named(name)) || CLOCKS.iter().any(|name| named(name))
}

/// Whether a function depends on earlier statements of the connection.
pub(crate) fn is_counter(function: &str) -> bool {
    NEVER.iter().any(|(name, why)| *name == function && *why == COUNTERS)
}

/// A statement that an action may run.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ActionStatement {
    /// The tables that count as read: those read, those written, and those that the rules of a
    /// written table query.
    pub(crate) tables: Vec<TableNumber>,
    /// The row that it reads by key, if any.
    pub(crate) keyed: Option<KeyedRead>,
    /// Whether a bound text could still read the clock.
    pub(crate) clock: bool,
}

/// A read by key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeyedRead {
    pub(crate) table: TableNumber,
    /// The type of the key: a value of another type names no row.
    pub(crate) integer: bool,
    pub(crate) named: KeySource,
    pub(crate) columns: Vec<ColumnId>,
}

/// The source of the key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum KeySource {
    /// The parameter with this index, from 0.
    Parameter(usize),
    /// This value.
    Value(Value),
}

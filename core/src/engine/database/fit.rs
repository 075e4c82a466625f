//! What a statement is to an action, as it is kept with the statement's footprint. [`crate::engine::action::fit`] finds it out.

use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// Functions that give another value at each run, and what to use instead.
pub(crate) const NEVER: &[(&str, &str)] = &[
    ("random", CHANCE),
    ("randomblob", CHANCE),
    ("rejoin_new_id", CHANCE),
    ("changes", COUNTERS),
    ("total_changes", COUNTERS),
    ("last_insert_rowid", COUNTERS),
    ("rejoin_row_state", "the state of a row's sync is this device's alone"),
    ("current_date", CLOCK),
    ("current_time", CLOCK),
    ("current_timestamp", CLOCK),
];

/// Functions that read the clock only with certain arguments, such as `now`.
pub(crate) const CLOCKS: &[&str] =
    &["date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff"];

const CHANCE: &str =
    "it gives another value when the action runs again; take the id of the context, or an argument";
const COUNTERS: &str =
    "it counts what this connection does, which is something else when the action runs again";
pub(crate) const CLOCK: &str =
    "the clock is another one when the action runs again; take the time of the context";

/// The functions of which a footprint keeps the names.
pub(crate) fn is_of_interest(function: &str) -> bool {
    let named = |other: &str| function.eq_ignore_ascii_case(other);
    NEVER.iter().any(|(name, _)| named(name)) || CLOCKS.iter().any(|name| named(name))
}

/// A statement that an action may run.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Fit {
    /// The tables that count as read: those read, those written, and those that the declared rules of a written one ask.
    pub(crate) tables: Vec<TableNumber>,
    /// The row that it reads, if it reads one by its key (O8).
    pub(crate) keyed: Option<KeyedRead>,
    /// Whether a bound text could still ask the clock.
    pub(crate) clock: bool,
}

/// A read by key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeyedRead {
    pub(crate) table: TableNumber,
    /// The type of the key: a value of another type names no row.
    pub(crate) integer: bool,
    pub(crate) named: Named,
    pub(crate) columns: Vec<ColumnId>,
}

/// What names the key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Named {
    /// The parameter of this index, from 0.
    Parameter(usize),
    /// This value.
    Value(Value),
}

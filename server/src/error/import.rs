//! Errors of an import into the log.

/// Why a line of an import is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportFault {
    /// It has not the form of docs/from-synchrotron.md.
    #[error("it is neither an action nor a row: {why}")]
    Form {
        /// The parser's message.
        why: String,
    },
    /// The table is not one of the log.
    #[error(
        "the table {table} is not a table of the log: configure it with sync = \"log\", or leave its lines out"
    )]
    Table {
        /// The table.
        table: String,
    },
    /// The value has a form that the column never has.
    #[error("the column {column} of {table} cannot have this value: correct the line")]
    Value {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A row does not fit its table.
    #[error("{why}")]
    Row {
        /// Why.
        why: String,
    },
    /// The bucket column cannot name the audience.
    #[error(
        "the audience {audience} of {table} is not the prefix {prefix:?} and a value of the bucket column: correct bucket_prefix"
    )]
    Audience {
        /// The table.
        table: String,
        /// The audience.
        audience: String,
        /// The configured prefix.
        prefix: String,
    },
    /// A line of an action after the first row.
    #[error("an action comes after a row: put all actions first")]
    Order,
    /// The action is later than now.
    #[error("the action is from {millis}, and now is {now}: set the clock, or correct the line")]
    Ahead {
        /// Its time, in milliseconds since 1970.
        millis: u64,
        /// The server's time.
        now: u64,
    },
    /// The counter is far above those of the log.
    #[error(
        "the counter {counter} is far above {highest}, the highest of the log: correct the line"
    )]
    Counter {
        /// The counter of the action.
        counter: u64,
        /// The highest counter of the log.
        highest: u64,
    },
}

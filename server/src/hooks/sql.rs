//! What a hook's SQL needs of a store, and why a statement was not run.

use rejoin_protocol::Value;

/// Why a statement of a hook did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// It is not for a hook to run, or not as it stands; the words say what to write instead.
    #[error("not run: {0}")]
    Refused(String),
    /// What it would write breaks a rule of the database.
    #[error("a rule of the database is broken: {0}")]
    Rule(String),
    /// The moment is at fault: a lock, a deadlock, a full disk.
    #[error("the database cannot just now: {0}")]
    Moment(String),
    /// The database does not know what it names, or fails.
    #[error("the database refuses: {0}")]
    Failed(String),
    /// The transaction is over; nothing of the push is kept.
    #[error("the transaction is over: {0}")]
    Over(String),
}

/// Runs statements of a hook in the transaction of a push, each in a savepoint of its own. By default a store refuses them.
pub trait HookSql {
    /// Runs a statement that returns no rows; returns the number of rows that it changed. `values` are given by the names of
    /// the statement's parameters.
    fn execute(&self, sql: &str, values: &[(&str, Value)]) -> Result<u64, SqlError> {
        let _ = (sql, values);
        Err(SqlError::Refused(String::from("this store runs no SQL of hooks")))
    }

    /// Runs a query and returns its rows.
    fn query(&self, sql: &str, values: &[(&str, Value)]) -> Result<Vec<Vec<Value>>, SqlError> {
        let _ = (sql, values);
        Err(SqlError::Refused(String::from("this store runs no SQL of hooks")))
    }
}

//! The store interface for SQL of hooks, and its errors.

use rejoin_protocol::Value;

/// Why a statement of a hook failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The statement is not allowed in a hook, or malformed; the message says what to write
    /// instead.
    #[error("not run: {0}")]
    Refused(String),
    /// The write violates a constraint of the database.
    #[error("a rule of the database is broken: {0}")]
    Rule(String),
    /// A temporary failure: lock, deadlock, full disk.
    #[error("the database cannot just now: {0}")]
    Moment(String),
    /// The database does not know a name in the statement, or failed.
    #[error("the database refuses: {0}")]
    Failed(String),
    /// The transaction was ended; nothing of the push is kept.
    #[error("the transaction is over: {0}")]
    Over(String),
}

/// Runs statements of a hook in the push transaction, each in its own savepoint. By default a store
/// refuses them.
pub trait HookSql {
    /// Runs a statement without result; returns the number of affected rows. `values` are its
    /// parameters by name.
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

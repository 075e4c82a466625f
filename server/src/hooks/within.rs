//! SQL of hooks, in the push transaction.
//!
//! One statement at a time that reads or writes rows: a hook that could end the transaction would
//! discard the verdicts of other groups. Each runs in a savepoint, so that a failed statement has
//! no effect.

use std::cell::RefCell;
use std::fmt;

use rejoin_protocol::Value;

use super::sql::{HookSql, SqlError};
use crate::error::Fault;

/// The allowed first words of a statement.
const KINDS: &[&str] =
    &["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "WITH", "VALUES"];

/// The push transaction, for SQL of a hook.
///
/// Parameters are written `:name` in both databases, and all of them must be given. PostgreSQL
/// receives values as text and converts them to the expected type; add a cast where that is
/// ambiguous (`:name::bigint`). Statements read and write all rows of all users, under the store's
/// own role.
pub struct Within<'a> {
    transaction: &'a dyn HookSql,
    over: RefCell<Option<String>>,
}

impl fmt::Debug for Within<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Within").field("over", &self.over).finish_non_exhaustive()
    }
}

impl<'a> Within<'a> {
    pub(crate) fn new(transaction: &'a dyn HookSql) -> Self {
        Self { transaction, over: RefCell::new(None) }
    }

    /// Runs a statement without result; returns the number of affected rows.
    pub fn execute(&self, sql: &str, values: &[(&str, Value)]) -> Result<u64, SqlError> {
        self.run(sql, |transaction| transaction.execute(sql, values))
    }

    /// Runs a query, or a statement with RETURNING; returns its rows, with cells in column order.
    /// In PostgreSQL, cast types other than booleans, integers, floats, text, JSON, UUIDs,
    /// instants, bytes and enums to text.
    pub fn query(&self, sql: &str, values: &[(&str, Value)]) -> Result<Vec<Vec<Value>>, SqlError> {
        self.run(sql, |transaction| transaction.query(sql, values))
    }

    fn run<T>(
        &self,
        sql: &str,
        run: impl FnOnce(&dyn HookSql) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        if let Some(why) = &*self.over.borrow() {
            return Err(SqlError::Over(why.clone()));
        }
        let first = first_word(sql).to_ascii_uppercase();
        if !KINDS.contains(&first.as_str()) {
            let why =
                format!("a hook reads and writes rows; a statement may not begin with {first:?}");
            return Err(SqlError::Refused(why));
        }
        let done = run(self.transaction);
        if let Err(SqlError::Over(why)) = &done {
            *self.over.borrow_mut() = Some(why.clone());
        }
        done
    }

    /// Why the transaction has ended, if it has; the hook's result is then ignored.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.over.borrow().clone().map(Fault::Transient)
    }
}

/// The first word of a statement, after comments.
fn first_word(sql: &str) -> &str {
    let mut rest = sql.trim_start();
    loop {
        let after = match (rest.strip_prefix("--"), rest.strip_prefix("/*")) {
            (Some(comment), _) => comment.split_once('\n').map_or("", |(_, after)| after),
            (_, Some(comment)) => comment.split_once("*/").map_or("", |(_, after)| after),
            _ => break,
        };
        rest = after.trim_start();
    }
    rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::first_word;

    #[test]
    fn statement_kind_is_its_first_word() {
        let table = [
            ("SELECT 1", "SELECT"),
            ("  \n-- of one line\n/* and\n two */ insert into t", "insert"),
            ("select(1)", "select"),
            ("COMMIT; SELECT 1", "COMMIT"),
            ("-- all of it", ""),
            ("/* open", ""),
            (";", ""),
            ("", ""),
        ];
        for (sql, word) in table {
            assert_eq!(first_word(sql), word, "{sql:?}");
        }
    }
}

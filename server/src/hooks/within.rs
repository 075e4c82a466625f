//! SQL of a hook, in the transaction of the push that it is asked about.
//!
//! One statement at a time, which reads or writes rows and nothing else: a transaction that a hook could end would take the
//! verdicts of other groups with it. Each stands in a savepoint, so that one that fails leaves nothing and harms nothing.

use std::cell::RefCell;
use std::fmt;

use rejoin_protocol::Value;

use super::sql::{HookSql, SqlError};
use crate::error::Fault;

/// With what a statement of a hook may begin.
const KINDS: &[&str] =
    &["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "WITH", "VALUES"];

/// The transaction of a push, for SQL of a hook.
///
/// A parameter is written `:name`, in either database; one that the statement names must be given. In PostgreSQL values go as
/// text and become what the statement expects there; what it cannot tell is cast (`:name::bigint`). Statements see and
/// write every row of every table, whoever's it is, as the store's own role.
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

    /// Runs a statement that returns no rows; how many it touched.
    pub fn execute(&self, sql: &str, values: &[(&str, Value)]) -> Result<u64, SqlError> {
        self.run(sql, |transaction| transaction.execute(sql, values))
    }

    /// Runs a query, or a statement with RETURNING: the cells of its rows, in the order of its columns. In PostgreSQL types
    /// beyond truth values, numbers of the machine, text, JSON, UUIDs, instants, bytes and enums are cast to text first.
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

    /// What has become of the transaction, if it is over: then no word of the hook counts.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.over.borrow().clone().map(Fault::Transient)
    }
}

/// The word with which a statement begins, behind comments.
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
    fn a_statement_is_known_by_its_first_word() {
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

//! Statements and columns of the application's log tables, for both databases.

use rejoin_protocol::Value;

use crate::model::{LogColumn, LogTable, LogType};
use crate::store::describe::FoundColumn;
use crate::store::quote::quoted;

impl LogTable {
    /// The statement that stores whole rows: the key, then these cells; other columns get their
    /// defaults, in a new row as in an old one. `from`: the list of the rows; `None` is one row.
    /// `written`: the expression of the cell with this number, for a column; `None` is the key.
    pub(in crate::store) fn upsert(
        &self,
        cells: &[(usize, &Value)],
        name: &str,
        from: Option<&str>,
        written: &mut dyn FnMut(Option<usize>, usize) -> String,
    ) -> String {
        let key = quoted(&self.key.name);
        let (mut names, mut values) = (key.clone(), written(None, 1));
        for ((at, _), number) in cells.iter().zip(2..) {
            if let Some(column) = self.columns.get(*at) {
                names = format!("{names}, {}", quoted(&column.name));
                values = format!("{values}, {}", written(Some(*at), number));
            }
        }
        let set = |column: &LogColumn| {
            let name = quoted(&column.name);
            format!("{name} = excluded.{name}")
        };
        let sets: Vec<String> = self.columns.iter().map(set).collect();
        let done = if sets.is_empty() {
            String::from("NOTHING")
        } else {
            format!("UPDATE SET {}", sets.join(", "))
        };
        let source = from.map_or_else(
            || format!("VALUES ({values})"),
            |from| format!("SELECT {values} FROM {from}"),
        );
        format!("INSERT INTO {name} ({names}) {source} ON CONFLICT({key}) DO {done}")
    }
}

/// A column as a log table has it.
pub(in crate::store) fn column(
    found: &FoundColumn,
    kind: LogType,
    max_bytes: Option<usize>,
) -> LogColumn {
    LogColumn {
        name: found.name.clone(),
        kind,
        not_null: found.not_null || found.is_key,
        has_default: found.default.is_some(),
        max_bytes,
    }
}

/// The table, if it has exactly one key column.
pub(in crate::store) fn only_key(
    name: &str,
    keys: Vec<LogColumn>,
    columns: Vec<LogColumn>,
) -> Option<LogTable> {
    let [key] = <[LogColumn; 1]>::try_from(keys).ok()?;
    Some(LogTable { name: name.to_owned(), key, columns })
}

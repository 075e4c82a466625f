//! Determinism check of an action's statements, and the tables that they count as read.
//!
//! An action runs again on other rows, at another time, and must behave the same. So its statements
//! use only synced tables: no local-only table, no random values, no clock, no counter of the
//! connection. All of that is known when a statement is compiled, and stored with it.

use std::collections::BTreeSet;

use rejoin_protocol::ColumnKind;
use rejoin_protocol::manifest::Rule;
use rusqlite::{Connection, OptionalExtension as _};

use super::keyed::key_of;
use super::token::{Token, tokens};
use crate::engine::database::OURS;
use crate::engine::database::authorizer::Footprint;
use crate::engine::database::fit::{ActionStatement, CLOCK, CLOCKS, KeySource, KeyedRead, NEVER};
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::Schema;
use crate::error::{Error, InputFault, Result};
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// Arguments that make them read the clock or the time zone.
const CLOCK_WORDS: &[&str] = &["now", "subsec", "subsecond", "localtime", "utc"];

/// Table-valued functions that depend only on their arguments.
const PURE_TABLES: &[&str] = &["json_each", "json_tree"];

impl ActionStatement {
    /// The row that it reads by key with these bound values, and the columns.
    pub(crate) fn keyed(&self, params: &[Value]) -> Option<(RowKey, &[ColumnId])> {
        let KeyedRead { table, integer, named, columns } = self.keyed.as_ref()?;
        let key = match named {
            KeySource::Parameter(at) => params.get(*at)?,
            KeySource::Value(value) => value,
        };
        let fits = match key {
            Value::Integer(_) => *integer,
            Value::Text(_) => !*integer,
            Value::Null | Value::Real(_) | Value::Blob(_) => false,
        };
        fits.then(|| (RowKey { table: *table, key: key.clone() }, columns.as_slice()))
    }

    /// Checks whether these values may be bound.
    pub(crate) fn check(&self, params: &[Value]) -> Result<()> {
        let asks = |value: &Value| {
            let text = value.as_text();
            text.is_some_and(|text| CLOCK_WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)))
        };
        match params.iter().find(|value| self.clock && asks(value)) {
            Some(value) => refuse(format!("'{}'", value.as_text().unwrap_or_default()), CLOCK),
            None => Ok(()),
        }
    }
}

/// Checks whether an action may run this statement, and computes what it reads.
pub(crate) fn fit(
    footprint: &Footprint,
    sql: &str,
    schema: &Schema,
    conn: &Connection,
) -> Result<ActionStatement> {
    let statement = Statement { footprint, words: tokens(sql), schema, conn };
    statement.check_text()?;
    statement.check_tables()?;
    let clock = statement.check_functions()?;
    Ok(ActionStatement { tables: statement.tables(), keyed: statement.keyed(), clock })
}

struct Statement<'a> {
    footprint: &'a Footprint,
    words: Vec<Token<'a>>,
    schema: &'a Schema,
    conn: &'a Connection,
}

fn refuse<T>(what: impl Into<String>, why: &str) -> Result<T> {
    Err(Error::InvalidInput(InputFault::Refused {
        what: format!("{} in an action", what.into()),
        reason: why.to_owned(),
    }))
}

impl Statement<'_> {
    fn check_text(&self) -> Result<()> {
        let first = self.words.iter().find_map(|token| token.text()).unwrap_or_default();
        let is = |word: &str| first.eq_ignore_ascii_case(word);
        if self.footprint.ddl || is("pragma") || is("explain") || is("analyze") || is("reindex") {
            return refuse(
                format!("the statement {first}"),
                "an action may only read and write rows, not change the schema",
            );
        }
        let rolls_back = |token: &Token<'_>| match token {
            Token::Word(word) => word.eq_ignore_ascii_case("rollback"),
            _ => false,
        };
        if self.words.iter().any(rolls_back) {
            return refuse(
                "OR ROLLBACK",
                "it would end the transaction that applies other mutations; use OR ABORT",
            );
        }
        Ok(())
    }

    fn check_tables(&self) -> Result<()> {
        for (table, accessor) in &self.footprint.by_app {
            if self.is_synced(table) || self.is_mirroring(accessor.as_deref())? {
                continue;
            }
            let local = !self.is_made_here(table)?;
            if local {
                return refuse(
                    format!("the table {table}"),
                    "it exists on this device only; pass its values as arguments",
                );
            }
        }
        for (table, accessor) in &self.footprint.rowids {
            if !self.is_mirroring(accessor.as_deref())? {
                return refuse(
                    format!("the rowid of {table}"),
                    "SQLite assigns new rowids when rows are applied again; use the key",
                );
            }
        }
        Ok(())
    }

    /// Whether a bound value could still make a function read the clock.
    fn check_functions(&self) -> Result<bool> {
        let mut clock = false;
        for (function, accessor) in &self.footprint.functions {
            if self.is_mirroring(accessor.as_deref())? {
                continue;
            }
            if let Some((name, why)) = NEVER.iter().find(|(name, _)| name == function) {
                return refuse(format!("{name}()"), why);
            }
            clock = true;
        }
        if clock {
            self.check_clock()?;
        }
        Ok(clock)
    }

    fn check_clock(&self) -> Result<()> {
        for (at, token) in self.words.iter().enumerate() {
            let Some(text) = token.text() else { continue };
            let is = |word: &&&str| text.eq_ignore_ascii_case(word);
            if matches!(token, Token::Text(_) | Token::Quoted(_))
                && CLOCK_WORDS.iter().any(|word| is(&word))
            {
                return refuse(format!("'{text}'"), CLOCK);
            }
            let needed = match CLOCKS.iter().find(is) {
                Some(&("strftime" | "timediff")) => 2,
                Some(_) => 1,
                None => continue,
            };
            let called = self.words.get(at + 1) == Some(&Token::Mark('('));
            if called && arguments(&self.words[at + 2..]) < needed {
                return refuse(format!("{text}() without a time"), CLOCK);
            }
        }
        Ok(())
    }

    /// The row that is read by key, if the statement names no other table.
    fn keyed(&self) -> Option<KeyedRead> {
        let mut named = self.footprint.by_app.iter().filter(|(_, accessor)| accessor.is_none());
        let (name, _) = named.next()?;
        let table = self.schema.named(name).filter(|_| named.next().is_none())?;
        let key = table.key_column();
        let named = key_of(&self.words, name, &key.name)?;
        let integer = matches!(key.kind, ColumnKind::Int | ColumnKind::Int64);
        let columns = self
            .footprint
            .own_columns
            .iter()
            .filter_map(|name| table.column_named(name).map(|at| table.columns[at].id));
        Some(KeyedRead { table: table.number, integer, named, columns: columns.collect() })
    }

    /// Tables read and written, and those that the rules of written tables query.
    fn tables(&self) -> Vec<TableNumber> {
        let synced = |name: &String| self.schema.named(name);
        let writes: Vec<_> = self.footprint.writes.iter().filter_map(synced).collect();
        let reads = self.footprint.reads.iter().filter_map(synced);
        let mut tables: BTreeSet<TableNumber> = reads.map(|table| table.number).collect();
        if mutant::on(Mutant::BlindWritesFree) {
            tables.retain(|number| writes.iter().all(|table| table.number != *number));
            return tables.into_iter().collect();
        }
        for written in &writes {
            tables.insert(written.number);
            for table in self.schema.tables.values() {
                for rule in &table.rules {
                    let Rule::References { table: parent, .. } = rule else { continue };
                    if table.number == written.number {
                        tables.extend(self.schema.named(parent).map(|parent| parent.number));
                    } else if parent.eq_ignore_ascii_case(&written.name) {
                        tables.insert(table.number);
                    }
                }
            }
        }
        tables.into_iter().collect()
    }

    fn is_synced(&self, table: &str) -> bool {
        self.schema.named(table).is_some()
    }

    /// Whether an app trigger reads or writes it, which only mirrors. The text of the statement
    /// must not contain the name: SQLite reports a WITH expression in the same place.
    fn is_mirroring(&self, accessor: Option<&str>) -> Result<bool> {
        let Some(accessor) = accessor else { return Ok(false) };
        let named = |token: &Token<'_>| {
            token.text().is_some_and(|text| text.eq_ignore_ascii_case(accessor))
        };
        Ok(!self.words.iter().any(named) && self.kind_of(accessor)?.as_deref() == Some("trigger"))
    }

    /// Whether the rows come from the statement itself: a view, whose tables are reported
    /// separately, a WITH expression, or a table-valued function.
    fn is_made_here(&self, table: &str) -> Result<bool> {
        if PURE_TABLES.contains(&table) {
            return Ok(true);
        }
        let with = |token: &Token<'_>| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case("with"));
        let of_sqlite = table.starts_with("sqlite_") || table.starts_with("pragma_");
        let kind = self.kind_of(table)?;
        Ok(kind.map_or(!of_sqlite && self.words.iter().any(with), |kind| kind == "view"))
    }

    fn kind_of(&self, name: &str) -> Result<Option<String>> {
        let sql = format!("{OURS}SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE");
        Ok(self.conn.prepare_cached(&sql)?.query_row([name], |row| row.get(0)).optional()?)
    }
}

/// The number of arguments before the parenthesis that closes a call.
fn arguments(tokens: &[Token<'_>]) -> usize {
    let (mut depth, mut count) = (0, 0);
    for token in tokens {
        match token {
            Token::Mark(')') if depth == 0 => return count,
            Token::Mark(')') => depth -= 1,
            Token::Mark('(') => depth += 1,
            Token::Mark(',') if depth == 0 => count += 1,
            _ => {}
        }
        count = count.max(1);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_counted() {
        for (call, count) in [(")", 0), ("a)", 1), ("a, b)", 2), ("f(a, b), c)", 2), ("(a))", 1)] {
            assert_eq!(arguments(&tokens(call)), count, "{call}");
        }
    }
}

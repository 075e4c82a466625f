//! What a statement of an action may be (R6), and which tables it counts as read (R2).
//!
//! An action runs again on other rows, at another time, and must do the same then. So its statements see synced tables and
//! nothing else: no table that is local to this device, no chance, no clock, no counter of the connection. All of that is
//! known when a statement is compiled, and kept with it.

use std::collections::BTreeSet;

use rejoin_protocol::ColumnKind;
use rejoin_protocol::manifest::Rule;
use rusqlite::{Connection, OptionalExtension as _};

use super::keyed::key_of;
use super::token::{Token, tokens};
use crate::engine::database::authorizer::Footprint;
use crate::engine::database::fit::{CLOCK, CLOCKS, Fit, KeyedRead, NEVER, Named};
use crate::engine::database::{OURS, fault};
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::Schema;
use crate::error::{Error, Result};
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// What tells them to, or to ask for the time zone.
const CLOCK_WORDS: &[&str] = &["now", "subsec", "subsecond", "localtime", "utc"];

/// Tables that are made of their arguments.
const PURE_TABLES: &[&str] = &["json_each", "json_tree"];

impl Fit {
    /// The row that it reads by its key with these values bound, and its columns.
    pub(crate) fn keyed(&self, params: &[Value]) -> Option<(RowKey, &[ColumnId])> {
        let KeyedRead { table, integer, named, columns } = self.keyed.as_ref()?;
        let key = match named {
            Named::Parameter(at) => params.get(*at)?,
            Named::Value(value) => value,
        };
        let fits = match key {
            Value::Integer(_) => *integer,
            Value::Text(_) => !*integer,
            Value::Null | Value::Real(_) | Value::Blob(_) => false,
        };
        fits.then(|| (RowKey { table: *table, key: key.clone() }, columns.as_slice()))
    }

    /// Whether these values may be bound.
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

/// Whether an action may run this statement, and what it reads.
pub(crate) fn fit(
    footprint: &Footprint,
    sql: &str,
    schema: &Schema,
    conn: &Connection,
) -> Result<Fit> {
    let statement = Statement { footprint, words: tokens(sql), schema, conn };
    statement.check_text()?;
    statement.check_tables()?;
    let clock = statement.check_functions()?;
    Ok(Fit { tables: statement.tables(), keyed: statement.keyed(), clock })
}

struct Statement<'a> {
    footprint: &'a Footprint,
    words: Vec<Token<'a>>,
    schema: &'a Schema,
    conn: &'a Connection,
}

fn refuse<T>(what: impl Into<String>, why: &str) -> Result<T> {
    Err(Error::Refused { what: format!("{} in an action", what.into()), why: why.to_owned() })
}

impl Statement<'_> {
    fn check_text(&self) -> Result<()> {
        let first = self.words.iter().find_map(|token| token.text()).unwrap_or_default();
        let is = |word: &str| first.eq_ignore_ascii_case(word);
        if self.footprint.ddl || is("pragma") || is("explain") || is("analyze") || is("reindex") {
            return refuse(
                format!("the statement {first}"),
                "an action reads and writes rows, and leaves the schema alone",
            );
        }
        let rolls_back = |token: &Token<'_>| match token {
            Token::Word(word) => word.eq_ignore_ascii_case("rollback"),
            _ => false,
        };
        if self.words.iter().any(rolls_back) {
            return refuse(
                "OR ROLLBACK",
                "it would end the transaction in which other mutations are laid down; use OR ABORT",
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
                    "it is this device's alone; hand what it holds over as an argument",
                );
            }
        }
        for (table, accessor) in &self.footprint.rowids {
            if !self.is_mirroring(accessor.as_deref())? {
                return refuse(
                    format!("the rowid of {table}"),
                    "SQLite numbers rows anew when they are laid down again; use the key",
                );
            }
        }
        Ok(())
    }

    /// Whether a function still asks the clock if a value says so.
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

    /// The row that is read by its key, if the statement names no other table.
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

    /// R2: what is read and written, and what the rules of what is written ask.
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

    /// Whether a trigger of the app speaks, which only mirrors. The text of the statement must not name it: an expression
    /// of a WITH is reported in the same place.
    fn is_mirroring(&self, accessor: Option<&str>) -> Result<bool> {
        let Some(accessor) = accessor else { return Ok(false) };
        let named = |token: &Token<'_>| {
            token.text().is_some_and(|text| text.eq_ignore_ascii_case(accessor))
        };
        Ok(!self.words.iter().any(named) && self.kind_of(accessor)?.as_deref() == Some("trigger"))
    }

    /// Whether the rows come from nowhere else: a view, whose tables are told beside it, an expression of a WITH, or a
    /// table that is made of its arguments.
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
        self.conn
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row([name], |row| row.get(0)).optional())
            .map_err(fault::of)
    }
}

/// How many arguments stand before the bracket that closes a call.
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

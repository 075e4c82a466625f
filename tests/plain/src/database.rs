//! The rows and one transaction on them: constraints, the app's trigger, row-level security, and
//! log events.
//!
//! A transaction works on a copy, which becomes visible at commit. A database error aborts it: it
//! allows no further reads or writes and cannot be committed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::access;
use crate::cell::Cell;
use crate::clock::{Clock, Ids};
use crate::table::{Column, Table, Trigger};

/// Why a write failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The driver cannot encode the value for its column, so the statement never reached the
    /// database.
    #[error("the driver cannot encode {0}")]
    Encoding(String),
    /// The database rejected the statement and aborted the transaction.
    #[error("the database rejected: {0}")]
    Sql(String),
    /// The statement succeeded but matched no visible row.
    #[error("no row matched")]
    NoRow,
}

impl Refusal {
    pub(crate) fn encoding(value: &Value) -> Self {
        Self::Encoding(value.to_string())
    }

    pub(crate) fn sql(reason: &str) -> Self {
        Self::Sql(reason.to_owned())
    }
}

/// A row: cells in the order of the table's columns.
pub(crate) type Row = Vec<Cell>;

/// All rows, by table and key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Database {
    pub(crate) rows: BTreeMap<String, BTreeMap<String, Row>>,
}

impl Database {
    pub(crate) fn get(&self, table: &str, id: &str) -> Option<&Row> {
        self.rows.get(table)?.get(id)
    }

    pub(crate) fn of(&self, table: &str) -> impl Iterator<Item = (&String, &Row)> {
        self.rows.get(table).into_iter().flatten()
    }
}

/// A log event of a transaction about one row.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) table: String,
    pub(crate) id: String,
    pub(crate) what: What,
    /// The new row, or the deleted one.
    pub(crate) row: Row,
}

/// The operation on a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Insert,
    Update,
    Remove,
}

/// The writer: determines how values are decoded and which rows are visible.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Writer<'a> {
    /// A push of this user, with or without row-level security.
    Client { user: &'a str, secured: bool },
    /// An SQL statement outside of a push.
    Outside,
}

/// Values by column.
pub(crate) type Values = Map<String, Value>;

#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    pub(crate) tables: &'a [Table],
    pub(crate) database: Database,
    pub(crate) events: Vec<Event>,
    pub(crate) now: i64,
    pub(crate) aborted: bool,
    pub(crate) clock: &'a Clock,
    pub(crate) ids: &'a mut Ids,
    pub(crate) writer: Writer<'a>,
}

impl Transaction<'_> {
    /// The row of this key, if it is visible to the writer.
    pub(crate) fn select(&mut self, table: &Table, id: &str) -> Result<Option<Row>, Refusal> {
        let id = self.key(table, id)?;
        let row = self.database.get(&table.name, &id);
        Ok(row.filter(|row| self.may(access::may_read, table, row)).cloned())
    }

    /// Inserts a row and returns it.
    pub(crate) fn insert(&mut self, table: &Table, values: &Values) -> Result<Row, Refusal> {
        let given = self.cells(table, values)?;
        let mut row = Vec::new();
        for (position, column) in table.columns.iter().enumerate() {
            row.push(match given.get(&position) {
                Some(cell) => cell.clone(),
                None => self.default(column)?,
            });
        }
        self.constrain(table, &row)?;
        let id = row[0].text().unwrap_or_default();
        if self.database.get(&table.name, &id).is_some() {
            return self.abort("the key exists already");
        }
        if !self.may(access::may_write, table, &row) {
            return self.abort("the row violates the row-level security policy");
        }
        Ok(self.keep(table, id, What::Insert, row))
    }

    /// Updates a row and returns it.
    pub(crate) fn update(
        &mut self,
        table: &Table,
        id: &str,
        values: &Values,
    ) -> Result<Row, Refusal> {
        let given = self.cells(table, values)?;
        let id = self.key(table, id)?;
        let seen = self.database.get(&table.name, &id).filter(|row| {
            self.may(access::may_read, table, row) && self.may(access::may_write, table, row)
        });
        let Some(mut row) = seen.cloned() else { return Err(Refusal::NoRow) };
        row.resize(table.columns.len(), Cell::Null);
        for (position, cell) in given {
            row[position] = cell;
        }
        self.touch(table, &mut row);
        self.constrain(table, &row)?;
        Ok(self.keep(table, id, What::Update, row))
    }

    /// Hard-deletes a row.
    pub(crate) fn remove(&mut self, table: &Table, id: &str) -> Result<(), Refusal> {
        let id = self.key(table, id)?;
        for child in self.tables {
            let Some((parent, column)) = &child.parent else { continue };
            let Some(position) = child.position(column) else { continue };
            let held = self
                .database
                .of(&child.name)
                .any(|(_, row)| row[position].text().as_ref() == Some(&id));
            if *parent == table.name && held {
                return self.abort("rows of another table reference it");
            }
        }
        let rows = self.database.rows.get_mut(&table.name);
        let Some(row) = rows.and_then(|rows| rows.remove(&id)) else { return Err(Refusal::NoRow) };
        self.events.push(Event { table: table.name.clone(), id, what: What::Remove, row });
        Ok(())
    }

    /// Applies the app's trigger.
    fn touch(&self, table: &Table, row: &mut Row) {
        let Some(position) = table.position("updated_at") else { return };
        match table.trigger {
            Trigger::LeftAlone => {}
            Trigger::TransactionTime => row[position] = Cell::Instant(self.now),
            Trigger::ClockTime => row[position] = Cell::Instant(self.clock.read()),
        }
    }

    fn keep(&mut self, table: &Table, id: String, what: What, row: Row) -> Row {
        let rows = self.database.rows.entry(table.name.clone()).or_default();
        rows.insert(id.clone(), row.clone());
        self.events.push(Event { table: table.name.clone(), id, what, row: row.clone() });
        row
    }

    /// The values by position. Errors in the order of the real server: unknown columns, values that
    /// the driver cannot encode, values that the database cannot parse.
    fn cells(&mut self, table: &Table, values: &Values) -> Result<BTreeMap<usize, Cell>, Refusal> {
        let mut places = Vec::new();
        for (name, value) in values {
            match table.position(name) {
                Some(place) if !table.columns[place].generated => places.push((place, value)),
                _ => return self.abort(&format!("{name} cannot be written")),
            }
        }
        let read = places.iter().map(|(place, value)| {
            let kind = &table.columns[*place].kind;
            let cell = match self.writer {
                Writer::Client { .. } => Cell::pushed(kind, value),
                Writer::Outside => Cell::written(kind, value),
            };
            cell.map(|cell| (*place, cell))
        });
        let read: Vec<_> = read.collect();
        if let Some(Err(error)) = read.iter().find(|cell| matches!(cell, Err(Refusal::Encoding(_))))
        {
            return Err(error.clone());
        }
        let cells: Result<_, _> = read.into_iter().collect();
        cells.inspect_err(|_| self.aborted = true)
    }

    fn key(&mut self, table: &Table, id: &str) -> Result<String, Refusal> {
        let read = Cell::from_text(&table.columns[0].kind, id);
        self.aborted |= read.is_err();
        Ok(read?.text().unwrap_or_default())
    }

    fn default(&mut self, column: &Column) -> Result<Cell, Refusal> {
        let Some(sql) = column.default_sql.as_deref().filter(|_| !column.generated) else {
            return Ok(Cell::Null);
        };
        let literal = sql.split("::").next().unwrap_or_default().trim();
        match literal {
            "now()" => Ok(Cell::Instant(self.now)),
            "gen_random_uuid()" => Ok(Cell::Text(self.ids.next())),
            _ if literal.ends_with(')') => Ok(Cell::Null),
            _ => {
                let quoted = literal.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
                Cell::from_text(&column.kind, quoted.unwrap_or(literal))
            }
        }
    }

    /// Checks NOT NULL, the table's CHECK, and the reference to the parent.
    fn constrain(&mut self, table: &Table, row: &Row) -> Result<(), Refusal> {
        for (column, cell) in table.columns.iter().zip(row) {
            if !column.nullable && *cell == Cell::Null {
                return self.abort(&format!("{} must not be NULL", column.name));
            }
        }
        if let Some((parent, column)) = &table.parent {
            let key = table.position(column).and_then(|position| row[position].text());
            if key.is_some_and(|key| self.database.get(parent, &key).is_none()) {
                return self.abort(&format!("{column} references a missing row of {parent}"));
            }
        }
        if let Some(check) = table.check {
            let json = serde_json::from_str(&json(table, row, None)).unwrap_or_default();
            if !check(&json) {
                return self.abort("a CHECK failed");
            }
        }
        Ok(())
    }

    fn may(
        &self,
        rule: fn(&[Table], &Database, &Table, &Row, &str) -> bool,
        table: &Table,
        row: &Row,
    ) -> bool {
        match self.writer {
            Writer::Client { user, secured: true } => {
                rule(self.tables, &self.database, table, row, user)
            }
            _ => true,
        }
    }

    fn abort<T>(&mut self, reason: &str) -> Result<T, Refusal> {
        self.aborted = true;
        Err(Refusal::sql(reason))
    }
}

/// A row as written by `row_to_json`, with all columns or only these.
pub(crate) fn json(table: &Table, row: &Row, only: Option<&[String]>) -> String {
    let cells = table.columns.iter().zip(row.iter().chain(std::iter::repeat(&Cell::Null)));
    let members = cells
        .filter(|(column, _)| only.is_none_or(|only| only.contains(&column.name)))
        .map(|(column, cell)| format!("{}:{}", Value::from(column.name.as_str()), cell.json()));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// The timestamp in this column of a row.
pub(crate) fn instant(table: &Table, row: &Row, column: &str) -> Option<i64> {
    match row.get(table.position(column)?)? {
        Cell::Instant(micros) => Some(*micros),
        _ => None,
    }
}

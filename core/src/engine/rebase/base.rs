//! Writes remote rows to the base: single images, arrays of rows that are decoded while they are
//! bound, and key ranges that were paged completely.
//!
//! Base rows are never rejected. The mutations above a row are undone before it is written; without
//! pending mutations that is one index lookup. Rows arrive in key order, which keeps large pages
//! cheap.

use std::collections::BTreeSet;
use std::sync::Arc;

use rejoin_protocol::codec::{self, RowError};
use rejoin_protocol::wire::push::Ending;
use rejoin_protocol::wire::row::RowSet;
use rejoin_protocol::wire::snapshot::KeyRange;
use rejoin_protocol::{ColumnKind, Value};

use super::batch::{Batch, ServerVerdict};
use super::context::RebaseContext;
use super::policy;
use super::take_over;
use crate::engine::database::OURS;
use crate::engine::meta::{PEER, PLAIN, meta};
use crate::engine::queue::history;
use crate::engine::rows::ServerRow;
use crate::engine::rows::key_order::{Ordered, in_key_order};
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::Table;
use crate::engine::schema::sql::quoted;
use crate::error::{Error, Result, SyncFault};
use crate::ids::{ColumnId, Seq};

/// Largest number of keys of a table that are reported individually to observers.
const MANY: usize = 4_096;

/// Writes the batch's rows to the base. Returns the rows that pending mutations edit, in the order
/// in which conflicts are detected.
pub(super) fn apply(work: &mut RebaseContext<'_>, batch: &Batch) -> Result<(usize, Vec<RowKey>)> {
    let reported = if batch.bulk { 0 } else { MANY };
    let conflicts = |verdict: &ServerVerdict| verdict.ending == Ending::Conflict;
    let by_rows = !batch.records.is_empty();
    let may_conflict = batch.detect_conflicts || by_rows || batch.verdicts.iter().any(conflicts);
    let has_absent =
        !batch.history.is_empty() || batch.images.iter().any(|image| image.row.is_none());
    let is_plain = has_absent && meta(work.conn, PEER)?.as_deref() == Some(PLAIN);
    let mut into = Base { work, met: BTreeSet::new(), rows: 0, reported, may_conflict, is_plain };
    for set in &batch.sets {
        into.set(set, &batch.ranges)?;
    }
    for range in &batch.ranges {
        if !batch.sets.iter().any(|set| set.table_name == range.table_name) {
            let table = into.table(&range.table_name)?;
            let lacking = into.keys_in(&table, range)?;
            into.sweep(&table, lacking)?;
        }
    }
    let mut images: Vec<&ServerRow> = batch.images.iter().collect();
    images.sort_by(|a, b| a.table.cmp(&b.table).then_with(|| in_key_order(&a.key, &b.key)));
    for image in images {
        into.image(image)?;
    }
    let met = into.met.iter().map(|Ordered(row)| row.clone()).collect();
    for row in &batch.history {
        into.image(&ServerRow { table: row.table, key: row.key.clone(), row: None })?;
    }
    Ok((into.rows, met))
}

struct Base<'w, 'a> {
    work: &'w mut RebaseContext<'a>,
    met: BTreeSet<Ordered>,
    rows: usize,
    /// Number of keys of a set that are reported individually.
    reported: usize,
    /// Whether a conflict may be found; its detail needs the previous base row.
    may_conflict: bool,
    /// Whether the rows are of a plain server.
    is_plain: bool,
}

impl Base<'_, '_> {
    fn table(&self, name: &str) -> Result<Arc<Table>> {
        let table = self.work.schema.named_in_rows(name);
        table.cloned().ok_or_else(|| {
            Error::Sync(SyncFault::Protocol(format!("rows of {name}, which is not synced")))
        })
    }

    /// Prepares a row for a change: undoes the mutations above it and remembers the base row. If a
    /// mutation edits the row, returns its added columns that have no server value yet.
    fn meet(&mut self, row: &RowKey) -> Result<Vec<ColumnId>> {
        let mut unfilled = Vec::new();
        if self.work.meet(row.table, &row.key)? {
            unfilled = self.work.unfilled(row)?;
            if self.may_conflict && !self.work.bases.contains_key(row) {
                let base = self.work.rows.read(row)?;
                self.work.bases.insert(row.clone(), base);
            }
            policy::changes(self.work, row)?;
            self.met.insert(Ordered(row.clone()));
        }
        Ok(unfilled)
    }

    fn image(&mut self, image: &ServerRow) -> Result<()> {
        let row = RowKey { table: image.table, key: image.key.clone() };
        let unfilled = self.meet(&row)?;
        match &image.row {
            None => {
                policy::vanishes(self.work, &row)?;
                self.work.rows.delete(&row)?;
                if self.is_plain {
                    history::note_gone(self.work.conn, &row)?;
                }
            }
            Some(columns) => {
                let table = self.work.rows.table(image.table)?;
                let mut positions = Vec::with_capacity(columns.len());
                let mut values = Vec::with_capacity(columns.len());
                for (column, value) in columns {
                    let at = table.position(*column).ok_or_else(|| unknown(table, column.0))?;
                    if at != table.key {
                        positions.push(at);
                        values.push(value);
                    }
                }
                self.work.rows.put(&row, &positions, values.into_iter())?;
                take_over::pass_on_filled(self.work, Seq(0), &row, &unfilled)?;
            }
        }
        self.rows += 1;
        let table = self.work.rows.table(image.table)?;
        self.work.touched.row(&table.name, row.key);
        Ok(())
    }

    /// Writes the rows of one set and removes base rows that its ranges lack.
    fn set(&mut self, set: &RowSet, ranges: &[KeyRange]) -> Result<()> {
        let table = self.table(&set.table_name)?;
        let mut lacking = BTreeSet::new();
        for range in ranges.iter().filter(|range| range.table_name == table.name) {
            lacking.append(&mut self.keys_in(&table, range)?);
        }
        let columns = Columns::of(&table, set)?;
        let mut row = RowKey { table: table.number, key: Value::Null };
        let mut keys = Vec::new();
        let count = codec::each_row(&set.rows, &columns.kinds, |cells| {
            std::mem::swap(&mut row.key, &mut cells[columns.key]);
            if !matches!(row.key, Value::Text(_) | Value::Integer(_)) {
                return Err(
                    SyncFault::Protocol(format!("a row of {} without a key", table.name)).into()
                );
            }
            if !lacking.is_empty() {
                lacking.remove(&Ordered(row.clone()));
            }
            if keys.len() < self.reported {
                keys.push(row.key.clone());
            }
            let unfilled = self.meet(&row)?;
            let (before, after) = (&cells[..columns.key], &cells[columns.key + 1..]);
            self.work.rows.put(&row, &columns.positions, before.iter().chain(after))?;
            take_over::pass_on_filled(self.work, Seq(0), &row, &unfilled)
        });
        let count = count.map_err(|error| match error {
            RowError::Each(error) => error,
            RowError::Decode(why) => {
                Error::Sync(SyncFault::Protocol(format!("rows of {}: {why}", table.name)))
            }
        })?;
        self.rows += count;
        if count > keys.len() {
            self.work.touched.table(&table.name);
        } else {
            for key in keys {
                self.work.touched.row(&table.name, key);
            }
        }
        self.sweep(&table, lacking)
    }

    /// Removes base rows that a page lacks, after undoing the mutations that edit them.
    fn sweep(&mut self, table: &Table, lacking: BTreeSet<Ordered>) -> Result<()> {
        for Ordered(row) in lacking {
            self.meet(&row)?;
            policy::vanishes(self.work, &row)?;
            if self.work.rows.delete(&row)? {
                self.rows += 1;
                self.work.touched.row(&table.name, row.key);
            }
        }
        Ok(())
    }

    /// The keys of a range in the base. Undoes the pending mutations in the range first, because a
    /// pending delete hides its row.
    fn keys_in(&mut self, table: &Table, range: &KeyRange) -> Result<BTreeSet<Ordered>> {
        let kind = table.key_column().kind;
        let end = |text: &Option<String>| -> Result<Option<Value>> {
            let Some(text) = text else { return Ok(None) };
            key_of(text, kind).map(Some).ok_or_else(|| {
                Error::Sync(SyncFault::Protocol(format!("a range of {} without a key", table.name)))
            })
        };
        let (after, through) = (end(&range.after)?, end(&range.through)?);
        let within = |key: &Value| {
            after.as_ref().is_none_or(|after| in_key_order(key, after).is_gt())
                && through.as_ref().is_none_or(|through| in_key_order(key, through).is_le())
        };
        let waiting = self.work.states.in_table(table.number, within);
        self.work.undo(waiting)?;
        let key = quoted(&table.key_column().name);
        // An open end is NULL here; without one, SQLite walks the key's index between the two.
        let lower = if after.is_some() { "> ?1" } else { "IS NOT ?1" };
        let upper = if through.is_some() { "<= ?2" } else { "IS NOT ?2" };
        let sql = format!(
            "{OURS}SELECT {key} FROM {} WHERE {key} {lower} AND {key} {upper}",
            quoted(&table.name)
        );
        let mut statement = self.work.conn.prepare_cached(&sql)?;
        for (at, value) in [(1, &after), (2, &through)] {
            statement.raw_bind_parameter(at, value)?;
        }
        let mut rows = statement.raw_query();
        let mut keys = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let key = row.get(0)?;
            keys.insert(Ordered(RowKey { table: table.number, key }));
        }
        // Rows in memory are newer than those in the file.
        let held = self.work.rows.held().filter(|(row, _)| row.table == table.number);
        for (row, is_there) in held.filter(|(row, _)| within(&row.key)) {
            if is_there {
                keys.insert(Ordered(row.clone()));
            } else {
                keys.remove(&Ordered(row.clone()));
            }
        }
        Ok(keys)
    }
}

/// Positions of the cells of a row set.
struct Columns {
    kinds: Vec<ColumnKind>,
    /// Index of the key cell.
    key: usize,
    /// Column positions of the other cells, in cell order.
    positions: Vec<usize>,
}

impl Columns {
    fn of(table: &Table, set: &RowSet) -> Result<Self> {
        let mut columns = Self { kinds: Vec::new(), key: usize::MAX, positions: Vec::new() };
        for (cell, name) in set.columns.iter().enumerate() {
            let at = table.columns.iter().position(|column| column.name == *name);
            let at = at.ok_or_else(|| unknown(table, name))?;
            columns.kinds.push(table.columns[at].kind);
            if columns.positions.contains(&at) || at == table.key && columns.key != usize::MAX {
                let why = format!("rows of {} with column {name} twice", table.name);
                return Err(SyncFault::Protocol(why).into());
            }
            if at == table.key {
                columns.key = cell;
            } else {
                columns.positions.push(at);
            }
        }
        if columns.key == usize::MAX {
            return Err(
                SyncFault::Protocol(format!("rows of {} without their key", table.name)).into()
            );
        }
        Ok(columns)
    }
}

/// Parses a key from the wire's text.
pub(super) fn key_of(text: &str, kind: ColumnKind) -> Option<Value> {
    match kind {
        ColumnKind::Int | ColumnKind::Int64 => text.parse().ok().map(Value::Integer),
        _ => Some(Value::Text(text.to_owned())),
    }
}

fn unknown(table: &Table, column: impl std::fmt::Display) -> Error {
    Error::Sync(SyncFault::Protocol(format!("table {} has no column {column}", table.name)))
}

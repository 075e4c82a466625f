//! The search for what a staged snapshot changes: compared by key range, outside the transaction that merges (B8).

use std::collections::HashSet;

use rusqlite::Row;

use super::{Staging, column, name, query, quoted, table};
use crate::engine::Engine;
use crate::engine::capture::patch::RowKey;
use crate::engine::database::OURS;
use crate::engine::rebase::Image;
use crate::engine::schema::model::Table;
use crate::error::Result;
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// The search for rows in which base and staging differ, slice by slice.
///
/// It may be dropped and begun anew at any moment. Keys that it found stay good while acks go to both sides; whatever
/// an edit touches is named as well, because there the table is not the base.
#[derive(Debug)]
pub(crate) struct Search {
    tables: Vec<TableNumber>,
    after: Option<Value>,
    found: HashSet<RowKey>,
}

impl Search {
    pub(crate) fn new(engine: &Engine) -> Self {
        let mut tables: Vec<TableNumber> = engine.schema.tables.keys().copied().collect();
        tables.sort_unstable();
        tables.reverse();
        Self { tables, after: None, found: engine.queue.rows() }
    }

    /// Compares the next rows; `false` when there are none left.
    pub(crate) fn slice(&mut self, engine: &Engine, rows: usize) -> Result<bool> {
        let Some(number) = self.tables.last().copied() else { return Ok(false) };
        let end = compare(Staging::of(engine), number, self.after.as_ref(), rows, &mut self.found)?;
        self.after = end;
        if self.after.is_none() {
            self.tables.pop();
        }
        self.found.extend(engine.queue.rows());
        Ok(!self.tables.is_empty())
    }

    /// The differing rows as they are staged.
    pub(crate) fn images(mut self, engine: &Engine) -> Result<Vec<Image>> {
        self.found.extend(engine.queue.rows());
        let mut keys: Vec<RowKey> = self.found.into_iter().collect();
        keys.sort_by(|left, right| left.table.cmp(&right.table).then(order(&left.key, &right.key)));
        keys.iter().map(|row| staged(Staging::of(engine), row)).collect()
    }
}

fn order(left: &Value, right: &Value) -> std::cmp::Ordering {
    match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        _ => std::cmp::Ordering::Equal,
    }
}

/// Compares the keys after `after` of one table, at most `rows` of them; the last key compared, `None` at the end.
fn compare(
    at: Staging<'_>,
    number: TableNumber,
    after: Option<&Value>,
    rows: usize,
    found: &mut HashSet<RowKey>,
) -> Result<Option<Value>> {
    let table = table(at.schema, number)?;
    let Some(through) = slice_end(at, table, after, rows)? else { return Ok(None) };
    let (own, staged) = (quoted(&table.name), name(table));
    let (own_key, staged_key) = (quoted(&table.key_column().name), column(table.key_column().id));
    let differs: Vec<String> = table
        .columns
        .iter()
        .map(|one| format!("o.{} IS NOT s.{}", quoted(&one.name), column(one.id)))
        .collect();
    let lower = if after.is_some() { "> ?2" } else { "IS NOT ?2" };
    let sql = format!(
        "{OURS}SELECT o.{own_key} FROM {own} o LEFT JOIN {staged} s ON s.{staged_key} = o.{own_key}
           WHERE o.{own_key} {lower} AND o.{own_key} <= ?1 AND ({0})
         UNION ALL
         SELECT s.{staged_key} FROM {staged} s
           WHERE s.{staged_key} {lower} AND s.{staged_key} <= ?1
             AND NOT EXISTS (SELECT 1 FROM {own} o WHERE o.{own_key} = s.{staged_key})",
        differs.join(" OR ")
    );
    let nothing = Value::Null;
    let keys: Vec<Value> =
        query(at, &sql, [&through, after.unwrap_or(&nothing)], |row| row.get(0))?;
    found.extend(keys.into_iter().map(|key| RowKey { table: number, key }));
    Ok(Some(through))
}

/// The key at which a slice ends: the `rows`-th of either side, whichever is lower; else the last there is.
fn slice_end(
    at: Staging<'_>,
    table: &Table,
    after: Option<&Value>,
    rows: usize,
) -> Result<Option<Value>> {
    let sides = [
        (quoted(&table.name), quoted(&table.key_column().name)),
        (name(table), column(table.key_column().id)),
    ];
    let lower = if after.is_some() { "> ?1" } else { "IS NOT ?1" };
    let nothing = Value::Null;
    let mut ends = Vec::new();
    let mut last = Vec::new();
    for (from, key) in sides {
        let nth = format!(
            "{OURS}SELECT {key} FROM {from} WHERE {key} {lower} ORDER BY {key} LIMIT 1 OFFSET {rows}"
        );
        let most = format!("{OURS}SELECT max({key}) FROM {from} WHERE {key} {lower}");
        let after = after.unwrap_or(&nothing);
        ends.extend(query(at, &nth, [after], |row| row.get::<_, Value>(0))?);
        last.extend(query(at, &most, [after], |row| row.get::<_, Value>(0))?);
    }
    last.retain(|key| !key.is_null());
    Ok(match ends.into_iter().min_by(order) {
        Some(end) => Some(end),
        None => last.into_iter().max_by(order),
    })
}

/// The staged row of this key, as an image.
fn staged(at: Staging<'_>, row: &RowKey) -> Result<Image> {
    let table = table(at.schema, row.table)?;
    let others: Vec<ColumnId> = table
        .columns
        .iter()
        .enumerate()
        .filter(|(position, _)| *position != table.key)
        .map(|(_, column)| column.id)
        .collect();
    let names: Vec<String> =
        others.iter().map(|id| column(*id)).chain([column(table.key_column().id)]).collect();
    let sql = format!(
        "{OURS}SELECT {} FROM {} WHERE {} = ?1",
        names.join(", "),
        name(table),
        column(table.key_column().id)
    );
    let read = |found: &Row<'_>| {
        others
            .iter()
            .enumerate()
            .map(|(index, id)| Ok((*id, found.get(index)?)))
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    let cells = query(at, &sql, [&row.key], read)?.pop();
    Ok(Image { table: row.table, key: row.key.clone(), row: cells })
}

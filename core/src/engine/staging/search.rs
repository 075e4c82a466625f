//! Finds what a staged snapshot changes: compared by key range, outside the transaction that merges
//! it.

use std::collections::HashSet;

use rusqlite::Row;

use super::{Staging, column, name, query, quoted, table};
use crate::engine::Engine;
use crate::engine::database::OURS;
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::RowKey;
use crate::engine::schema::model::Table;
use crate::error::Result;
use crate::ids::{ColumnId, TableNumber};
use crate::value::Value;

/// The search for rows in which base and staging differ, slice by slice.
///
/// It may be dropped and started again at any time. Found keys stay valid while acks go to both
/// sides; rows with pending edits are included as well, because their visible row is not the base
/// row.
#[derive(Debug)]
pub(crate) struct Search {
    tables: Vec<TableNumber>,
    after: Option<Value>,
    found: HashSet<RowKey>,
}

impl Search {
    pub(crate) fn new(engine: &Engine) -> Self {
        let mut tables: Vec<TableNumber> =
            engine.schema.in_rows().map(|table| table.number).collect();
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

    /// The differing rows as staged. Edits of a removed table have no row there.
    pub(crate) fn images(mut self, engine: &Engine) -> Result<Vec<ServerRow>> {
        self.found.extend(engine.queue.rows());
        let is_there = |row: &RowKey| engine.schema.tables.contains_key(&row.table);
        let mut keys: Vec<RowKey> = self.found.into_iter().filter(is_there).collect();
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

/// Compares the keys after `after` of one table, at most `rows` of them; returns the last key
/// compared, `None` at the end.
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

/// The key at which a slice ends: the lower of the `rows`-th keys of both sides; else the last key.
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
fn staged(at: Staging<'_>, row: &RowKey) -> Result<ServerRow> {
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
    Ok(ServerRow { table: row.table, key: row.key.clone(), row: cells })
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use rejoin_protocol::wire::row::RowSet;
    use rejoin_protocol::wire::snapshot::KeyRange;
    use serde_json::value::RawValue;

    use super::*;
    use crate::engine::change::Origin;
    use crate::engine::rebase::Batch;
    use crate::engine::staging;
    use crate::engine::tests::{engine, table};

    /// Rows of both tables as a page: `(key, body)`.
    fn sets(rows: &[(i64, i64)]) -> Vec<RowSet> {
        let written = |key: &dyn Fn(i64) -> String| {
            let rows: Vec<String> = rows
                .iter()
                .map(|(number, body)| format!("[{},\"{body}\"]", key(*number)))
                .collect();
            RawValue::from_string(format!("[{}]", rows.join(","))).unwrap()
        };
        let set = |name: &str, rows| RowSet {
            table_name: name.to_owned(),
            columns: vec!["id".to_owned(), "body".to_owned()],
            rows,
        };
        vec![
            set("numbered", written(&|number| number.to_string())),
            set("texts", written(&|number| format!("\"k{number}\""))),
        ]
    }

    fn some_rows(rng: &mut Rng) -> Vec<(i64, i64)> {
        let keys: Vec<i64> = (-20..20).filter(|_| rng.bool()).collect();
        keys.into_iter().map(|key| (key, rng.i64(0..3))).collect()
    }

    #[test]
    fn slices_of_any_size_find_exactly_the_differences() {
        for seed in 0..40 {
            let mut rng = Rng::with_seed(seed);
            let columns = |id: &'static str| [("id", id), ("body", "string")];
            let (_folder, mut engine) = engine(vec![
                table("numbered", &columns("int64"), vec![]),
                table("texts", &columns("string"), vec![]),
            ]);
            let (base, staged) = (some_rows(&mut rng), some_rows(&mut rng));
            engine.apply(Batch { sets: sets(&base), ..Batch::default() }).unwrap();
            engine
                .write(Origin::Remote, |engine| {
                    staging::begin(Staging::of(engine))?;
                    staging::stage(Staging::of(engine), &[], &sets(&staged), &[])
                })
                .unwrap();
            let differ = |key: &i64| {
                let of = |rows: &[(i64, i64)]| rows.iter().find(|row| row.0 == *key).copied();
                of(&base) != of(&staged)
            };
            let expected = 2 * (-20..20).filter(differ).count();
            let size = rng.usize(1..50);
            let mut search = Search::new(&engine);
            let mut slices = 0;
            while search.slice(&engine, size).unwrap() {
                slices += 1;
                assert!(slices < 1_000, "seed {seed}: it ends");
            }
            let images = search.images(&engine).unwrap();
            assert_eq!(images.len(), expected, "seed {seed}, slices of {size}");
            engine.apply(Batch { images, ..Batch::default() }).unwrap();
            let mut again = Search::new(&engine);
            while again.slice(&engine, size).unwrap() {}
            assert!(again.images(&engine).unwrap().is_empty(), "seed {seed}: base is staging now");
        }
    }

    #[test]
    fn range_is_swept_by_its_own_kind_of_key() {
        let (_folder, mut engine) =
            engine(vec![table("numbered", &[("id", "int64"), ("body", "string")], vec![])]);
        let range = KeyRange {
            table_name: "numbered".to_owned(),
            after: Some("2".to_owned()),
            through: Some("10".to_owned()),
        };
        let rows = sets(&[(1, 0), (2, 0), (3, 0), (10, 0), (11, 0)]).remove(0);
        engine
            .write(Origin::Remote, |engine| {
                let at = Staging::of(engine);
                staging::begin(at)?;
                staging::stage(at, &[], &[rows], &[])?;
                staging::stage(at, &[range], &[], &[])
            })
            .unwrap();
        let mut search = Search::new(&engine);
        while search.slice(&engine, 2).unwrap() {}
        let left: Vec<Value> =
            search.images(&engine).unwrap().into_iter().map(|image| image.key).collect();
        assert_eq!(left, [1.into(), 2.into(), 11.into()]);
    }
}

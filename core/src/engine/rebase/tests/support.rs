//! Helpers of these tests: a table of notes, its images, and the visible rows.

use rejoin_protocol::wire::row::RowSet;
use serde_json::value::RawValue;
use tempfile::TempDir;

use super::super::{Applied, Batch, ServerVerdict};
use crate::engine::Engine;
use crate::engine::queue::mutation::Mutation;
use crate::engine::queue::offer::Offer;
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::RowKey;
use crate::engine::tests::{engine, table};
use crate::ids::ColumnId;
use crate::value::Value;
use rejoin_protocol::wire::push::Ending;

pub(super) fn notes() -> (TempDir, Engine) {
    engine(vec![table("notes", &[("id", "string"), ("body", "string"), ("n", "int64")], vec![])])
}

/// The identity of a column.
pub(super) fn id_of(engine: &Engine, table: &str, column: &str) -> ColumnId {
    let table = engine.schema().named(table).unwrap();
    table.columns.iter().find(|known| known.name == column).unwrap().id
}

/// A row of a table, by column names; `None` for an absent one.
pub(super) fn image(
    engine: &Engine,
    table: &str,
    key: &str,
    row: Option<&[(&str, Value)]>,
) -> ServerRow {
    let row = row.map(|cells| {
        cells.iter().map(|(name, value)| (id_of(engine, table, name), value.clone())).collect()
    });
    ServerRow { table: engine.schema().named(table).unwrap().number, key: key.into(), row }
}

/// A batch with the current rows of notes.
pub(super) fn images(engine: &Engine, rows: &[(&str, Option<&str>, i64)]) -> Batch {
    let image = |(key, body, n): &(&str, Option<&str>, i64)| {
        let cells = body.map(|body| [("body", body.into()), ("n", (*n).into())]);
        image(engine, "notes", key, cells.as_ref().map(|cells| &cells[..]))
    };
    Batch { images: rows.iter().map(image).collect(), ..Batch::default() }
}

/// Rows as in a page.
pub(in crate::engine::rebase) fn set(table: &str, columns: &[&str], rows: &str) -> RowSet {
    RowSet {
        table_name: table.to_owned(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        rows: RawValue::from_string(rows.to_owned()).unwrap(),
    }
}

/// The visible notes, `key body n`.
pub(super) fn shown(engine: &Engine) -> String {
    let sql =
        "SELECT id || ' ' || coalesce(body, '.') || ' ' || coalesce(n, '.') FROM notes ORDER BY id";
    column(engine, sql).join("; ")
}

/// The first column of a query.
pub(super) fn column(engine: &Engine, sql: &str) -> Vec<String> {
    engine.open_reader().unwrap().query(sql, &[], |row| row.get(0)).unwrap()
}

/// A note in the base.
pub(super) fn base(engine: &Engine, key: &str) -> Option<Vec<Value>> {
    let table = engine.schema().named("notes").unwrap().number;
    engine.base_row(&RowKey { table, key: key.into() }).unwrap()
}

/// Sends everything that can be sent, as request `request`.
pub(super) fn send(engine: &mut Engine, request: i64) -> Vec<Offer> {
    let seqs: Vec<_> = engine.queue_view().sendable(100).unwrap().iter().map(|m| m.seq).collect();
    engine.mark_sent(&seqs, request).unwrap()
}

/// A verdict on the current attempt of a mutation.
pub(super) fn verdict(mutation: &Mutation, ending: Ending) -> ServerVerdict {
    ServerVerdict { id: mutation.id, attempt: mutation.attempt, ending, code: None, detail: None }
}

/// The server's number of nails in the shop of the action tests.
pub(super) fn nails(engine: &Engine, n: i64) -> Batch {
    let images = vec![image(engine, "stock", "nails", Some(&[("n", n.into())]))];
    Batch { images, detect_conflicts: true, ..Batch::default() }
}

pub(super) fn pull_nails(engine: &mut Engine, n: i64) -> Applied {
    let batch = nails(engine, n);
    engine.apply(batch).unwrap()
}

/// The visible number of nails.
pub(super) fn left(engine: &Engine) -> String {
    column(engine, "SELECT CAST(n AS TEXT) FROM stock WHERE id = 'nails'").join(" ")
}

/// The only mutation of the queue.
pub(super) fn only(engine: &Engine) -> Mutation {
    let pending = engine.pending().unwrap();
    let [mutation] = pending.as_slice() else { panic!("{pending:?}") };
    mutation.clone()
}

//! Rows whose image in a push response is left for a later pull, because many later edits of this
//! device cover them.
//!
//! To write an image, every later edit of its row is undone and redone. A row that the app writes
//! with each of its transactions would cost that for all of them after each push: its accepted edits
//! become the base as they are, and the row is pulled again.

use std::collections::HashMap;

use rejoin_protocol::wire::push::{Ending, PushAnswer};

use super::{SentGroup, fact};
use crate::engine::Engine;
use crate::engine::queue::mutation::MutationState;
use crate::engine::queue::store;
use crate::engine::row_state::Waiting;
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::{PatchKind, RowKey, RowPatch};
use crate::error::Result;
use crate::ids::Seq;

/// From this number of later edits of a row, undoing them costs more than another image.
const MANY: usize = 64;

/// The covered rows, each with the last edit of it that this response accepts; empty unless the
/// response accepts everything and one of its rows has [`MANY`] later edits.
pub(super) fn covered(
    engine: &Engine,
    sent: &[SentGroup],
    answer: &PushAnswer,
    images: &[ServerRow],
) -> Result<HashMap<RowKey, Seq>> {
    let none = HashMap::new();
    let is_plain = answer.verdicts.len() == sent.len()
        && answer.verdicts.iter().all(|one| one.verdict == Ending::Accepted && one.left.is_empty());
    if !is_plain || engine.queue.has_actions() || fact::SnapshotProgress::load(engine)?.is_some() {
        return Ok(none);
    }
    let mut edits: HashMap<&RowKey, usize> = HashMap::new();
    for row in sent.iter().flat_map(|one| &one.rows) {
        *edits.entry(row).or_default() += 1;
    }
    let states = engine.queue.states();
    let states = states.read();
    let (mut covered, mut is_worth_it) = (HashMap::new(), false);
    let is_versioned = |image: &ServerRow| {
        engine.schema.tables.get(&image.table).is_none_or(|table| table.is_versioned())
    };
    for image in images.iter().filter(|image| image.row.is_some() && !is_versioned(image)) {
        let row = RowKey { table: image.table, key: image.key.clone() };
        let edits = edits.get(&row).copied().unwrap_or_default();
        let Some((accepted, later)) = states.at(row.table, &row.key).split_at_checked(edits) else {
            continue;
        };
        let is_accepted = |one: &Waiting| {
            one.kind == PatchKind::Update && sent.iter().any(|sent| sent.seq == one.seq)
        };
        let is_applied = |one: &Waiting| one.state != MutationState::Parked;
        if let Some(last) = accepted.last()
            && accepted.iter().all(is_accepted)
            && later.first().is_some_and(is_applied)
        {
            is_worth_it |= later.len() >= MANY;
            covered.insert(row, last.seq);
        }
    }
    if !is_worth_it {
        return Ok(none);
    }
    // What the app wrote into a column of the server must not stay in the base.
    for one in sent {
        let effect = store::read_effect(engine.db.conn(), one.seq)?.unwrap_or_default();
        let of_server = |patch: &RowPatch| {
            let table = engine.schema.tables.get(&patch.row.table);
            let column = |id| table.and_then(|table| table.columns.get(table.position(id)?));
            let mut changed = patch.columns.iter().filter(|known| known.is_change());
            changed.any(|known| column(known.column).is_none_or(|column| column.protected))
        };
        for patch in effect.rows.iter().filter(|patch| of_server(patch)) {
            covered.remove(&patch.row);
        }
    }
    Ok(covered)
}

#[cfg(test)]
mod tests {
    use rejoin_protocol::Manifest;
    use rejoin_protocol::wire::push::Verdict;
    use rejoin_protocol::wire::row::RowImage;

    use super::super::{ActionParts, Known, Limits, batch, request};
    use super::*;
    use crate::engine::tests::{engine, table};

    /// Regression: each response undid and redid every later edit of the row.
    #[test]
    fn push_of_often_edited_row_undoes_only_what_is_accepted() {
        let notes = table("notes", &[("id", "string"), ("body", "string")], Vec::new());
        let (_folder, mut engine) = engine(Manifest::new(1, vec![notes]).tables);
        let image = |body: &str| {
            serde_json::from_value::<RowImage>(serde_json::json!({
                "table_name": "notes", "id": "a", "data": {"id": "a", "body": body}
            }))
            .unwrap()
        };
        let insert = "INSERT INTO notes (id, body) VALUES ('a', 'new')";
        engine.execute(insert, &[]).unwrap();
        for n in 0..200 {
            let update = format!("UPDATE notes SET body = '{n}' WHERE id = 'a'");
            engine.execute(&update, &[]).unwrap();
        }
        let limits =
            Limits { groups: 50, body: 1 << 20, stages: false, parts: ActionParts::default() };
        let mut undone = Vec::new();
        for (number, last) in [(1, "48"), (2, "98"), (3, "148"), (4, "198"), (5, "199")] {
            let sent = request(&mut engine, number, limits, &Known::default()).unwrap();
            let sent = sent.request.unwrap().sent;
            let accepted =
                |one: &SentGroup| Verdict::new(one.id.to_string(), one.attempt, Ending::Accepted);
            let verdicts = sent.iter().map(accepted).collect();
            let answer = PushAnswer { verdicts, rows: vec![image(last)], ..PushAnswer::default() };
            let applied = batch(&engine, &sent, &answer).unwrap();
            undone.push(engine.apply(applied).unwrap().affected);
            let body: String =
                engine.db.conn().query_row("SELECT body FROM notes", [], |row| row.get(0)).unwrap();
            assert_eq!(body, "199");
        }
        // The first push has the row's insert; during the third, fewer than `MANY` later edits wait.
        assert_eq!(undone, [201, 50, 101, 51, 1]);
    }
}

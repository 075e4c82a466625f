//! What the server of the property does: it accepts every mutation, and changes rows of its own.

use fastrand::Rng;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::statement::{BODIES, IDS};
use super::{Coverage, Step, World, rows};
use crate::engine::rebase::{Batch, ServerVerdict};
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::RowKey;
use crate::engine::tests::text_of;
use crate::value::Value;
use rejoin_protocol::wire::push::Ending;
use rejoin_protocol::wire::row::RowSet;

/// A row that the server writes or removes.
struct Edit {
    table: &'static str,
    key: &'static str,
    /// The second column and `n`.
    row: Option<(Option<&'static str>, i64)>,
}

impl Edit {
    fn second(&self) -> &'static str {
        if self.table == "item" { "body" } else { "item" }
    }

    /// The statement of SQLite.
    fn sql(&self) -> String {
        let Self { table, key, .. } = self;
        let Some((text, n)) = self.row else {
            return format!("DELETE FROM {table} WHERE id = '{key}'; ");
        };
        let text = text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
        let second = self.second();
        format!(
            "INSERT INTO {table} (id, {second}, n) VALUES ('{key}', {text}, {n})
             ON CONFLICT (id) DO UPDATE SET {second} = excluded.{second}, n = excluded.n; "
        )
    }
}

impl World {
    /// The server accepts everything that is pending: no row changes.
    pub(super) fn accept(&mut self) {
        self.requests += 1;
        loop {
            let seqs: Vec<_> =
                self.engine.queue_view().sendable(100).unwrap().iter().map(|one| one.seq).collect();
            if seqs.is_empty() {
                return;
            }
            let sent = self.engine.mark_sent(&seqs, self.requests).unwrap();
            let verdicts = sent.iter().map(|offer| ServerVerdict {
                id: offer.mutation.id,
                attempt: offer.mutation.attempt,
                ending: Ending::Accepted,
                code: None,
                detail: None,
            });
            let verdicts = verdicts.collect();
            let rows = sent.iter().flat_map(|offer| &offer.rows);
            let images = rows.map(|offered| self.row_of(&offered.row)).collect();
            self.engine.apply(Batch { verdicts, images, ..Batch::default() }).unwrap();
        }
    }

    /// The row as it is, and as the server has it after it has accepted everything.
    fn row_of(&self, row: &RowKey) -> ServerRow {
        let table = self.engine.schema().table(row.table).unwrap();
        let name = |name: &str| if name == "more" { "NULL" } else { name }.to_owned();
        let columns = table.columns.iter().skip(1);
        let (ids, names): (Vec<_>, Vec<_>) =
            columns.map(|column| (column.id, name(&column.name))).unzip();
        let (name, key) = (&table.name, text_of(&row.key));
        let sql = format!("SELECT {} FROM {name} WHERE id = {key}", names.join(", "));
        let found = rows(&self.plain, &sql).unwrap().pop();
        let cells = found.map(|values| ids.into_iter().zip(values).collect());
        ServerRow { table: table.number, key: row.key.clone(), row: cells }
    }

    /// Rows of the server: written ones as in a page, then removed ones, each in the order of tables
    /// and keys.
    pub(super) fn remote(
        &mut self,
        rng: &mut Rng,
        seen: &mut Coverage,
    ) -> Result<(String, Step), String> {
        let mut edits = self.edits_of_server(rng);
        edits.sort_by_key(|edit| (edit.row.is_none(), edit.table == "item", edit.key));
        seen.remote_rows += edits.len() as u64;
        let sql: String = edits.iter().map(Edit::sql).collect();
        let sets = ["comment", "item"].map(|table| self.set_of(table, &edits));
        let removed = edits.iter().filter(|edit| edit.row.is_none());
        let images = removed.map(|edit| {
            let table = self.engine.schema().named(edit.table).unwrap().number;
            ServerRow { table, key: edit.key.into(), row: None }
        });
        let batch = Batch { sets: sets.into(), images: images.collect(), ..Batch::default() };
        self.engine.apply(batch).map_err(|error| format!("{sql}: {error}"))?;
        let theirs = self.plain.execute_batch(&format!("BEGIN; {sql} COMMIT"));
        let failed = self.engine.left_out().unwrap();
        match theirs {
            Ok(()) if failed.is_empty() => Ok((format!("remote {sql}"), Step::Done)),
            Err(_)
                if failed.iter().all(|part| part.part.starts_with("trigger "))
                    && !failed.is_empty() =>
            {
                Ok((String::new(), Step::Disabled))
            }
            theirs => Err(format!("remote {sql}: {failed:?}, in SQLite {theirs:?}")),
        }
    }

    /// The written rows of a table, with all of its columns.
    fn set_of(&self, table: &'static str, edits: &[Edit]) -> RowSet {
        let known = self.engine.schema().named(table).unwrap();
        let columns: Vec<String> = known.columns.iter().map(|one| one.name.clone()).collect();
        let of_table = edits.iter().filter(|edit| edit.table == table);
        let rows = of_table.filter_map(|edit| {
            let (text, n) = edit.row?;
            let cell = |name: &String| match name.as_str() {
                "id" => json!(edit.key),
                "n" => json!(n),
                name if name == edit.second() => json!(text),
                _ => json!(null),
            };
            Some(columns.iter().map(cell).collect::<Vec<_>>())
        });
        let rows = to_raw_value(&rows.collect::<Vec<_>>()).unwrap();
        RowSet { table_name: table.to_owned(), columns, rows }
    }

    /// Edits that keep the references.
    fn edits_of_server(&self, rng: &mut Rng) -> Vec<Edit> {
        let mut keys = IDS.to_vec();
        rng.shuffle(&mut keys);
        let items = rows(&self.plain, "SELECT id FROM item").unwrap();
        let mut out = Vec::new();
        let (removed, kept) = (keys[0], &keys[1..]);
        if rng.bool() {
            let of = format!("SELECT id FROM comment WHERE item = '{removed}'");
            let comments = rows(&self.plain, &of).unwrap();
            let of_it = |id: &&&'static str| comments.contains(&vec![Value::from(**id)]);
            let of_it = IDS.iter().filter(of_it);
            out.extend(of_it.map(|key| Edit { table: "comment", key, row: None }));
            out.push(Edit { table: "item", key: removed, row: None });
        }
        for id in kept.iter().take(rng.usize(..3)) {
            let body = *rng.choice(BODIES).unwrap();
            out.push(Edit { table: "item", key: id, row: Some((body, rng.i64(0..6))) });
            let key = *rng.choice(IDS).unwrap();
            let is_known = out.iter().any(|edit| (edit.table, edit.key) == ("comment", key));
            if rng.bool() && !is_known && items.contains(&vec![Value::from(*id)]) {
                let row = Some((Some(*id), rng.i64(0..6)));
                out.push(Edit { table: "comment", key, row });
            }
        }
        out
    }
}

//! Every version that a row of the server ever had, with its author.

use std::collections::{BTreeMap, HashMap};

use rejoin_core::value::Value;
use rejoin_plain::Written;
use rejoin_protocol::time;
use serde_json::Value as Json;

/// A row's table and key.
pub(super) type Name = (String, String);

/// The columns that are written with distinct values.
pub(super) const COLUMNS: [&str; 5] = ["title", "body", "size", "due", "note_id"];

/// The checked part of a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Row {
    /// Whether it is not soft-deleted.
    pub(super) is_there: bool,
    /// Its cells that are not NULL, in the format of [`of_json`].
    pub(super) cells: BTreeMap<&'static str, String>,
    pub(super) version: String,
}

/// One version of a row.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// The device that pushed it; `None` for an outside writer.
    pub(super) by: Option<usize>,
    pub(super) before: Option<Row>,
    pub(super) after: Option<Row>,
    /// Its position among all changes, from 1.
    pub(super) tick: usize,
}

impl Change {
    /// Whether the row is there, and not soft-deleted.
    pub(super) fn is_there(&self) -> bool {
        self.after.as_ref().is_some_and(|row| row.is_there)
    }
}

/// All changes.
#[derive(Debug, Default)]
pub(super) struct History {
    changes: HashMap<Name, Vec<Change>>,
    tick: usize,
}

impl History {
    pub(super) fn record(
        &mut self,
        by: Option<usize>,
        written: Vec<Written>,
    ) -> Vec<(Name, Change)> {
        let mut recorded = Vec::with_capacity(written.len());
        for Written { table, id, row } in written {
            self.tick += 1;
            let name = (table, id);
            let changes = self.changes.entry(name.clone()).or_default();
            let before = changes.last().and_then(|change| change.after.clone());
            let change = Change { by, before, after: row.as_ref().map(row_of), tick: self.tick };
            recorded.push((name, change.clone()));
            changes.push(change);
        }
        recorded
    }

    /// The number of changes.
    pub(super) fn tick(&self) -> usize {
        self.tick
    }

    /// The versions of a row, oldest first.
    pub(super) fn versions(&self, name: &Name) -> &[Change] {
        self.changes.get(name).map_or(&[], Vec::as_slice)
    }

    /// The current row.
    pub(super) fn now(&self, name: &Name) -> Option<&Row> {
        self.versions(name).last().and_then(|change| change.after.as_ref())
    }

    /// Whether a writer other than this device changed the row after this position.
    pub(super) fn others_wrote(&self, name: &Name, at: usize, after: usize) -> bool {
        self.versions(name).iter().any(|change| change.tick > after && change.by != Some(at))
    }

    /// Whether the row was deleted after this position.
    pub(super) fn was_deleted(&self, name: &Name, after: usize) -> bool {
        self.versions(name).iter().any(|change| change.tick > after && !change.is_there())
    }

    /// Whether a deleted row came back between these two positions. A device that has certainly
    /// read only what was before the first may have pulled the delete alone, because a page may end
    /// after it.
    pub(super) fn came_back(&self, name: &Name, known: usize, until: usize) -> bool {
        self.versions(name).windows(2).any(|pair| {
            !pair[0].is_there() && pair[1].is_there() && (known + 1..=until).contains(&pair[1].tick)
        })
    }

    /// The live rows of a table, by key.
    pub(super) fn live_rows(&self, table: &str) -> BTreeMap<&str, &Row> {
        let rows = self.changes.iter().filter(|((of, _), _)| of == table);
        let now = rows.filter_map(|((_, id), changes)| Some((id.as_str(), changes.last()?)));
        now.filter_map(|(id, change)| Some((id, change.after.as_ref().filter(|row| row.is_there)?)))
            .collect()
    }
}

impl Row {
    pub(super) fn line(&self, id: &str) -> String {
        let cells = COLUMNS.iter().map(|column| self.cells.get(column).map_or("-", String::as_str));
        format!("{id}|{}", cells.collect::<Vec<_>>().join("|"))
    }
}

fn row_of(json: &Json) -> Row {
    let cell = |column: &&'static str| Some((*column, of_json(column, json.get(*column)?)?));
    Row {
        is_there: json["deleted_at"].is_null(),
        cells: COLUMNS.iter().filter_map(cell).collect(),
        version: json["updated_at"].as_str().unwrap_or_default().to_owned(),
    }
}

/// A cell as text, the same for both sides: an instant in microseconds. `None` for NULL.
pub(super) fn of_json(column: &str, value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::String(text) => Some(of_text(column, text)),
        other => Some(other.to_string()),
    }
}

/// The same for a value of a device.
pub(super) fn of_value(column: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(of_text(column, text)),
        Value::Integer(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

/// The same for a cell of a query result.
pub(super) fn of_text(column: &str, text: &str) -> String {
    let micros = if column == "due" { time::parse(text) } else { None };
    micros.map_or_else(|| text.to_owned(), |micros| micros.to_string())
}

//! Every version that a row of the server ever had, with its author.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::SideSession;

/// A row's table and key.
pub(super) type Name = (String, String);

/// Cells by column; NULL cells are left out.
pub(super) type Row = BTreeMap<String, String>;

/// Rows by name.
pub(super) type Rows = BTreeMap<Name, Row>;

/// One version of a row.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) name: Name,
    /// The device that pushed it; `None` for an outside writer.
    pub(super) by: Option<usize>,
    pub(super) before: Option<Row>,
    pub(super) after: Option<Row>,
}

impl Change {
    /// Whether it changes who may see an item, or may write its parts; a deleted item has parts as
    /// well.
    fn changes_access(&self) -> bool {
        let seen =
            |row: &Option<Row>| row.as_ref().map(|row| (is_live(row), row.get("user_id").cloned()));
        self.name.0 == "items" && seen(&self.before) != seen(&self.after)
    }
}

/// All versions, oldest first: the number of a change is its position from 1.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) changes: Vec<Change>,
    pub(super) now: Rows,
}

impl History {
    pub(super) fn tick(&self) -> usize {
        self.changes.len()
    }

    /// Records the current rows; returns how many changed.
    pub(super) fn record_changes(&mut self, rows: Rows, by: Option<usize>) -> usize {
        let tick = self.tick();
        let before = std::mem::replace(&mut self.now, rows);
        for (name, old) in &before {
            let new = self.now.get(name);
            if new != Some(old) {
                let (name, before, after) = (name.clone(), Some(old.clone()), new.cloned());
                self.changes.push(Change { name, by, before, after });
            }
        }
        for (name, new) in self.now.iter().filter(|(name, _)| !before.contains_key(*name)) {
            let after = Some(new.clone());
            self.changes.push(Change { name: name.clone(), by, before: None, after });
        }
        self.tick() - tick
    }

    /// Whether a row ever had this value in a column.
    pub(super) fn ever(&self, name: &Name, column: &str, value: &str) -> bool {
        let mut changes = self.changes.iter().filter(|change| change.name == *name);
        let has = |row: &Option<Row>| {
            row.as_ref().and_then(|row| row.get(column)).is_some_and(|cell| cell == value)
        };
        changes.any(|change| has(&change.before) || has(&change.after))
    }

    /// Whether a writer other than this device changed the row after this position, or changed the
    /// owner of, or deleted, its item.
    pub(super) fn others_wrote(&self, name: &Name, at: usize, after: usize) -> bool {
        let parents = self.parents(name);
        let touches = |change: &Change| {
            change.name == *name || change.changes_access() && parents.contains(&&*change.name.1)
        };
        let later = self.changes.iter().skip(after);
        later.filter(|change| touches(change)).any(|change| change.by != Some(at))
    }

    /// The items that a part ever belonged to; other rows have no parents.
    fn parents(&self, name: &Name) -> BTreeSet<&str> {
        let own = self.changes.iter().filter(|change| change.name == *name);
        let rows = own.flat_map(|change| change.before.iter().chain(&change.after));
        rows.filter_map(|row| row.get("item_id").map(String::as_str)).collect()
    }
}

/// Whether the server shows it to users with access.
pub(super) fn is_live(row: &Row) -> bool {
    !row.contains_key("deleted_at")
}

/// All rows of these tables, deleted ones too.
pub(super) fn read(side: &SideSession, tables: impl Iterator<Item = &'static str>) -> Rows {
    let tables: Vec<&str> = tables.collect();
    let queries: Vec<String> =
        tables.iter().map(|table| format!("SELECT * FROM {table}")).collect();
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let mut rows = Rows::new();
    for (table, set) in tables.iter().zip(side.query(&queries)) {
        for cells in set.rows {
            let cells = set.columns.iter().zip(cells);
            let row: Row = cells.filter_map(|(name, cell)| Some((name.clone(), cell?))).collect();
            let id = row.get("id").cloned().unwrap_or_default();
            rows.insert(((*table).to_owned(), id), row);
        }
    }
    rows
}

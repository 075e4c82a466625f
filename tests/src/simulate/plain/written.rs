//! The edits of users: each edit of a row with its values, and what was known when it was made.

use fastrand::Rng;
use rejoin_core::engine::queue::mutation::Mutation;
use rejoin_core::engine::rows::patch::{PatchKind, RowPatch};
use rejoin_core::engine::schema::model::Schema;
use rejoin_core::ids::MutationId;

use super::history::{COLUMNS, Name, of_value};
use super::server::BAD;

/// What an edit did to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Update,
    Delete,
}

/// A cell that an edit changed: its column, its old value, its new value.
pub(super) type Cell = (&'static str, Option<String>, Option<String>);

/// An edit of one row.
#[derive(Debug, Clone)]
pub(super) struct WrittenEdit {
    pub(super) at: usize,
    pub(super) id: MutationId,
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) cells: Vec<Cell>,
    /// The time of the edit, by the device's clock.
    pub(super) time_ms: i64,
    /// The number of the server's changes when it was made.
    pub(super) tick: usize,
    /// The number of the server's changes that the device certainly knew.
    pub(super) known: usize,
    /// Whether the server's database never accepts it.
    pub(super) bad: bool,
    /// Whether the app discarded it, or it was discarded with another one.
    pub(super) discarded: bool,
}

/// The edits of a mutation.
pub(super) fn of(
    schema: &Schema,
    mutation: &Mutation,
    at: usize,
    tick: usize,
    known: usize,
) -> Vec<WrittenEdit> {
    let patches = mutation.effect.rows.iter();
    patches
        .filter_map(|patch| {
            let name = name(schema, patch)?;
            let (kind, cells) = cells(schema, patch)?;
            let has = |cell: &Cell| cell.2.as_ref().is_some_and(|new| new.contains(BAD));
            let bad = cells.iter().any(has);
            let (id, time_ms, discarded) = (mutation.id, mutation.time_ms, false);
            Some(WrittenEdit { at, id, name, kind, cells, time_ms, tick, known, bad, discarded })
        })
        .collect()
}

/// The name of a patch's row.
pub(super) fn name(schema: &Schema, patch: &RowPatch) -> Option<Name> {
    let table = schema.table(patch.row.table)?;
    Some((table.name.clone(), patch.row.key.as_text()?.to_owned()))
}

/// The checked cells that a patch changed.
pub(super) fn cells(schema: &Schema, patch: &RowPatch) -> Option<(Kind, Vec<Cell>)> {
    let table = schema.table(patch.row.table)?;
    let mut cells = Vec::new();
    let mut kind = match patch.kind {
        PatchKind::Insert => Kind::Create,
        PatchKind::Update => Kind::Update,
        PatchKind::Delete => Kind::Delete,
    };
    for column in patch.columns.iter().filter(|column| column.is_change()) {
        let Some(known) = table.columns.iter().find(|known| known.id == column.column) else {
            continue;
        };
        if known.name == "deleted_at" && kind == Kind::Update {
            kind = Kind::Delete;
        }
        if let Some(name) = COLUMNS.iter().find(|name| **name == known.name) {
            cells.push((*name, of_value(name, &column.old), of_value(name, &column.new)));
        }
    }
    if kind == Kind::Delete {
        cells.clear();
    }
    Some((kind, cells))
}

/// Distinct values for the cells that a device or an outside writer writes.
pub(super) struct Values {
    pub(super) number: u32,
    part: u32,
    pub(super) bad: bool,
}

impl Values {
    pub(super) fn new(number: u32) -> Self {
        Self { number, part: 0, bad: false }
    }

    pub(super) fn text(&mut self) -> String {
        self.part += 1;
        let bad = if std::mem::take(&mut self.bad) { BAD } else { "" };
        format!("{bad}t{}.{}", self.number, self.part)
    }

    /// Beyond what a double holds exactly.
    pub(super) fn integer(&mut self) -> i64 {
        self.part += 1;
        9_007_199_254_740_993 + i64::from(self.number * 64 + self.part) * 2
    }

    /// An instant in one of two formats.
    pub(super) fn instant(&mut self, rng: &mut Rng) -> String {
        self.part += 1;
        let (hour, second) = (self.number / 60 % 24, self.number % 60);
        let zone = if rng.bool() { "Z" } else { "+00:00" };
        format!(
            "2026-03-01T{hour:02}:{:02}:{second:02}.{:06}{zone}",
            self.part % 60,
            self.part * 10
        )
    }
}

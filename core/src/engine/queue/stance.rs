//! What a table's policy remembers of a mutation from one attempt to the next (O10, O11).
//!
//! Nothing of it is the user's: it is what the base held under an edit, and how often the server has called it a conflict.
//! Most mutations never have any; then nothing is stored.

use crate::engine::rows::binary::{Malformed, Reader, Writer};
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowKey, RowPatch};
use crate::ids::ColumnId;
use crate::value::Value;

const VERSION: u8 = 1;

/// Conflicts after which an edit goes over whatever stands there, if its table's policy is to insist (O10).
const PATIENCE: u32 = 3;

/// What is remembered of one mutation.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Stance {
    /// How often it was rebuilt because the server found it in conflict.
    pub(crate) conflicts: u32,
    /// Whether it is only ever compared, whatever the policy: it is offered again to another life of the server (O11).
    pub(crate) compare_only: bool,
    /// Whether old values alone decide, as they do of an action (O1): it takes one back, or was made of one.
    pub(crate) old_only: bool,
    /// Rows as they were when they vanished under this edit.
    vanished: Vec<Vanished>,
    /// Versions of rows when this edit was made, where the base has moved on since; `None`: there was no row.
    seen: Vec<(RowKey, Option<String>)>,
}

/// A row that vanished from the base.
#[derive(Debug, Clone, PartialEq)]
struct Vanished {
    row: RowKey,
    /// Its columns in the base, never as later edits would have it (R10).
    columns: Vec<(ColumnId, Value)>,
    /// Whether the edit brings it back.
    is_back: bool,
}

impl Stance {
    /// That of an edit that is only ever compared.
    pub(crate) fn comparing(old_only: bool) -> Self {
        Self { compare_only: true, old_only, ..Self::default() }
    }

    /// What is left of it once the mutation is parked: if old values alone decide, they do in the next attempt as well.
    pub(crate) fn of_parked(&self) -> Self {
        if self.old_only { Self::comparing(true) } else { Self::default() }
    }

    /// Whether the next attempt goes over whatever stands there.
    pub(crate) fn insists(&self) -> bool {
        self.conflicts >= PATIENCE
    }

    /// Remembers which version of a row the edit was made on, before another one comes; the first counts.
    pub(crate) fn saw(&mut self, row: &RowKey, version: Option<String>) {
        if self.seen(row).is_none() {
            self.seen.push((row.clone(), version));
        }
    }

    /// The version that was remembered.
    pub(crate) fn seen(&self, row: &RowKey) -> Option<&Option<String>> {
        self.seen.iter().find(|(other, _)| other == row).map(|(_, version)| version)
    }

    /// The edit counts as made on the row as it is now.
    pub(crate) fn sees_anew(&mut self, row: &RowKey) {
        self.seen.retain(|(other, _)| other != row);
    }

    /// Remembers a row of the base that is about to vanish.
    pub(crate) fn keep(&mut self, row: &RowKey, columns: Vec<(ColumnId, Value)>) {
        self.vanished.retain(|one| one.row != *row);
        self.vanished.push(Vanished { row: row.clone(), columns, is_back: false });
    }

    /// Whether it is remembered what this row was.
    pub(crate) fn has_kept(&self, row: &RowKey) -> bool {
        self.vanished.iter().any(|one| one.row == *row)
    }

    /// From here on the edit brings the row back.
    pub(crate) fn bring_back(&mut self, row: &RowKey) {
        for one in self.vanished.iter_mut().filter(|one| one.row == *row) {
            one.is_back = true;
        }
    }

    /// From here on the edit does not bring the row back; whether it did.
    pub(crate) fn leaves(&mut self, row: &RowKey) -> bool {
        let mut kept = self.vanished.iter_mut().filter(|one| one.row == *row);
        kept.any(|one| std::mem::take(&mut one.is_back))
    }

    /// The edit of a row that it brings back, as an insert: the row as it was, and what was edited over it. An edited column
    /// that a schema change removed stays named, so that the server rejects the edit instead of accepting the rest of it.
    pub(crate) fn brought_back(&self, patch: &RowPatch) -> Option<RowPatch> {
        let kept = self.vanished.iter().find(|one| one.is_back && one.row == patch.row)?;
        let whole =
            |column, new: &Value| ColumnPatch { column, old: Value::Null, new: new.clone() };
        let mut columns: Vec<_> =
            kept.columns.iter().map(|(id, value)| whole(*id, value)).collect();
        for edited in patch.columns.iter().filter(|column| column.is_change()) {
            match columns.iter_mut().find(|column| column.column == edited.column) {
                Some(column) => column.new.clone_from(&edited.new),
                None => columns.push(whole(edited.column, &edited.new)),
            }
        }
        Some(RowPatch { row: patch.row.clone(), kind: PatchKind::Insert, columns })
    }

    /// As the queue keeps it; nothing while there is nothing to remember.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        if *self == Self::default() {
            return None;
        }
        let mut out = Writer::new();
        out.byte(VERSION);
        out.unsigned(u64::from(self.conflicts));
        out.byte(u8::from(self.compare_only) | u8::from(self.old_only) << 1);
        out.length(self.vanished.len());
        for one in &self.vanished {
            out.row(&one.row);
            out.byte(u8::from(one.is_back));
            out.length(one.columns.len());
            for (id, value) in &one.columns {
                out.unsigned(u64::from(id.0));
                out.value(value);
            }
        }
        out.length(self.seen.len());
        for (row, version) in &self.seen {
            out.row(row);
            out.value(&version.clone().into());
        }
        Some(out.finish())
    }

    /// From the queue's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, "stance");
        if reader.byte()? != VERSION {
            return Err(Malformed("stance of an unknown version"));
        }
        let (conflicts, bits) = (reader.small()?, reader.byte()?);
        let (compare_only, old_only) = (bits & 1 != 0, bits & 2 != 0);
        let mut stance = Self { conflicts, compare_only, old_only, ..Self::default() };
        for _ in 0..reader.length()? {
            let (row, is_back) = (reader.row()?, reader.byte()? == 1);
            let mut columns = Vec::new();
            for _ in 0..reader.length()? {
                columns.push((ColumnId(reader.small()?), reader.value()?));
            }
            stance.vanished.push(Vanished { row, columns, is_back });
        }
        for _ in 0..reader.length()? {
            let row = reader.row()?;
            let version = reader.value()?.as_text().map(str::to_owned);
            stance.seen.push((row, version));
        }
        reader.end()?;
        Ok(stance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TableNumber;

    fn row(key: &str) -> RowKey {
        RowKey { table: TableNumber(1), key: key.into() }
    }

    #[test]
    fn what_is_remembered_comes_back_as_it_was_and_nothing_is_no_bytes() {
        assert_eq!(Stance::default().encode(), None);
        for old_only in [false, true] {
            let comparing = Stance::comparing(old_only);
            assert_eq!(Stance::decode(&comparing.encode().unwrap()).unwrap(), comparing);
        }
        let mut stance = Stance { conflicts: 3, ..Stance::comparing(false) };
        stance.keep(&row("a"), vec![(ColumnId(2), "x".into()), (ColumnId(3), Value::Null)]);
        stance.keep(&row("b"), Vec::new());
        stance.bring_back(&row("a"));
        stance.saw(&row("a"), None);
        stance.saw(&row("b"), Some("v1".to_owned()));
        stance.saw(&row("b"), Some("v2".to_owned()));
        assert_eq!(stance.seen(&row("b")), Some(&Some("v1".to_owned())), "the first counts");
        let bytes = stance.encode().unwrap();
        assert_eq!(Stance::decode(&bytes).unwrap(), stance);
        for cut in 0..bytes.len() {
            assert!(Stance::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_row_that_is_brought_back_is_the_last_one_that_was_known_with_the_edit_over_it() {
        let mut stance = Stance::default();
        let column = |id, old: &str, new: &str| ColumnPatch {
            column: ColumnId(id),
            old: old.into(),
            new: new.into(),
        };
        let columns = vec![column(2, "x", "y"), column(3, "seen", "seen")];
        let patch = RowPatch { row: row("a"), kind: PatchKind::Update, columns };
        stance.keep(&row("a"), vec![(ColumnId(2), "older".into())]);
        stance.keep(&row("a"), vec![(ColumnId(2), "x".into()), (ColumnId(3), "base".into())]);
        assert_eq!(stance.brought_back(&patch), None, "not before policy says so");
        stance.bring_back(&row("a"));
        let whole = stance.brought_back(&patch).unwrap();
        assert_eq!(whole.kind, PatchKind::Insert);
        let news: Vec<_> = whole.columns.iter().map(|one| one.new.clone()).collect();
        assert_eq!(news, ["y".into(), "base".into()]);
    }

    #[test]
    fn brought_back_row_names_an_edited_column_that_is_gone() {
        let mut stance = Stance::default();
        let edit = |id| ColumnPatch { column: ColumnId(id), old: Value::Null, new: "mine".into() };
        let patch =
            RowPatch { row: row("a"), kind: PatchKind::Update, columns: vec![edit(2), edit(4)] };
        stance.keep(&row("a"), vec![(ColumnId(2), "x".into()), (ColumnId(7), "base".into())]);
        stance.bring_back(&row("a"));
        let whole = stance.brought_back(&patch).unwrap();
        let cells: Vec<_> = whole.columns.into_iter().map(|one| (one.column.0, one.new)).collect();
        assert_eq!(cells, [(2, "mine".into()), (7, "base".into()), (4, "mine".into())]);
    }
}

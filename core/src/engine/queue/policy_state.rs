//! The state that a table's policy keeps of a mutation from one attempt to the next.
//!
//! It contains nothing that the user wrote: only base values below an edit, and the number of
//! conflicts that the server has reported. Most mutations have no such state; then nothing is
//! stored.

use std::collections::BTreeMap;

use crate::engine::rows::binary::{BinaryReader, BinaryWriter, Malformed};
use crate::engine::rows::key_order::Ordered;
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowKey, RowPatch};
use crate::ids::ColumnId;
use crate::value::Value;

const VERSION: u8 = 1;

/// Number of conflicts after which a client-wins edit overwrites the server row.
const PATIENCE: u32 = 3;

/// The policy state of one mutation.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct PolicyState {
    /// Number of times the server reported a conflict for this mutation.
    pub(crate) conflicts: u32,
    /// Compare-only: set after a server restore (epoch change); overrides the table's policy.
    pub(crate) compare_only: bool,
    /// Whether old values alone decide, as for an action: it reverses one, or was derived from one.
    pub(crate) old_only: bool,
    /// Rows as they were when they were removed below this edit.
    vanished: BTreeMap<Ordered, Vanished>,
    /// Versions of rows when this edit was made, if the base has changed since; `None`: there was
    /// no row.
    seen: BTreeMap<Ordered, Option<String>>,
}

/// A row that was removed from the base.
#[derive(Debug, Clone, PartialEq)]
struct Vanished {
    /// Its columns in the base, without later edits.
    columns: Vec<(ColumnId, Value)>,
    /// Whether the edit restores it.
    is_back: bool,
}

impl PolicyState {
    /// The state of a compare-only edit.
    pub(crate) fn comparing(old_only: bool) -> Self {
        Self { compare_only: true, old_only, ..Self::default() }
    }

    /// What is kept once the mutation is parked: if old values alone decide, they do in the next
    /// attempt as well.
    pub(crate) fn of_parked(&self) -> Self {
        if self.old_only { Self::comparing(true) } else { Self::default() }
    }

    /// Whether the next attempt overwrites the server row.
    pub(crate) fn insists(&self) -> bool {
        self.conflicts >= PATIENCE
    }

    /// Stores the row version that the edit was made on, before the base changes; the first call
    /// counts.
    pub(crate) fn saw(&mut self, row: &RowKey, version: Option<String>) {
        self.seen.entry(Ordered(row.clone())).or_insert(version);
    }

    /// The stored version.
    pub(crate) fn seen(&self, row: &RowKey) -> Option<&Option<String>> {
        of_row(&self.seen, row)
    }

    /// The edit counts as made on the current row.
    pub(crate) fn forget_expected(&mut self, row: &RowKey) {
        if !self.seen.is_empty() {
            self.seen.remove(&Ordered(row.clone()));
        }
    }

    /// Stores a base row that is about to be removed.
    pub(crate) fn keep(&mut self, row: &RowKey, columns: Vec<(ColumnId, Value)>) {
        self.vanished.insert(Ordered(row.clone()), Vanished { columns, is_back: false });
    }

    /// Whether this removed row is stored.
    pub(crate) fn has_kept(&self, row: &RowKey) -> bool {
        of_row(&self.vanished, row).is_some()
    }

    /// The edit restores the row from now on.
    pub(crate) fn bring_back(&mut self, row: &RowKey) {
        if let Some(one) = self.vanished.get_mut(&Ordered(row.clone())) {
            one.is_back = true;
        }
    }

    /// The edit no longer restores the row; returns whether it did.
    pub(crate) fn leaves(&mut self, row: &RowKey) -> bool {
        let kept = self.vanished.get_mut(&Ordered(row.clone()));
        kept.is_some_and(|one| std::mem::take(&mut one.is_back))
    }

    /// The edit of a row that it restores, as an insert: the stored row with the edit applied. An
    /// edited column that a schema change removed stays named, so that the server rejects the edit
    /// instead of accepting the rest of it.
    pub(crate) fn brought_back(&self, patch: &RowPatch) -> Option<RowPatch> {
        let kept = of_row(&self.vanished, &patch.row).filter(|one| one.is_back)?;
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

    /// Encodes it for the queue; `None` if there is no state.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        if *self == Self::default() {
            return None;
        }
        let mut out = BinaryWriter::new();
        out.byte(VERSION);
        out.unsigned(u64::from(self.conflicts));
        out.byte(u8::from(self.compare_only) | u8::from(self.old_only) << 1);
        out.length(self.vanished.len());
        for (row, one) in &self.vanished {
            out.row(&row.0);
            out.byte(u8::from(one.is_back));
            out.length(one.columns.len());
            for (id, value) in &one.columns {
                out.unsigned(u64::from(id.0));
                out.value(value);
            }
        }
        out.length(self.seen.len());
        for (row, version) in &self.seen {
            out.row(&row.0);
            out.value(&version.clone().into());
        }
        Some(out.finish())
    }

    /// Decodes the queue's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = BinaryReader::new(bytes, "policy_state");
        if reader.byte()? != VERSION {
            return Err(Malformed("policy_state of an unknown version"));
        }
        let (conflicts, bits) = (reader.small()?, reader.byte()?);
        let (compare_only, old_only) = (bits & 1 != 0, bits & 2 != 0);
        let mut policy_state = Self { conflicts, compare_only, old_only, ..Self::default() };
        for _ in 0..reader.length()? {
            let (row, is_back) = (reader.row()?, reader.byte()? == 1);
            let mut columns = Vec::new();
            for _ in 0..reader.length()? {
                columns.push((ColumnId(reader.small()?), reader.value()?));
            }
            policy_state.vanished.insert(Ordered(row), Vanished { columns, is_back });
        }
        for _ in 0..reader.length()? {
            let row = reader.row()?;
            let version = reader.value()?.as_text().map(str::to_owned);
            policy_state.seen.insert(Ordered(row), version);
        }
        reader.end()?;
        Ok(policy_state)
    }
}

/// What is stored for a row; most mutations have nothing stored for any.
fn of_row<'s, T>(stored: &'s BTreeMap<Ordered, T>, row: &RowKey) -> Option<&'s T> {
    if stored.is_empty() { None } else { stored.get(&Ordered(row.clone())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TableNumber;

    fn row(key: &str) -> RowKey {
        RowKey { table: TableNumber(1), key: key.into() }
    }

    #[test]
    fn stance_survives_encoding_and_empty_is_none() {
        assert_eq!(PolicyState::default().encode(), None);
        for old_only in [false, true] {
            let comparing = PolicyState::comparing(old_only);
            assert_eq!(PolicyState::decode(&comparing.encode().unwrap()).unwrap(), comparing);
        }
        let mut policy_state = PolicyState { conflicts: 3, ..PolicyState::comparing(false) };
        policy_state.keep(&row("a"), vec![(ColumnId(2), "x".into()), (ColumnId(3), Value::Null)]);
        policy_state.keep(&row("b"), Vec::new());
        policy_state.bring_back(&row("a"));
        policy_state.saw(&row("a"), None);
        policy_state.saw(&row("b"), Some("v1".to_owned()));
        policy_state.saw(&row("b"), Some("v2".to_owned()));
        assert_eq!(policy_state.seen(&row("b")), Some(&Some("v1".to_owned())), "the first counts");
        let bytes = policy_state.encode().unwrap();
        assert_eq!(PolicyState::decode(&bytes).unwrap(), policy_state);
        for cut in 0..bytes.len() {
            assert!(PolicyState::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn restored_row_is_last_known_row_with_the_edit() {
        let mut policy_state = PolicyState::default();
        let column = |id, old: &str, new: &str| ColumnPatch {
            column: ColumnId(id),
            old: old.into(),
            new: new.into(),
        };
        let columns = vec![column(2, "x", "y"), column(3, "seen", "seen")];
        let patch = RowPatch { row: row("a"), kind: PatchKind::Update, columns };
        policy_state.keep(&row("a"), vec![(ColumnId(2), "older".into())]);
        policy_state.keep(&row("a"), vec![(ColumnId(2), "x".into()), (ColumnId(3), "base".into())]);
        assert_eq!(policy_state.brought_back(&patch), None, "only if the policy restores it");
        policy_state.bring_back(&row("a"));
        let whole = policy_state.brought_back(&patch).unwrap();
        assert_eq!(whole.kind, PatchKind::Insert);
        let news: Vec<_> = whole.columns.iter().map(|one| one.new.clone()).collect();
        assert_eq!(news, ["y".into(), "base".into()]);
    }

    #[test]
    fn restored_row_names_a_removed_edited_column() {
        let mut policy_state = PolicyState::default();
        let edit = |id| ColumnPatch { column: ColumnId(id), old: Value::Null, new: "mine".into() };
        let patch =
            RowPatch { row: row("a"), kind: PatchKind::Update, columns: vec![edit(2), edit(4)] };
        policy_state.keep(&row("a"), vec![(ColumnId(2), "x".into()), (ColumnId(7), "base".into())]);
        policy_state.bring_back(&row("a"));
        let whole = policy_state.brought_back(&patch).unwrap();
        let cells: Vec<_> = whole.columns.into_iter().map(|one| (one.column.0, one.new)).collect();
        assert_eq!(cells, [(2, "mine".into()), (7, "base".into()), (4, "mine".into())]);
    }
}

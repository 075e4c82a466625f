//! Combines edits into records for a plain server, and decides which edits wait for the next
//! request.
//!
//! Pure. Edits are added in queue order. Create and update, update and update, update and delete of
//! a row become one record at the position of the first; a create and its delete cancel out. An
//! edit joins an earlier one only if it depends on nothing that is sent after that; otherwise a row
//! could refer to a parent that does not exist yet. An edit that depends on a waiting edit waits,
//! too.

use std::collections::{HashMap, HashSet};

use rejoin_protocol::wire::push::Operation;

use super::after::Links;
use super::record::Record;
use crate::engine::rows::patch::{ColumnPatch, Effect, PatchKind, RowKey, RowPatch};
use crate::engine::schema::model::Schema;
use crate::ids::{ColumnId, Seq};
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// One mutation's edit of a row, in the form of the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WireEdit {
    pub(crate) seq: Seq,
    pub(crate) patch: RowPatch,
    pub(crate) operation: Operation,
    pub(crate) data: Vec<(ColumnId, Value)>,
    /// Whether a server may already have it as part of a group: then it stays unchanged.
    pub(crate) doubtful: bool,
    /// Whether it becomes its own record, without other edits of its row.
    pub(crate) alone: bool,
}

/// A record that is not frozen yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    pub(crate) row: RowKey,
    pub(crate) operation: Operation,
    pub(crate) data: Vec<(ColumnId, Value)>,
    pub(crate) members: Vec<Seq>,
    pub(crate) doubtful: bool,
    pub(crate) alone: bool,
}

/// The edits added so far, and the resulting records.
#[derive(Debug)]
pub(crate) struct Coalesced<'s> {
    links: Links<'s>,
    schema_version: i64,
    most: usize,
    drafts: Vec<Option<Draft>>,
    /// The numbers of the edits of each draft.
    edits: Vec<Vec<usize>>,
    count: usize,
    /// The result for each edit, by its number.
    places: Vec<EditResult>,
    rows: HashMap<RowKey, EditResult>,
    nothing: Vec<(Seq, RowKey)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum EditResult {
    Draft(usize),
    Nothing,
    Waits,
}

impl<'s> Coalesced<'s> {
    /// Creates an empty set with at most `most` records.
    pub(crate) fn new(schema: &'s Schema, most: usize) -> Self {
        Self {
            links: Links::new(schema),
            schema_version: 0,
            most,
            drafts: Vec::new(),
            edits: Vec::new(),
            count: 0,
            places: Vec::new(),
            rows: HashMap::new(),
            nothing: Vec::new(),
        }
    }

    /// Adds an edit that is not sent now; edits that depend on it wait, too.
    pub(crate) fn wait(&mut self, patch: RowPatch) {
        self.note(patch, EditResult::Waits);
    }

    /// Adds the next edit; `is_new` returns whether the base lacks its row. Returns whether there
    /// is room for more.
    pub(crate) fn add(&mut self, edit: WireEdit, is_new: impl FnOnce() -> bool) -> bool {
        let before = self.before(&edit.patch);
        let known = self.rows.get(&edit.patch.row).copied();
        let place = match known.filter(|_| !mutant::on(Mutant::TwoRecordsOfARow)) {
            _ if before.contains(&EditResult::Waits) => EditResult::Waits,
            Some(EditResult::Waits) => EditResult::Waits,
            Some(EditResult::Draft(at)) => {
                let later =
                    |place: &EditResult| matches!(place, EditResult::Draft(other) if *other > at);
                if before.iter().any(later) {
                    EditResult::Waits
                } else {
                    self.join(at, &edit, is_new)
                }
            }
            // A group that may or may not have been applied is not split.
            Some(EditResult::Nothing) | None if self.count >= self.most && !self.goes_on(&edit) => {
                return false;
            }
            Some(EditResult::Nothing) | None => {
                self.count += 1;
                self.edits.push(Vec::new());
                self.drafts.push(Some(Draft {
                    row: edit.patch.row.clone(),
                    operation: edit.operation,
                    data: edit.data,
                    members: vec![edit.seq],
                    doubtful: edit.doubtful,
                    alone: edit.alone,
                }));
                EditResult::Draft(self.drafts.len() - 1)
            }
        };
        self.note(edit.patch, place);
        true
    }

    /// The records, in order, and the edits that cancelled out.
    pub(crate) fn finish(self) -> (Vec<Draft>, Vec<(Seq, RowKey)>) {
        (self.drafts.into_iter().flatten().collect(), self.nothing)
    }

    fn goes_on(&self, edit: &WireEdit) -> bool {
        let last = self.drafts.iter().flatten().next_back();
        edit.doubtful && last.is_some_and(|draft| draft.members.contains(&edit.seq))
    }

    fn before(&self, patch: &RowPatch) -> Vec<EditResult> {
        let effect = Effect { schema_version: self.schema_version, rows: vec![patch.clone()] };
        let numbers = self.links.before(&effect, &[]).into_iter();
        numbers.filter_map(|seq| self.places.get(usize::try_from(seq.0).ok()?).copied()).collect()
    }

    fn note(&mut self, patch: RowPatch, place: EditResult) {
        self.rows.insert(patch.row.clone(), place);
        let effect = Effect { schema_version: self.schema_version, rows: vec![patch] };
        let number = Seq(i64::try_from(self.places.len()).unwrap_or(i64::MAX));
        self.links.add(number, &effect, &[]);
        if let EditResult::Draft(at) = place {
            self.edits[at].push(self.places.len());
        }
        self.places.push(place);
    }

    fn join(&mut self, at: usize, edit: &WireEdit, is_new: impl FnOnce() -> bool) -> EditResult {
        let Some(draft) = self.drafts[at].as_mut() else { return EditResult::Waits };
        if draft.doubtful || edit.doubtful || draft.alone || edit.alone {
            return EditResult::Waits;
        }
        match (draft.operation, edit.operation) {
            (Operation::Create | Operation::Update, Operation::Update) => {
                for (column, value) in &edit.data {
                    match draft.data.iter_mut().find(|(known, _)| known == column) {
                        Some((_, known)) => known.clone_from(value),
                        None => draft.data.push((*column, value.clone())),
                    }
                }
            }
            (Operation::Update, Operation::Delete) => {
                draft.operation = Operation::Delete;
                draft.data.clear();
            }
            (Operation::Create, Operation::Delete) if is_new() => {
                let members = draft.members.iter().chain([&edit.seq]);
                self.nothing.extend(members.map(|seq| (*seq, draft.row.clone())));
                self.drafts[at] = None;
                self.count -= 1;
                for number in std::mem::take(&mut self.edits[at]) {
                    self.places[number] = EditResult::Nothing;
                }
                return EditResult::Nothing;
            }
            _ => return EditResult::Waits,
        }
        draft.members.push(edit.seq);
        EditResult::Draft(at)
    }
}

/// Frozen records, some of which wait.
#[derive(Debug)]
pub(crate) struct FrozenRecords<'s> {
    shown: Coalesced<'s>,
    /// Mutations with a waiting record.
    waiting: HashSet<Seq>,
}

impl<'s> FrozenRecords<'s> {
    /// Creates an empty set.
    pub(crate) fn new(schema: &'s Schema) -> Self {
        Self { shown: Coalesced::new(schema, usize::MAX), waiting: HashSet::new() }
    }

    /// Whether the next record can be sent: it does not wait, depends on no waiting record, and
    /// follows no waiting record of its mutation. Rows of one mutation may refer to each other by
    /// rules that only the server's database has.
    pub(crate) fn can_go(&mut self, record: &Record, waits: bool) -> bool {
        let new = |(column, new): &(ColumnId, Value)| ColumnPatch {
            column: *column,
            old: Value::Null,
            new: new.clone(),
        };
        let kind = match record.operation {
            Operation::Create => PatchKind::Insert,
            Operation::Update => PatchKind::Update,
            Operation::Delete => PatchKind::Delete,
        };
        let columns = record.data.iter().map(new).collect();
        let patch = RowPatch { row: record.row.clone(), kind, columns };
        let goes = !waits
            && !record.live().any(|seq| self.waiting.contains(&seq))
            && !self.shown.before(&patch).contains(&EditResult::Waits);
        if !goes {
            self.waiting.extend(record.live());
        }
        self.shown.note(patch, if goes { EditResult::Nothing } else { EditResult::Waits });
        goes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rejoin_protocol::ColumnKind;
    use rejoin_protocol::manifest::{ReferenceAction, Rule};

    use super::*;
    use crate::engine::schema::model::{Column, Table};
    use crate::engine::tests::known_table;
    use crate::ids::TableNumber;

    /// One table `node` (id, parent REFERENCES node, a, b UNIQUE).
    fn schema() -> Schema {
        let column = |(id, name): (u32, &str)| Column {
            id: ColumnId(id),
            name: name.to_owned(),
            kind: ColumnKind::String,
            default: None,
            protected: false,
        };
        let table = Table {
            rules: vec![
                Rule::References {
                    column: "parent".to_owned(),
                    table: "node".to_owned(),
                    on_delete: ReferenceAction::default(),
                    on_update: ReferenceAction::default(),
                },
                Rule::Unique { columns: vec!["b".to_owned()] },
            ],
            ..known_table(
                "node",
                [(1, "id"), (2, "parent"), (3, "a"), (4, "b")].map(column).to_vec(),
            )
        };
        let mut schema = Schema::default();
        schema.by_name.insert(table.name.clone(), table.number);
        schema.tables.insert(table.number, Arc::new(table));
        schema
    }

    /// `+x p` creates x under p (a dot: under none), `~x 3:v>w` updates, `-x` deletes; a leading
    /// `?`: it waits.
    fn edit(seq: i64, text: &str) -> WireEdit {
        let value = |text: &str| if text == "." { Value::Null } else { Value::from(text) };
        let mut words = text[1..].split_whitespace();
        let row = RowKey { table: TableNumber(1), key: words.next().unwrap().into() };
        let (kind, operation) = match &text[..1] {
            "+" => (PatchKind::Insert, Operation::Create),
            "-" => (PatchKind::Delete, Operation::Delete),
            _ => (PatchKind::Update, Operation::Update),
        };
        let columns = words.map(|word| match word.split_once(':') {
            Some((id, change)) => {
                let (old, new) = change.split_once('>').unwrap();
                let column = ColumnId(id.parse().unwrap());
                ColumnPatch { column, old: value(old), new: value(new) }
            }
            None => ColumnPatch { column: ColumnId(2), old: Value::Null, new: value(word) },
        });
        let columns: Vec<ColumnPatch> = columns.collect();
        let data = columns.iter().map(|one| (one.column, one.new.clone())).collect();
        let (doubtful, alone) = (text.ends_with('?'), text.ends_with('|'));
        let patch = RowPatch { row, kind, columns };
        WireEdit { seq: Seq(seq), patch, operation, data, doubtful, alone }
    }

    /// The records as `+x 2=p 3=w [1, 2]`, and the edits that cancelled out.
    fn records(most: usize, edits: &[&str]) -> (Vec<String>, Vec<i64>) {
        let schema = schema();
        let mut all = Coalesced::new(&schema, most);
        for (seq, text) in (1..).zip(edits) {
            if let Some(waits) = text.strip_prefix('?') {
                all.wait(edit(seq, waits).patch);
            } else if !all.add(edit(seq, text), || !text.ends_with('!')) {
                break;
            }
        }
        let (drafts, nothing) = all.finish();
        let shown = drafts.iter().map(|draft| {
            let sign = match draft.operation {
                Operation::Create => '+',
                Operation::Update => '~',
                Operation::Delete => '-',
            };
            let mut text = format!("{sign}{}", draft.row.key.as_text().unwrap());
            for (column, value) in &draft.data {
                let value = value.as_text().unwrap_or(".");
                text.extend([" ", &column.0.to_string(), "=", value]);
            }
            let members: Vec<i64> = draft.members.iter().map(|seq| seq.0).collect();
            format!("{text} {members:?}")
        });
        (shown.collect(), nothing.iter().map(|(seq, _)| seq.0).collect())
    }

    #[test]
    fn edits_of_a_row_join_one_record_or_wait() {
        type Case = (&'static str, &'static [&'static str], &'static [&'static str]);
        let cases: [Case; 15] = [
            ("create, update", &["+x .", "~x 3:.>v"], &["+x 2=. 3=v [1, 2]"]),
            ("update, update", &["~x 3:u>v", "~x 4:.>w", "~x 3:v>z"], &["~x 3=z 4=w [1, 2, 3]"]),
            ("update, delete", &["~x 3:u>v", "-x"], &["-x [1, 2]"]),
            ("delete, create", &["-x", "+x ."], &["-x [1]"]),
            ("nothing after a waiting edit", &["-x", "+x .", "~x 3:u>v"], &["-x [1]"]),
            ("update, delete, create", &["~x 3:u>v", "-x", "+x ."], &["-x [1, 2]"]),
            ("strangers", &["~x 3:u>v", "~y 3:u>v"], &["~x 3=v [1]", "~y 3=v [2]"]),
            (
                "no row before its parent",
                &["~x 3:u>v", "+p .", "~x 2:.>p"],
                &["~x 3=v [1]", "+p 2=. [2]"],
            ),
            (
                "a row after its parent",
                &["+p .", "~x 3:u>v", "~x 2:.>p"],
                &["+p 2=. [1]", "~x 3=v 2=p [2, 3]"],
            ),
            (
                "no parent's delete before its child's",
                &["~p 3:u>v", "~c 2:p>.", "-p"],
                &["~p 3=v [1]", "~c 2=. [2]"],
            ),
            (
                "a unique value that is free only later",
                &["~x 4:a>t", "~y 4:b>a", "~x 4:t>b"],
                &["~x 4=t [1]", "~y 4=a [2]"],
            ),
            ("a dependency of a waiting edit", &["?+p .", "+c p", "~x 3:u>v"], &["~x 3=v [3]"]),
            ("a later edit of a waiting row", &["?~x 3:u>v", "~x 4:.>w"], &[]),
            ("two at most", &["~x 3:u>v", "~y 3:u>v", "~z 3:u>v"], &["~x 3=v [1]", "~y 3=v [2]"]),
            (
                "an edit joins a record of a full request",
                &["~x 3:u>v", "+y .", "~x 3:v>w"],
                &["~x 3=w [1, 3]", "+y 2=. [2]"],
            ),
        ];
        for (name, edits, expected) in cases {
            assert_eq!(records(2, edits).0, expected, "{name}");
        }
    }

    #[test]
    fn edit_sent_in_a_group_is_not_coalesced() {
        let (kept, _) = records(9, &["~x 3:u>v ?", "~x 3:v>w", "~y 3:u>v", "~y 3:v>w ?"]);
        assert_eq!(kept, ["~x 3=v 2=? [1]", "~y 3=v [3]"]);
    }

    #[test]
    fn edit_sent_alone_joins_no_record() {
        let (kept, _) = records(9, &["~x 3:u>v |", "~x 3:v>w", "~y 3:u>v", "~y 3:v>w |"]);
        assert_eq!(kept, ["~x 3=v 2=| [1]", "~y 3=v [3]"]);
    }

    #[test]
    fn create_and_delete_cancel_out_unless_row_exists() {
        assert_eq!(records(9, &["+x .", "~x 3:.>v", "-x"]), (vec![], vec![1, 2, 3]));
        let (kept, nothing) = records(9, &["+x .", "-x !"]);
        assert_eq!((kept, nothing), (vec!["+x 2=. [1]".to_owned()], vec![]));
        let (kept, nothing) = records(1, &["+x .", "-x", "+y .", "+x ."]);
        assert_eq!((kept, nothing), (vec!["+y 2=. [3]".to_owned()], vec![1, 2]), "room is free");
        let (kept, nothing) = records(9, &["+p .", "+c p", "-c", "-p"]);
        assert_eq!((kept, nothing), (vec![], vec![2, 3, 1, 4]), "a child first, then its parent");
        let (kept, nothing) = records(9, &["+p .", "+c p", "-p"]);
        assert_eq!(kept, ["+p 2=. [1]", "+c 2=p [2]"]);
        assert!(nothing.is_empty(), "a parent with a child stays until the child is sent");
    }
}

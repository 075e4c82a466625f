//! Computes which earlier mutations must be accepted before a mutation: those on the same rows,
//! those linked by a declared rule, and those linked by an action's reads.
//!
//! Pure functions. Mutations are added in queue order. The edits of a row form a chain, and only
//! the nearest link is named, because it names the one before it in turn. A child waits for the
//! creation or removal of its parent, the removal of a parent waits for children that stop
//! referring to it, and a mutation that takes a unique value waits for the one that had it.

use std::collections::{BTreeSet, HashMap};

use rejoin_protocol::manifest::Rule;

use crate::engine::rows::apply::{soft_deletes, takes_back};
use crate::engine::rows::binary::BinaryWriter;
use crate::engine::rows::patch::{Effect, PatchKind, RowKey, RowPatch};
use crate::engine::schema::model::{Schema, Table};
use crate::ids::{Seq, TableNumber};
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// The mutations added so far, by what links others to them.
#[derive(Debug)]
pub(crate) struct Links<'s> {
    schema: &'s Schema,
    /// The last one on each row.
    rows: HashMap<RowKey, Seq>,
    /// The last one that created or removed a row.
    parents: HashMap<RowKey, Seq>,
    /// Those that refer to a row.
    children: HashMap<RowKey, Vec<Seq>>,
    /// The last one that had or took these values of a unique rule.
    uniques: HashMap<(TableNumber, usize, Vec<u8>), Seq>,
    /// Those that wrote to a table, and the actions that have read it, except those that a later
    /// one represents.
    writers: HashMap<TableNumber, Vec<Seq>>,
    readers: HashMap<TableNumber, Vec<Seq>>,
    /// Those that name only some columns of a unique rule, and all, by rule.
    partial: HashMap<(TableNumber, usize), Vec<Seq>>,
    all: HashMap<(TableNumber, usize), Vec<Seq>>,
}

impl<'s> Links<'s> {
    /// Creates an empty set.
    pub(crate) fn new(schema: &'s Schema) -> Self {
        Self {
            schema,
            rows: HashMap::new(),
            parents: HashMap::new(),
            children: HashMap::new(),
            writers: HashMap::new(),
            readers: HashMap::new(),
            uniques: HashMap::new(),
            partial: HashMap::new(),
            all: HashMap::new(),
        }
    }

    /// The added mutations that an effect must wait for; `reads` are the tables that an action has
    /// read.
    pub(crate) fn before(&self, effect: &Effect, reads: &[TableNumber]) -> BTreeSet<Seq> {
        let mut before = BTreeSet::new();
        if !mutant::on(Mutant::ReadsUntied) {
            let written = reads.iter().filter_map(|table| self.writers.get(table));
            let read = effect.rows.iter().filter_map(|patch| self.readers.get(&patch.row.table));
            before.extend(written.chain(read).flatten());
        }
        for patch in &effect.rows {
            before.extend(self.rows.get(&patch.row));
            let Some(table) = self.schema.table(patch.row.table) else { continue };
            if makes_or_removes(table, patch) {
                before.extend(self.children.get(&patch.row).into_iter().flatten());
            }
            for parent in self.parents_of(table, patch) {
                before.extend(self.parents.get(&parent));
            }
            for (rule, values) in uniques_of(table, patch) {
                let of = (table.number, rule);
                match values {
                    None => before.extend(self.all.get(&of).into_iter().flatten()),
                    Some(values) => {
                        before.extend(self.uniques.get(&(table.number, rule, values)));
                        before.extend(self.partial.get(&of).into_iter().flatten());
                    }
                }
            }
        }
        before
    }

    /// Adds the next mutation.
    pub(crate) fn add(&mut self, seq: Seq, effect: &Effect, reads: &[TableNumber]) {
        let written: BTreeSet<TableNumber> = effect.rows.iter().map(|p| p.row.table).collect();
        for table in written.iter().chain(reads) {
            // A mutation that has read and written the table waits for all before it, so later ones
            // need only wait for this one.
            let represents_all = written.contains(table) && reads.contains(table);
            for (of, is_one) in [
                (&mut self.writers, written.contains(table)),
                (&mut self.readers, reads.contains(table)),
            ] {
                let known = of.entry(*table).or_default();
                if represents_all {
                    known.clear();
                }
                if is_one {
                    push_once(known, seq);
                }
            }
        }
        for patch in &effect.rows {
            self.rows.insert(patch.row.clone(), seq);
            let Some(table) = self.schema.table(patch.row.table) else { continue };
            if makes_or_removes(table, patch) {
                self.parents.insert(patch.row.clone(), seq);
            }
            for parent in self.parents_of(table, patch) {
                push_once(self.children.entry(parent).or_default(), seq);
            }
            for (rule, values) in uniques_of(table, patch) {
                let of = (table.number, rule);
                push_once(self.all.entry(of).or_default(), seq);
                match values {
                    None => push_once(self.partial.entry(of).or_default(), seq),
                    Some(values) => {
                        self.uniques.insert((table.number, rule, values), seq);
                    }
                }
            }
        }
    }

    /// The rows that a patch refers to, or referred to.
    fn parents_of(&self, table: &Table, patch: &RowPatch) -> Vec<RowKey> {
        let mut parents = Vec::new();
        for rule in &table.rules {
            let Rule::References { column, table: parent, .. } = rule else { continue };
            let Some(parent) = self.schema.by_name.get(parent) else { continue };
            for value in values_of(table, patch, column).into_iter().flatten() {
                if !value.is_null() {
                    parents.push(RowKey { table: *parent, key: value.clone() });
                }
            }
        }
        parents
    }
}

/// Adds a mutation once, however many of its rows name the same.
fn push_once(seqs: &mut Vec<Seq>, seq: Seq) {
    if seqs.last() != Some(&seq) {
        seqs.push(seq);
    }
}

fn makes_or_removes(table: &Table, patch: &RowPatch) -> bool {
    patch.kind != PatchKind::Update || soft_deletes(table, patch) || takes_back(table, patch)
}

/// The old and new values of a column in a patch; none if the patch does not name it.
fn values_of<'p>(table: &Table, patch: &'p RowPatch, column: &str) -> Option<Vec<&'p Value>> {
    if table.key_column().name == column {
        return Some(vec![&patch.row.key]);
    }
    let id = table.columns.iter().find(|known| known.name == column)?.id;
    let named = patch.columns.iter().find(|mine| mine.column == id)?;
    Some(match patch.kind {
        PatchKind::Insert => vec![&named.new],
        PatchKind::Delete => vec![&named.old],
        PatchKind::Update => vec![&named.old, &named.new],
    })
}

/// The unique rules that a patch affects, with the values that it had or takes; `None` if it names
/// only some of the rule's columns.
fn uniques_of(table: &Table, patch: &RowPatch) -> Vec<(usize, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for (number, rule) in table.rules.iter().enumerate() {
        let Rule::Unique { columns } = rule else { continue };
        let values: Vec<_> = columns.iter().map(|c| values_of(table, patch, c)).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        let Some(values) = values.into_iter().collect::<Option<Vec<_>>>() else {
            found.push((number, None));
            continue;
        };
        // The values before and after; for each column the old one comes first.
        let sides = values.iter().map(Vec::len).max().unwrap_or(0);
        for side in 0..sides {
            let tuple = values.iter().map(|of| of[side.min(of.len() - 1)]);
            if tuple.clone().any(Value::is_null) {
                continue; // NULL differs from NULL.
            }
            let mut bytes = BinaryWriter::new();
            tuple.for_each(|value| bytes.value(value));
            found.push((number, Some(bytes.finish())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rejoin_protocol::ColumnKind;
    use rejoin_protocol::manifest::ReferenceAction;

    use super::*;
    use crate::engine::rows::patch::ColumnPatch;
    use crate::engine::schema::model::Column;
    use crate::engine::tests::known_table;
    use crate::ids::ColumnId;

    /// Table 1 `place` (id, name UNIQUE, a, b, c, UNIQUE (a, b)); table 2 `note` (id, place REFERENCES place).
    fn schema() -> Schema {
        let table = |number, name: &str, columns: &[&str], rules| Table {
            number: TableNumber(number),
            rules,
            ..known_table(
                name,
                (1u32..)
                    .zip(columns)
                    .map(|(id, name)| Column {
                        id: ColumnId(id),
                        name: (*name).to_owned(),
                        kind: ColumnKind::String,
                        default: None,
                        protected: false,
                    })
                    .collect(),
            )
        };
        let unique = |columns: &[&str]| Rule::Unique {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        };
        let references = Rule::References {
            column: "place".to_owned(),
            table: "place".to_owned(),
            on_delete: ReferenceAction::default(),
            on_update: ReferenceAction::default(),
        };
        let places = table(
            1,
            "place",
            &["id", "name", "a", "b"],
            vec![unique(&["name"]), unique(&["a", "b"])],
        );
        let notes = table(2, "note", &["id", "place"], vec![references]);
        let mut schema = Schema::default();
        for table in [places, notes] {
            schema.by_name.insert(table.name.clone(), table.number);
            schema.tables.insert(table.number, Arc::new(table));
        }
        schema
    }

    /// `+1 p x ..` inserts, `~1 p 2:x>y` updates, `-1 p x ..` deletes; a dot is NULL.
    fn patch(text: &str) -> RowPatch {
        let value = |text: &str| if text == "." { Value::Null } else { Value::from(text) };
        let mut words = text[1..].split_whitespace();
        let table = TableNumber(words.next().unwrap().parse().unwrap());
        let key = value(words.next().unwrap());
        let kind = match &text[..1] {
            "+" => PatchKind::Insert,
            "-" => PatchKind::Delete,
            _ => PatchKind::Update,
        };
        let columns = (2u32..).zip(words).map(|(at, word)| match word.split_once(':') {
            Some((id, change)) => {
                let (old, new) = change.split_once('>').unwrap();
                let column = ColumnId(id.parse().unwrap());
                ColumnPatch { column, old: value(old), new: value(new) }
            }
            None if kind == PatchKind::Delete => {
                ColumnPatch { column: ColumnId(at), old: value(word), new: Value::Null }
            }
            None => ColumnPatch { column: ColumnId(at), old: Value::Null, new: value(word) },
        });
        RowPatch { row: RowKey { table, key }, kind, columns: columns.collect() }
    }

    /// What the last of these mutations waits for, by position from 1.
    fn waits_for(mutations: &[&str]) -> Vec<i64> {
        let schema = schema();
        let mut links = Links::new(&schema);
        let mut before = BTreeSet::new();
        for (seq, text) in (1..).zip(mutations) {
            // After `reads`: the tables that an action has read.
            let (text, reads) = text.split_once(" reads ").unwrap_or((text, ""));
            let numbers = reads.split_whitespace().map(|number| number.parse().unwrap());
            let reads: Vec<TableNumber> = numbers.map(TableNumber).collect();
            let rows = text.split("; ").map(patch).collect();
            let effect = Effect { schema_version: 1, rows };
            before = links.before(&effect, &reads);
            links.add(Seq(seq), &effect, &reads);
        }
        before.into_iter().map(|seq| seq.0).collect()
    }

    #[test]
    fn action_orders_with_writers_of_tables_it_reads() {
        let cases: [(&str, &[&str], &[i64]); 6] = [
            ("waits for a writer of a table it reads", &["~1 p 2:x>y", "+2 c q reads 1 2"], &[1]),
            ("waits for no other writer", &["+2 d q", "~1 p 2:x>y", "~1 q 2:v>w reads 1"], &[2]),
            ("a writer waits for an earlier reader", &["+2 c q reads 1 2", "~1 p 2:x>y"], &[1]),
            (
                "the nearest reader and writer represents others",
                &["~1 p 5:x>y", "~1 q 5:v>w reads 1", "~1 r 5:a>b reads 1"],
                &[2],
            ),
            (
                "a reader alone represents no others",
                &["~1 p 5:x>y", "+2 c q reads 1 2", "+2 d q reads 1 2"],
                &[1, 2],
            ),
            ("plain SQL reads nothing", &["~1 p 5:x>y", "~1 q 5:v>w"], &[]),
        ];
        for (name, mutations, expected) in cases {
            assert_eq!(waits_for(mutations), expected, "{name}");
        }
    }

    #[test]
    fn mutation_waits_for_its_dependencies() {
        let cases: [(&str, &[&str], &[i64]); 13] = [
            ("unrelated rows", &["~1 p 2:x>y", "~1 q 2:v>w"], &[]),
            ("the same row", &["~1 p 5:x>y", "~1 p 2:v>w"], &[1]),
            ("the nearest on a row", &["~1 p 5:x>y", "~1 p 5:y>w", "-1 p n . . w"], &[2]),
            ("a child after its parent", &["+1 p n . .", "+2 c p"], &[1]),
            ("a child does not wait for its sibling", &["+1 p n . .", "+2 c p", "+2 d p"], &[1]),
            (
                "a parent's removal waits for its children's",
                &["-2 c p", "-2 d p", "-1 p n . ."],
                &[1, 2],
            ),
            ("a child that no longer refers to it", &["~2 c 2:p>q", "-1 p n . ."], &[1]),
            ("a parent's edit blocks no child", &["~1 p 5:x>y", "+2 c p"], &[]),
            ("a unique value is taken after its release", &["~1 p 2:x>y", "~1 q 2:w>x"], &[1]),
            ("two NULLs are not the same", &["+1 p . . .", "+1 q . . ."], &[]),
            ("all columns of a unique rule", &["+1 p . u v", "+1 q . u v"], &[1]),
            ("one column of it differs", &["+1 p . u v", "+1 q . u w"], &[]),
            ("some columns of it may match any", &["+1 p . u v", "~1 q 3:t>u"], &[1]),
        ];
        for (name, mutations, expected) in cases {
            assert_eq!(waits_for(mutations), expected, "{name}");
        }
    }
}

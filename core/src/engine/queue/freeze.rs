//! Freezing: edits become records for a plain server before they are sent.
//!
//! [`QueueView::drafts`] computes the records, `Engine::freeze_records` commits them before a byte
//! leaves. From then on a record is sent unchanged until its verdict, and its members are not
//! computed again.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use rejoin_protocol::wire::push::Operation;
use rejoin_protocol::{Policy, time};

use super::attempt::Faults;
use super::coalesce::{Coalesced, Draft, WireEdit};
use super::mutation::{Mutation, MutationState};
use super::offer::deletes;
use super::record::{self, Member, Record};
use super::store;
use super::view::QueueView;
use crate::engine::queue::pending_op::old_of;
use crate::engine::rows::apply::takes_back;
use crate::engine::rows::patch::{PatchKind, RowKey, RowPatch};
use crate::engine::schema::model::Table;
use crate::error::{Error, Result};
use crate::ids::{ColumnId, Seq};
use crate::value::Value;

/// The records that can be sent now.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    pub(crate) records: Vec<Draft>,
    /// Edits that later edits undo, on rows that no server has seen: accepted without sending.
    pub(crate) nothing: Vec<(Seq, RowKey)>,
}

impl QueueView<'_> {
    /// The next records, at most `most`. Edits of rows in `waiting`, or of rows that have a record,
    /// wait, with all that depend on them. Later rows of the same mutation wait too, and count as
    /// `waiting` for later mutations. Edits of rows in `apart` become one record each.
    pub(crate) fn drafts(
        &self,
        most: usize,
        waiting: &HashSet<RowKey>,
        apart: &HashMap<RowKey, Option<Faults>>,
    ) -> Result<Drafts> {
        if !self.queue.awaiting().is_empty() {
            return Ok(Drafts::default()); // Others may depend on imported edits.
        }
        let schema = self.schema;
        let mut all = Coalesced::new(schema, most);
        let mut held = waiting.clone();
        let entries = self.queue.entries().filter(|entry| entry.state != MutationState::Parked);
        'queue: for entry in entries {
            let missing = || Error::Internal(format!("mutation {} is not in the queue", entry.id));
            let mutation = store::read(self.conn, entry.seq)?.ok_or_else(missing)?;
            let mut follows = false;
            for index in 0..mutation.effect.rows.len() {
                let patch = mutation.effect.rows[index].clone();
                // Later rows of a mutation may refer to earlier ones by rules that only the
                // server's database has.
                follows |= held.contains(&patch.row);
                if follows {
                    held.insert(patch.row.clone());
                }
                let waits = follows || self.queue.records().at(&patch.row).is_some();
                let Some(table) = schema.table(patch.row.table).filter(|_| !waits) else {
                    all.wait(patch);
                    continue;
                };
                let in_base = self.base_row(&patch.row)?.is_some();
                let mut edit = edit(table, &mutation, index, in_base);
                if edit.operation == Operation::Create || edit.patch.kind == PatchKind::Insert {
                    // The server fills in an owner that the app leaves empty: it is not written by
                    // the app.
                    let owner = table.owner.map(|at| table.columns[at].id);
                    edit.data.retain(|(id, value)| !value.is_null() || Some(*id) != owner);
                }
                // Without a record of it, a server can have it only as part of a group.
                let was_sent =
                    matches!(entry.state, MutationState::Sent | MutationState::Uncertain);
                edit.doubtful = was_sent && !self.queue.records().knows(entry.seq);
                // If the base has changed since, the server compares this edit by its own time.
                let has_moved = mutation.policy_state.seen(&edit.patch.row).is_some();
                edit.alone =
                    apart.contains_key(&edit.patch.row) || has_moved && mutation.is_by_time(table);
                if !all.add(edit, || !in_base) {
                    break 'queue;
                }
            }
        }
        let (records, nothing) = all.finish();
        Ok(Drafts { records, nothing })
    }

    /// The record for a draft as it would be sent now, `after` places after the last one. A create
    /// names the version of the tombstone that it replaces, if that is known.
    pub(crate) fn record_of(
        &self,
        draft: Draft,
        after: usize,
        tombs: &HashMap<RowKey, String>,
    ) -> Result<Record> {
        let (edited, version) = self.edited(&draft)?;
        let version = match draft.operation {
            Operation::Create => tombs.get(&draft.row).cloned(),
            Operation::Update | Operation::Delete => version,
        };
        // The server rejects a whole request because of one time that is not RFC 3339.
        let base = version.and_then(|text| time::parse(&text)).map(time::format);
        let members = draft.members.into_iter().map(|seq| Member { seq, hidden: None });
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        Ok(Record {
            place: self.queue.records().next_place().saturating_add(after),
            row: draft.row,
            operation: draft.operation,
            data: draft.data,
            base,
            edited,
            doubtful: draft.doubtful,
            faults: None,
            members: members.collect(),
        })
    }

    /// The clock and the row version that a record names: no clock and the version of the base,
    /// unless the table's policy is last-write-wins. Then the clock is that of the earliest edit,
    /// so that no edit overwrites a later one of another device. The version is that on which the
    /// first edit was made: none, if there was no row.
    fn edited(&self, draft: &Draft) -> Result<(String, Option<String>)> {
        let table = self.schema.table(draft.row.table);
        let table = table.filter(|table| table.policy == Policy::LastWriteWins);
        let mut members = Vec::new();
        for seq in draft.members.iter().filter(|_| table.is_some()) {
            members.extend(self.mutation(*seq)?);
        }
        let is_by_time = |one: &Rc<Mutation>| table.is_some_and(|table| one.is_by_time(table));
        let earliest = members.iter().map(|one| one.time_ms).min();
        match (members.first(), earliest) {
            (Some(first), Some(earliest)) if members.iter().all(is_by_time) => {
                let edited = time::format(earliest.saturating_mul(1000));
                let version = match first.policy_state.seen(&draft.row) {
                    Some(seen) => seen.clone(),
                    None => self.base_version(&draft.row)?,
                };
                Ok((edited, version))
            }
            _ => Ok((record::NO_CLOCK.to_owned(), self.base_version(&draft.row)?)),
        }
    }
}

/// One mutation's edit of a row without a record: changed columns of an update, every column of a
/// create, none of a delete.
fn edit(table: &Table, mutation: &Mutation, index: usize, in_base: bool) -> WireEdit {
    let patch = &mutation.effect.rows[index];
    let whole = mutation.policy_state.brought_back(patch).filter(|_| !in_base);
    let onto = in_base && mutation.is_onto(index);
    let operation = match &whole {
        Some(_) => Operation::Create,
        None if onto => Operation::Update,
        None => operation(table, patch, in_base),
    };
    let columns = patch.columns.iter().enumerate();
    let columns = columns.filter(|(_, one)| table.sends(patch.kind, one));
    let value = |at: usize| -> Value {
        let column = &patch.columns[at];
        // A column that was only read is sent with the value that the attempt expects.
        let seen = patch.kind == PatchKind::Update && !column.is_change();
        let old = seen.then(|| old_of(&mutation.effect, &mutation.basis, index, at));
        old.unwrap_or(&column.new).clone()
    };
    let data: Vec<(ColumnId, Value)> = match operation {
        Operation::Delete => Vec::new(),
        Operation::Create if whole.is_some() => {
            let whole = whole.into_iter().flat_map(|whole| whole.columns);
            let sent = whole.filter(|one| table.sends_whole(patch, one.column));
            sent.map(|one| (one.column, one.new)).collect()
        }
        Operation::Create => columns.map(|(at, one)| (one.column, value(at))).collect(),
        Operation::Update => {
            let changed = columns.filter(|(_, one)| onto || one.is_change());
            changed.map(|(at, one)| (one.column, value(at))).collect()
        }
    };
    let (patch, doubtful, alone) = (patch.clone(), false, false);
    WireEdit { seq: mutation.seq, patch, operation, data, doubtful, alone }
}

fn operation(table: &Table, patch: &RowPatch, in_base: bool) -> Operation {
    if deletes(table, patch) {
        Operation::Delete
    } else if patch.kind == PatchKind::Insert || !in_base && takes_back(table, patch) {
        Operation::Create
    } else {
        Operation::Update
    }
}

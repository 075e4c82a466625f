//! The sent form of a mutation, and when it is fixed.
//!
//! `Engine::mark_sent` commits the state *sent* before the first byte leaves: attempt, hash,
//! dependencies, and the versions that its deletes name. An attempt that was sent once is sent
//! again unchanged.

use std::collections::{HashMap, HashSet};

use rejoin_protocol::wire::push::Operation;

use super::after::Links;
use super::attempt::{self, Frozen, FrozenRow};
use super::faults::FaultLimit;
use super::mutation::{Mutation, MutationState};
use super::view::QueueView;
use super::{Intent, store};
use crate::engine::queue::pending_op::old_of;
use crate::engine::rows::apply::{soft_deletes, takes_back};
use crate::engine::rows::patch::{ColumnPatch, PatchKind, RowKey, RowPatch};
use crate::engine::schema::model::Table;
use crate::error::{Error, Result};
use crate::ids::{ColumnId, MutationId, Seq};
use crate::value::Value;

/// A mutation as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The mutation, in its state after it was marked.
    pub mutation: Mutation,
    /// The content hash of this attempt.
    pub hash: String,
    /// Mutations that must be accepted before it.
    pub after: Vec<MutationId>,
    /// Milliseconds since it was written, if the server may decide by time.
    pub age_ms: Option<i64>,
    /// Whether the server has failed on it so often, or for so long, that it must reject it at the
    /// next failure.
    pub last_try: bool,
    /// One entry per row.
    pub rows: Vec<OfferedRow>,
    /// The intent and the reads of an action.
    pub intent: Option<Intent>,
}

/// The change of a row, in the form of the wire; without protected columns.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedRow {
    /// The row.
    pub row: RowKey,
    /// The operation; a soft delete is a delete.
    pub operation: Operation,
    /// New values: changed columns of an update, every column of a create, none of a delete.
    pub data: Vec<(ColumnId, Value)>,
    /// The values that the attempt compares: those of the changed columns, every one of a delete,
    /// none of a create.
    pub old: Vec<(ColumnId, Value)>,
    /// The version of the row that a delete names, and an update if the server decides by version;
    /// else `None`, or if the base has none.
    pub version: Option<String>,
    /// Whether it overwrites the server's row.
    pub force: bool,
}

impl QueueView<'_> {
    /// All that [`Self::each_sendable`] gives.
    #[cfg(test)]
    pub(crate) fn sendable(&self, limit: usize) -> Result<Vec<Mutation>> {
        let mut mutations = Vec::new();
        self.each_sendable(limit, |mutation| {
            mutations.push(mutation);
            true
        })?;
        Ok(mutations)
    }

    /// Mutations that can be sent now, in queue order: the uncertain ones, unchanged, and the
    /// pending ones. Empty while an imported edit awaits the server's rows, because others may
    /// depend on it. Dependents of a cancelled mutation wait for the server's answer.
    ///
    /// After `each` has returned false, no further mutation is read.
    pub(crate) fn each_sendable(
        &self,
        limit: usize,
        mut each: impl FnMut(Mutation) -> bool,
    ) -> Result<()> {
        if !self.queue.awaiting().is_empty() {
            return Ok(());
        }
        let held = self.held_by_cancels()?;
        let entries = self.queue.entries().filter(|entry| !held.contains(&entry.seq));
        let open = entries
            .filter(|e| matches!(e.state, MutationState::Pending | MutationState::Uncertain));
        for entry in open.take(limit) {
            if store::read(self.conn, entry.seq)?.is_some_and(|mutation| !each(mutation)) {
                break;
            }
        }
        Ok(())
    }

    /// The earlier mutations that must be accepted before each of these, in queue order.
    pub(crate) fn links(&self, seqs: &[Seq]) -> Result<HashMap<Seq, Vec<MutationId>>> {
        let mut found = HashMap::new();
        let Some(last) = seqs.iter().max() else { return Ok(found) };
        let wanted: HashSet<Seq> = seqs.iter().copied().collect();
        let mut links = Links::new(self.schema);
        let live = self.queue.entries().filter(|entry| entry.state != MutationState::Parked);
        for entry in live.take_while(|entry| entry.seq <= *last) {
            let missing = || Error::Internal(format!("mutation {} is not in the queue", entry.id));
            let effect = store::read_effect(self.conn, entry.seq)?.ok_or_else(missing)?;
            if wanted.contains(&entry.seq) {
                let before = links.before(&effect, &entry.reads).into_iter();
                let ids = before.filter_map(|seq| Some(self.queue.entry(seq)?.id)).collect();
                found.insert(entry.seq, ids);
            }
            links.add(entry.seq, &effect, &entry.reads);
        }
        Ok(found)
    }

    /// What is sent of a mutation with `request`, and what the caller stores so that every later
    /// request carries the same. If `limit` is reached, the server is asked to reject the mutation
    /// if it fails once more.
    pub(crate) fn settle(
        &self,
        seq: Seq,
        after: Vec<MutationId>,
        request: i64,
        (limit, now_ms): (FaultLimit, i64),
    ) -> Result<(Offer, Vec<u8>)> {
        let conn = self.conn;
        let missing = || Error::Internal(format!("mutation {} is not in the queue", seq.0));
        let mut mutation = store::read(conn, seq)?.ok_or_else(missing)?;
        let content = store::read_content(conn, seq)?.ok_or_else(missing)?;
        let frozen = match &content.frozen {
            // It was sent before and must stay unchanged.
            Some(bytes) => Frozen { is_repeated: true, ..Frozen::decode(bytes)? },
            None => Frozen { after, rows: self.freeze(&mutation)?, ..Frozen::default() },
        };
        let hash = attempt::hash(&content.hashed);
        mutation.state = MutationState::Sent;
        mutation.request = Some(request);
        let mut rows = Vec::with_capacity(mutation.effect.rows.len());
        for (index, frozen) in frozen.rows.iter().enumerate() {
            let row = &mutation.effect.rows[index].row;
            let no_table = || Error::Internal(format!("no table has the number {}", row.table.0));
            let table = self.schema.table(row.table).ok_or_else(no_table)?;
            rows.push(offered(table, &mutation, index, frozen));
        }
        let is_by_time = self.is_by_time(&mutation);
        let age_ms = is_by_time.then(|| now_ms.saturating_sub(mutation.time_ms).max(0));
        let last_try = frozen.faults.is_some_and(|faults| limit.is_reached(faults, now_ms));
        let intent = match mutation.action {
            Some(_) => store::read_step(conn, seq)?.and_then(|step| step.intent),
            None => None,
        };
        let stored = frozen.encode();
        let offer = Offer { mutation, hash, after: frozen.after, age_ms, last_try, rows, intent };
        Ok((offer, stored))
    }

    /// Whether the server may decide by time in any of its rows.
    fn is_by_time(&self, mutation: &Mutation) -> bool {
        let mut tables = mutation.effect.rows.iter().filter_map(|p| self.schema.table(p.row.table));
        tables.any(|table| mutation.is_by_time(table))
    }

    fn freeze(&self, mutation: &Mutation) -> Result<Vec<FrozenRow>> {
        let mut rows = Vec::with_capacity(mutation.effect.rows.len());
        for (index, patch) in mutation.effect.rows.iter().enumerate() {
            let mut frozen = FrozenRow::default();
            if let Some(table) = self.schema.table(patch.row.table) {
                frozen.version = self.version_of(table, patch, mutation)?;
                let is_back = mutation.policy_state.brought_back(patch).is_some();
                frozen.whole = takes_back(table, patch)
                    && self.deleted_before(table, &patch.row, mutation.seq)?
                    || (is_back || takes_back(table, patch))
                        && self.base_row(&patch.row)?.is_none();
                frozen.onto =
                    mutation.is_onto(index) && self.is_there(table, &patch.row, mutation.seq)?;
                frozen.force = mutation.policy_state.insists() && table.policy.may_force();
            }
            rows.push(frozen);
        }
        Ok(rows)
    }

    /// The version that an edit names: for a delete, and where the server decides by version, that
    /// of the row as its author saw it.
    fn version_of(
        &self,
        table: &Table,
        patch: &RowPatch,
        mutation: &Mutation,
    ) -> Result<Option<String>> {
        if patch.kind == PatchKind::Insert || !(table.is_versioned() || deletes(table, patch)) {
            return Ok(None);
        }
        if !table.is_versioned() {
            let is_checked = self.is_checked(&patch.row, mutation.seq);
            return if is_checked { self.base_version(&patch.row) } else { Ok(None) };
        }
        // On top of an earlier edit of this device, the row will have a version that is not known
        // yet.
        if table.whole_rows && self.is_above(&patch.row, mutation.seq) {
            return Ok(None);
        }
        match mutation.policy_state.seen(&patch.row) {
            Some(version) => Ok(version.clone()),
            None => self.base_version(&patch.row),
        }
    }

    fn is_above(&self, row: &RowKey, seq: Seq) -> bool {
        let states = self.queue.states();
        let states = states.read();
        let mut earlier = states.at(row.table, &row.key).iter().filter(|one| one.seq < seq);
        earlier.any(|one| one.state != MutationState::Parked)
    }

    /// Whether this edit was checked against every image of the row. Under an earlier edit, or
    /// beside an uncertain one, the base may hold what its author never saw: then only old values
    /// can show a conflict, not the version.
    fn is_checked(&self, row: &RowKey, seq: Seq) -> bool {
        let states = self.queue.states();
        let states = states.read();
        let others = states.at(row.table, &row.key).iter().filter(|one| one.seq != seq);
        !others.into_iter().any(|one| match one.state {
            MutationState::Parked => false,
            MutationState::Pending => one.seq < seq,
            MutationState::Sent | MutationState::Uncertain => true,
        })
    }

    /// Whether an earlier mutation, which must be accepted first, deletes the row.
    fn deleted_before(&self, table: &Table, row: &RowKey, seq: Seq) -> Result<bool> {
        Ok(self.earlier(row, seq)?.iter().any(|patch| deletes(table, patch)))
    }

    /// Whether the row exists once the earlier mutations, which must be accepted first, are
    /// applied: the last of them that creates or deletes it decides, else the base.
    fn is_there(&self, table: &Table, row: &RowKey, seq: Seq) -> Result<bool> {
        let earlier = self.earlier(row, seq)?;
        let makes = |patch: &RowPatch| patch.kind == PatchKind::Insert || takes_back(table, patch);
        let decides = |patch: &&RowPatch| makes(patch) || deletes(table, patch);
        match earlier.iter().find(decides) {
            Some(patch) => Ok(!deletes(table, patch)),
            None => Ok(self.base_row(row)?.is_some()),
        }
    }

    /// Patches of the row by earlier mutations, without parked ones, latest first.
    fn earlier(&self, row: &RowKey, seq: Seq) -> Result<Vec<RowPatch>> {
        let states = self.queue.states();
        let earlier: Vec<Seq> = states
            .read()
            .at(row.table, &row.key)
            .iter()
            .rev()
            .filter(|one| one.seq < seq && one.state != MutationState::Parked)
            .map(|one| one.seq)
            .collect();
        let mut patches = Vec::new();
        for seq in earlier {
            let effect = self.effect(seq)?;
            let patch = effect.as_ref().and_then(|effect| effect.find(row));
            patches.extend(patch.map(|(_, patch)| patch.clone()));
        }
        Ok(patches)
    }
}

pub(super) fn deletes(table: &Table, patch: &RowPatch) -> bool {
    patch.kind == PatchKind::Delete || soft_deletes(table, patch)
}

fn offered(table: &Table, mutation: &Mutation, index: usize, frozen: &FrozenRow) -> OfferedRow {
    let patch = &mutation.effect.rows[index];
    let old = |at: usize| old_of(&mutation.effect, &mutation.basis, index, at).clone();
    let sent = |column: &&ColumnPatch| table.sends(patch.kind, column);
    let columns = || patch.columns.iter().enumerate().filter(|(_, column)| sent(column));
    let olds = |all: bool| {
        let named = columns().filter(move |(_, column)| all || column.is_change());
        named.map(|(at, column)| (column.column, old(at))).collect()
    };
    let (operation, data, old) = if deletes(table, patch) {
        (Operation::Delete, Vec::new(), olds(true))
    } else if let Some(whole) = mutation.policy_state.brought_back(patch).filter(|_| frozen.whole) {
        let news = whole.columns.iter().filter(|one| table.sends_whole(patch, one.column));
        let news = news.map(|one| (one.column, one.new.clone())).collect();
        (Operation::Create, news, Vec::new())
    } else if frozen.onto {
        let news = columns().map(|(_, column)| (column.column, column.new.clone()));
        (Operation::Update, news.collect(), olds(true))
    } else if patch.kind == PatchKind::Insert {
        let news = columns().map(|(_, column)| (column.column, column.new.clone()));
        (Operation::Create, news.collect(), Vec::new())
    } else if frozen.whole {
        // A column that was only read is sent with the value that the attempt expects, never one
        // that was refused.
        let news = columns().map(|(at, column)| {
            (column.column, if column.is_change() { column.new.clone() } else { old(at) })
        });
        (Operation::Create, news.collect(), Vec::new())
    } else {
        let changed = columns().filter(|(_, column)| column.is_change());
        let news = changed.map(|(_, column)| (column.column, column.new.clone()));
        (Operation::Update, news.collect(), olds(false))
    };
    let (row, version) = (patch.row.clone(), frozen.version.clone());
    OfferedRow { row, operation, data, old, version, force: frozen.force }
}

//! A write transaction on behalf of one user, with the rows that the user may read and write.
//!
//! A row that the user may not read is treated as missing.

use rejoin_protocol::Value;
use rejoin_protocol::wire::push::{Change, Operation};

use super::bucket;
use super::conflict::{is_gone, not_found};
use super::group_rows::GroupRows;
use super::plan::{Lookup, PushPlan};
use super::rejection::ChangeError;
use super::write_set::WriteSet;
use crate::error::Fault;
use crate::model::{ReadScope, Rights, Row, Schema, StoredRow, StoredVerdict, Table};
use crate::store::{ApplyError, Planned, PlannedWrite, StoreWrite, WriteError, Writing};

/// The transaction, its user and its time.
#[derive(Clone, Copy)]
pub(super) struct UserTransaction<'a> {
    pub(super) writing: &'a dyn Writing,
    /// The loaded rows and pending writes, if the store batches groups.
    pub(super) plan: Option<&'a PushPlan<'a>>,
    pub(super) user: &'a str,
    /// The user's buckets.
    pub(super) rights: &'a Rights,
    /// The time in canonical text, used for all writes of the transaction.
    pub(super) now: &'a str,
    /// The writes of the group, if it is applied as a set.
    pub(super) set: Option<&'a WriteSet>,
    /// The rows of the group, if it has several changes.
    pub(super) rows: Option<&'a GroupRows<'a>>,
}

impl<'a> UserTransaction<'a> {
    /// The transaction of this user, who has these buckets, at this time.
    pub(super) fn new(
        writing: &'a dyn Writing,
        plan: Option<&'a PushPlan<'a>>,
        user: &'a str,
        (rights, now): (&'a Rights, &'a str),
    ) -> Self {
        Self { writing, plan, user, rights, now, set: None, rows: None }
    }

    pub(super) fn schema(&self) -> &'a Schema {
        self.writing.schema()
    }

    /// The transaction after all pending writes were applied, so that reads see them.
    pub(super) fn settled(&self) -> Result<&'a dyn Writing, Fault> {
        self.plan.map_or(Ok(()), PushPlan::settle)?;
        Ok(self.writing)
    }

    /// The row of this key, live or deleted, and the user's access to it.
    pub(super) fn stored(&self, table: &Table, key: &Value) -> Result<Option<StoredRow>, Fault> {
        let known = self.plan.map(|plan| plan.row(table, key)).transpose()?;
        if let Some(Lookup(row)) = known.flatten() {
            return Ok(row);
        }
        let Rights { reads, writes } = self.rights;
        let (scope, own) = (ReadScope::of(reads), ReadScope::written_by(self.user, writes));
        self.settled()?.stored(table, key, &scope, &own)
    }

    /// Writes a row: immediately, with the writes of other groups, or with the group's set.
    pub(super) fn write(&self, table: &Table, write: StoreWrite) -> Result<(), WriteError> {
        let collected = match self.set {
            Some(set) => set.add(table, write),
            None => Some(write),
        };
        let Some(write) = collected else { return Ok(()) };
        let now = match self.plan {
            Some(plan) => plan.write(table, write),
            None => Some(write),
        };
        now.map_or(Ok(()), |write| self.writing.write(table, &write))
    }

    /// Writes rows of a set in one round trip. If one of them fails, none is written, and the number
    /// of those before it is returned; a store that does not batch writes none.
    pub(super) fn write_together(
        &self,
        writes: Vec<(&Table, StoreWrite)>,
    ) -> Result<Result<(), usize>, Fault> {
        let Some(batch) = self.writing.batch() else { return Ok(Err(0)) };
        let tables = &self.schema().tables;
        let mut planned = Vec::with_capacity(writes.len());
        for (group, (table, write)) in writes.into_iter().enumerate() {
            let place = tables.iter().position(|other| other.number == table.number);
            let write = match self.plan {
                Some(plan) => plan.write(table, write),
                None => Some(write),
            };
            let (Some(table), Some(write)) = (place, write) else { return Ok(Err(0)) };
            planned.push(PlannedWrite { group, table, write });
        }
        self.writing.begin()?;
        let (writes, verdicts) = (planned.as_slice(), [].as_slice());
        let (user, group) = (self.user, 0);
        let planned = Planned { user, writes, verdicts, group, is_last: true, is_set: true };
        match batch.apply(&planned) {
            Ok(()) => Ok(Ok(())),
            Err(ApplyError::Group(before)) => self.writing.undo().map(|()| Err(before)),
            Err(ApplyError::Fault(fault)) => Err(fault),
        }
    }

    /// The verdict on the latest attempt of a mutation.
    pub(super) fn verdict(&self, mutation: &str) -> Result<Option<StoredVerdict>, Fault> {
        match self.plan.and_then(|plan| plan.verdict(mutation)) {
            Some(Lookup(verdict)) => Ok(verdict),
            None => self.writing.verdict(self.user, mutation),
        }
    }

    /// Stores a verdict; it replaces the one of an earlier attempt.
    pub(super) fn put_verdict(&self, mutation: &str, verdict: &StoredVerdict) -> Result<(), Fault> {
        if self.plan.is_some_and(|plan| plan.put_verdict(mutation, verdict)) {
            return Ok(());
        }
        self.writing.put_verdict(self.user, mutation, verdict)
    }

    /// Stores verdicts again that were stored in this transaction.
    pub(super) fn put_verdicts(&self, verdicts: &[(String, StoredVerdict)]) -> Result<(), Fault> {
        match self.plan {
            Some(plan) if !verdicts.is_empty() => plan.put_verdicts(verdicts),
            _ => verdicts.iter().try_for_each(|(mutation, verdict)| {
                self.writing.put_verdict(self.user, mutation, verdict)
            }),
        }
    }

    /// Begins the savepoint of a group.
    pub(super) fn begin(&self) -> Result<(), Fault> {
        if self.plan.is_none_or(PushPlan::begin) { self.writing.begin() } else { Ok(()) }
    }

    /// Releases the savepoint of the group.
    pub(super) fn keep(&self) -> Result<(), Fault> {
        if self.plan.is_none_or(PushPlan::keep) { self.writing.keep() } else { Ok(()) }
    }

    /// Rolls back to the savepoint of the group.
    pub(super) fn undo(&self) -> Result<(), Fault> {
        match self.plan.map(PushPlan::undo).transpose()? {
            None | Some(true) => self.writing.undo(),
            Some(false) => Ok(()),
        }
    }

    /// The bucket column, if the written row is in a bucket that the user may not put rows into, named by a
    /// default or a trigger. `before`: the live row that was there. With other groups in a batch
    /// this is checked at its end.
    pub(super) fn foreign_bucket(
        &self,
        table: &Table,
        key: &Value,
        before: Option<&Row>,
    ) -> Result<Option<usize>, Fault> {
        let Some(named) = bucket::column(table) else { return Ok(None) };
        let former = before.map(|row| row.cell(named.column).clone());
        if self.plan.is_some_and(|plan| plan.check_bucket_later(table, key, former.as_ref())) {
            return Ok(None);
        }
        let written = self.stored(table, key)?.filter(|stored| !stored.row.is_deleted(table));
        let is_foreign = written.is_some_and(|StoredRow { row, .. }| {
            let value = row.cell(named.column);
            bucket::is_foreign(table, named, former.as_ref(), value, self.rights)
        });
        Ok(is_foreign.then_some(named.column))
    }

    /// The live row of this key, if the user may read it.
    pub(super) fn image(&self, table: &Table, key: &Value) -> Result<Option<Row>, Fault> {
        self.settled()?.image(table, key, &ReadScope::of(&self.rights.reads))
    }

    /// Result of a change whose row is missing. A create refers to no earlier row.
    pub(super) fn missing(&self, table: &Table, change: &Change) -> Result<(), ChangeError> {
        if change.operation == Operation::Create {
            return not_found();
        }
        self.not_there(table, &change.id)
    }

    /// Rejection for a missing row: deleted if the log shows that the user could read it, otherwise
    /// not found.
    pub(super) fn not_there(&self, table: &Table, id: &str) -> Result<(), ChangeError> {
        if self.settled()?.was_seen(table, id, &self.rights.reads)? {
            is_gone()
        } else {
            not_found()
        }
    }
}

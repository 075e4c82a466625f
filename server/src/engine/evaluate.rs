//! Evaluates one group: applies all its changes to the stored rows, or returns the verdict that
//! rejects the group.
//!
//! Steps of a change: access check, decoding, before-image, conflict detection, conflict policy,
//! write. The caller holds the savepoint. A row that the user may not read is treated as missing.

use std::collections::BTreeMap;

use rejoin_protocol::Value;
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Change, Ending, Group, Operation, Verdict};
use rejoin_protocol::wire::row::RowImage;

use super::budget::Budget;
use super::change::{Cells, RowChange, decode, named, sent_cells};
use super::checks::Checks;
use super::conflict::{
    Expected, check_create, check_delete, check_old_values, has_other_version, is_gone,
};
use super::conflict_log::{ConflictLog, by_name, conflict_code};
use super::group_rows::GroupRows;
use super::naming::Naming;
use super::order::in_order;
use super::own_writes::OwnWrites;
use super::rejection::{ChangeError, Rejection, reject};
use super::user_transaction::UserTransaction;
use super::verdict::{ended, unfinished};
use super::write_set::WriteSet;
use super::{bucket, encode, reads};
use crate::error::Fault;
use crate::hooks::{Conflict, Settled};
use crate::model::{PushPolicy, Row, StoredRow, Table};

/// The outcome of a group.
pub(super) enum Outcome {
    /// Applied; with the before-images of the changed columns, as far as there is room.
    Accepted { displaced: Vec<RowImage> },
    /// Rejected with this verdict.
    Refused(Verdict),
    /// Deferred by the host, with its message, or for want of time; no verdict is stored.
    Later(Verdict),
    /// Undecided because of a temporary failure.
    Transient(String),
}

/// A change that was evaluated.
struct Evaluated<'c> {
    change: &'c Change,
    key: Value,
    data: Cells,
    /// The row before it, live or deleted.
    stored: Option<Row>,
}

/// The row that was refused, if it is one, and why.
type RefusedRow<'g> = (Option<(&'g str, &'g str)>, ChangeError);

/// Evaluates the groups of a push in its transaction.
pub(super) struct Evaluator<'a> {
    pub(super) transaction: UserTransaction<'a>,
    /// The device.
    pub(super) client_id: &'a str,
    /// Collects conflicts for the host's hooks.
    pub(super) conflicts: &'a ConflictLog,
    /// The checks of actions.
    pub(super) checks: &'a Checks,
    /// What the push may cost.
    pub(super) budget: &'a Budget<'a>,
    /// What earlier mutations of the device left in the rows.
    pub(super) own: &'a OwnWrites,
}

impl Evaluator<'_> {
    /// Evaluates and applies the group. The caller holds a savepoint and rolls it back unless the
    /// group is accepted.
    ///
    /// `version` is the request's schema version; a group may name an older one.
    pub(super) fn group(&self, group: &Group, version: i64) -> Result<Outcome, Fault> {
        let naming = Naming::of(self.transaction.writing, group.schema_version.unwrap_or(version))?;
        let begun = self.conflicts.len();
        let is_several = group.changes.len() > 1;
        let rows = GroupRows::new(self.transaction.schema(), &group.changes);
        let transaction = UserTransaction { rows: is_several.then_some(&rows), ..self.transaction };
        let mut done = Evaluator { transaction, ..*self }.apply(group, &naming);
        if is_several && done.as_ref().is_err_and(|(_, why)| why.is_among_rows()) {
            if let Some(plan) = self.transaction.plan.filter(|plan| plan.is_together()) {
                return Err(plan.fail());
            }
            self.transaction.undo()?;
            self.transaction.begin()?;
            self.conflicts.discard(begun);
            self.budget.begin_set();
            rows.forget_created();
            let set = WriteSet::default();
            let transaction = UserTransaction { set: Some(&set), ..transaction };
            done = Evaluator { transaction, ..*self }.apply(group, &naming);
        }
        let (row, why) = match done {
            Ok(displaced) => return Ok(Outcome::Accepted { displaced }),
            Err(refused) => refused,
        };
        match why {
            // Internal faults too: a group on which the server fails must not stop the others.
            ChangeError::Fault(
                Fault::Transient(message) | Fault::Collision(message) | Fault::Internal(message),
            ) => Ok(Outcome::Transient(message)),
            ChangeError::Fault(fault) => Err(fault),
            ChangeError::Rejected(why) if why.ending == Ending::Retry => {
                Ok(Outcome::Later(unfinished(group)))
            }
            ChangeError::Rejected(why) => {
                let Rejection { ending, code, column, message, .. } = *why;
                let verdict = Verdict {
                    table_name: row.map(|(table, _)| table.to_owned()),
                    record_id: row.map(|(_, id)| id.to_owned()),
                    column,
                    ..ended(group, ending, code, &message)
                };
                self.record_verdict(group, &verdict, begun);
                Ok(Outcome::Refused(verdict))
            }
        }
    }

    /// Applies all changes: each when it is evaluated, or at the end as a set.
    fn apply<'g>(
        &self,
        group: &'g Group,
        naming: &Naming,
    ) -> Result<Vec<RowImage>, RefusedRow<'g>> {
        let transaction = &self.transaction;
        let ordered = in_order(transaction.schema(), &group.changes, naming);
        let row = |place: usize| {
            let change = ordered.get(place).copied();
            change.map(|change| (change.table_name.as_str(), change.id.as_str()))
        };
        reads::validate(transaction, (self.checks, self.budget, self.own), group, naming)?;
        let (mut displaced, mut evaluated) = (Vec::new(), Vec::new());
        for (place, change) in ordered.iter().enumerate() {
            if let Some(set) = transaction.set {
                set.next_change(place);
            }
            let done = self.change(group, change, naming, &mut displaced).and_then(|done| {
                match transaction.set {
                    Some(_) => evaluated.push((place, done)),
                    None => self.finish(group, naming, done)?,
                }
                Ok(())
            });
            done.map_err(|why| (row(place), why))?;
        }
        if let Some(set) = transaction.set {
            set.apply(transaction, self.budget).map_err(|(place, why)| (row(place), why))?;
        }
        for (place, done) in evaluated {
            self.finish(group, naming, done).map_err(|why| (row(place), why))?;
        }
        Ok(displaced)
    }

    /// Evaluates a change and writes its row.
    fn change<'c>(
        &self,
        group: &Group,
        change: &'c Change,
        naming: &Naming,
        displaced: &mut Vec<RowImage>,
    ) -> Result<Evaluated<'c>, ChangeError> {
        let transaction = &self.transaction;
        let schema = transaction.schema();
        let Some(table) = schema.table(&change.table_name) else {
            let message = "table not registered for sync";
            return reject(Ending::Refused, code::TABLE_UNKNOWN, None, message);
        };
        if table.push == PushPolicy::Disabled {
            return reject(Ending::Refused, code::TABLE_READ_ONLY, None, "table is read-only");
        }
        let Some(key) = table.key_of(&change.id) else {
            return reject(Ending::Rejected, code::VALUE_INVALID, None, "the key is no integer");
        };
        let sent = named(table, change, naming)?;
        let stored = transaction.stored(table, &key)?;
        if let Some(stored) = &stored {
            self.budget.check_row(&stored.row)?;
        }
        // A delete treats a row that the user may not read as missing.
        let stored = stored.filter(|stored| {
            change.operation != Operation::Delete || stored.readable || stored.writable
        });
        self.check_access(change, table, stored.as_ref())?;
        let data = sent_cells(table, &key, &sent)?;
        let before = stored.as_ref().filter(|stored| !stored.row.is_deleted(table));
        let before = before.map(|stored| &stored.row);
        let rights = transaction.rights;
        check_bucket(table, bucket::foreign(table, before, &data, rights))?;
        let image = before_image(table, &change.id, before, &data)?;
        if self.budget.keeps_image(image.data.as_ref().map_or(0, |data| data.get().len())) {
            displaced.push(image);
        }
        let pushed = RowChange { group, change, naming, table, key: &key, data: &data };
        if group.old_only {
            self.check_expected(&pushed, before)?;
        }
        match &stored {
            Some(stored) => self.apply_to_row(&pushed, &stored.row)?,
            None => self.apply_without_row(&pushed)?,
        }
        Ok(Evaluated { change, key, data, stored: stored.map(|stored| stored.row) })
    }

    /// Checks the row as it was written, and records its time.
    fn finish(
        &self,
        group: &Group,
        naming: &Naming,
        done: Evaluated<'_>,
    ) -> Result<(), ChangeError> {
        let Evaluated { change, key, data, stored } = &done;
        let transaction = &self.transaction;
        let Some(table) = transaction.schema().table(&change.table_name) else { return Ok(()) };
        if change.operation != Operation::Delete {
            let before = stored.as_ref().filter(|row| !row.is_deleted(table));
            check_bucket(table, transaction.foreign_bucket(table, key, before)?)?;
        }
        let written = RowChange { group, change, naming, table, key, data };
        transaction.record_author_time(&written, stored.as_ref())?;
        self.own.record(table, &change.id, done.data, done.stored.as_ref());
        Ok(())
    }

    /// Forgets the group's writes: they are rolled back.
    pub(super) fn forget(&self, group: &Group) {
        for change in &group.changes {
            if let Some(table) = self.transaction.schema().table(&change.table_name) {
                self.own.forget(table, &change.id);
            }
        }
    }

    fn apply_without_row(&self, change: &RowChange<'_>) -> Result<(), ChangeError> {
        let RowChange { change, table, key, data, .. } = *change;
        match change.operation {
            Operation::Create => self.transaction.create(table, key, data),
            Operation::Update => self.transaction.missing(table, change),
            // The row is already deleted. The log may be compacted, so it cannot tell whether the
            // row ever existed.
            Operation::Delete => Ok(()),
        }
    }

    /// Merges the change into the row; the table's policy resolves a conflict.
    fn apply_to_row(&self, change: &RowChange<'_>, row: &Row) -> Result<(), ChangeError> {
        match self.merge(change, row) {
            // Conflict policies apply to plain SQL only.
            Err(ChangeError::Rejected(why))
                if why.ending == Ending::Conflict && !change.group.old_only =>
            {
                let (code, column) = (why.code, why.column.clone());
                let done = self.transaction.resolve_conflict(change, row, why);
                self.record_conflict(change, row, (code, column), &done);
                done
            }
            other => other,
        }
    }

    /// Compares an action with its expected values only: a create needs a missing row, a delete a
    /// live one, and an update the old value of each column.
    fn check_expected(
        &self,
        change: &RowChange<'_>,
        live: Option<&Row>,
    ) -> Result<(), ChangeError> {
        let RowChange { change, naming, table, data, .. } = *change;
        match (change.operation, live) {
            (Operation::Create, Some(_)) => {
                reject(Ending::Conflict, code::ROW_EXISTS, None, "record already exists")
            }
            (Operation::Delete, None) => self.transaction.missing(table, change),
            (Operation::Update, Some(row)) => {
                let old = self.expected(table, change, naming, row)?;
                check_old_values(table, row, data, &old)
            }
            _ => Ok(()),
        }
    }

    /// The values that the change expects in the row; those that an earlier mutation of the device
    /// left there count as those that it wrote.
    fn expected(
        &self,
        table: &Table,
        change: &Change,
        naming: &Naming,
        row: &Row,
    ) -> Result<Cells, ChangeError> {
        let mut old = decode(table, change.old.as_deref(), naming)?;
        self.own.replace_expected(table, &change.id, row, &mut old);
        Ok(old)
    }

    /// Writes the columns that merge; any other difference is a conflict.
    fn merge(&self, change: &RowChange<'_>, row: &Row) -> Result<(), ChangeError> {
        let RowChange { change, naming, table, key, data, .. } = *change;
        let is_live = !row.is_deleted(table);
        match change.operation {
            Operation::Create if is_live => check_create(table, row, data),
            Operation::Create => self.transaction.resurrect(table, key, row, data),
            Operation::Update if is_live => {
                let old = self.expected(table, change, naming, row)?;
                let has_other_version = has_other_version(table, row, change);
                let expected = Expected { old: &old, has_other_version };
                self.transaction.update(table, key, row, data, Some(expected))
            }
            Operation::Update => is_gone(),
            Operation::Delete if is_live => {
                let old = self.expected(table, change, naming, row)?;
                check_delete(table, row, change, &old)?;
                Ok(self.transaction.delete_row(table, key)?)
            }
            Operation::Delete => Ok(()),
        }
    }

    /// Rejects a change of another user's row like that of a missing row, unless the user may read it.
    fn check_access(
        &self,
        change: &Change,
        table: &Table,
        stored: Option<&StoredRow>,
    ) -> Result<(), ChangeError> {
        match stored {
            // Before the columns are checked: an error about columns would reveal that the row
            // exists.
            None if change.operation == Operation::Update => {
                self.transaction.missing(table, change)
            }
            None => Ok(()),
            Some(stored) if stored.writable => Ok(()),
            Some(stored) if stored.readable => {
                let message = match bucket::written(table, &stored.row) {
                    Some(bucket) => format!("the user has no right to write the bucket {bucket}"),
                    None => String::from("the row is not this user's to change"),
                };
                reject(Ending::Refused, code::OWNERSHIP, None, message)
            }
            Some(_) => self.transaction.missing(table, change),
        }
    }

    /// Records how a conflict with a row was resolved. `found`: the code and column of the conflict.
    fn record_conflict(
        &self,
        change: &RowChange<'_>,
        row: &Row,
        (found, column): (&'static str, Option<String>),
        done: &Result<(), ChangeError>,
    ) {
        self.conflicts.record(|| {
            let RowChange { group, change, table, data, .. } = *change;
            let (settled, code) = match done {
                Ok(()) => (Settled::Written, found),
                // The code of the resolution, for example `row.superseded`.
                Err(ChangeError::Rejected(why)) if why.ending == Ending::Conflict => {
                    (Settled::Kept, why.code)
                }
                Err(ChangeError::Rejected(why)) if why.code == code::RESOLVER_REFUSED => {
                    (Settled::Refused, why.code)
                }
                Err(_) => return None,
            };
            Some(Conflict {
                user: self.transaction.user.to_owned(),
                client_id: self.client_id.to_owned(),
                mutation: Some(group.id.clone()),
                table: table.name.clone(),
                id: change.id.clone(),
                column,
                operation: Some(change.operation),
                code: conflict_code(code).or_else(|| conflict_code(found))?,
                present: by_name(table, row.cells.iter().enumerate()),
                sent: by_name(table, data.iter().map(|(at, value)| (*at, value))),
                settled,
            })
        });
    }

    /// Records a conflict that only the verdict reports: of an action, or with a missing row.
    fn record_verdict(&self, group: &Group, verdict: &Verdict, begun: usize) {
        if verdict.verdict != Ending::Conflict {
            return;
        }
        self.conflicts.record(|| {
            let (table, id) = (verdict.table_name.clone()?, verdict.record_id.clone()?);
            if self.conflicts.has_kept(begun, &table, &id) {
                return None;
            }
            let mut changes = group.changes.iter();
            let change = changes.find(|change| change.table_name == table && change.id == id);
            Some(Conflict {
                user: self.transaction.user.to_owned(),
                client_id: self.client_id.to_owned(),
                mutation: Some(group.id.clone()),
                table,
                id,
                column: verdict.column.clone(),
                operation: change.map(|change| change.operation),
                code: conflict_code(verdict.code.as_deref()?)?,
                present: BTreeMap::new(),
                sent: BTreeMap::new(),
                settled: Settled::Kept,
            })
        });
    }
}

/// Rejects a row in a bucket that the user may not put rows into, named by this column.
fn check_bucket(table: &Table, foreign: Option<usize>) -> Result<(), ChangeError> {
    let Some(at) = foreign else { return Ok(()) };
    let column = table.columns.get(at).map(|column| column.name.as_str());
    let message = "the bucket is not this user's to put rows into";
    reject(Ending::Refused, code::OWNERSHIP, column, message)
}

/// The before-image of a change: the values of its columns (all columns for a delete), or the
/// absence of the row.
fn before_image(
    table: &Table,
    id: &str,
    row: Option<&Row>,
    data: &Cells,
) -> Result<RowImage, Fault> {
    let (table_name, id) = (table.name.clone(), id.to_owned());
    let Some(row) = row else {
        return Ok(RowImage { table_name, id, data: None, updated_at: None, absent: true });
    };
    let columns: Vec<usize> = if data.is_empty() {
        table.travelling().collect()
    } else {
        data.iter().map(|(at, _)| *at).collect()
    };
    let data = Some(encode::object(table, row, columns)?);
    Ok(RowImage { table_name, id, data, updated_at: None, absent: false })
}

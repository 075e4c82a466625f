//! The judgement of one group (O1): each change against the row as it stands, column by column, all or nothing.
//!
//! A column applies if it has the old or the new value; a delete if the row's version is the one that was seen, else by
//! its old values; a create upon a live row if every sent column is equal. Rows of others do not exist here.

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Change, Ending, Group, Operation, Verdict};
use rejoin_protocol::wire::row::RowImage;
use rejoin_protocol::{ColumnKind, Value, equal, time};

use super::bucket;
use super::contest::Contest;
use super::encode::is_unsendable;
use super::hook::Met;
use super::naming::Naming;
use super::push::ended;
use super::seen::Checks;
use super::sent::{decode, named, sent_cells};
use crate::error::Fault;
use crate::model::resolver::Resolve;
use crate::model::{PushPolicy, ReadScope, Row, StoredRow, Table, Violation};
use crate::store::{WriteError, Writing};

/// How a group ended.
pub(super) enum Outcome {
    /// Applied; the rows before it, in the columns that it names (O13).
    Accepted { displaced: Vec<RowImage> },
    /// Not applied, by this verdict.
    Refused(Verdict),
    /// Not applied for now, in the host's words; nothing of it is kept.
    Later(Verdict),
    /// Nothing was decided.
    Transient(String),
}

/// Who judges, for whom and when.
pub(super) struct Judge<'a> {
    pub(super) writing: &'a dyn Writing,
    pub(super) user: &'a str,
    pub(super) held: &'a [String],
    pub(super) now: &'a str,
    /// The device.
    pub(super) client_id: &'a str,
    /// What it has met, for the host.
    pub(super) met: &'a Met,
    /// What is asked before actions are taken.
    pub(super) checks: &'a Checks,
}

/// Why a change is not applied.
pub(super) enum Stop {
    Verdict(Box<(Ending, &'static str, Option<String>, String)>),
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<WriteError> for Stop {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Fault(fault) => Self::Fault(fault),
            WriteError::Rule(Violation { code, column, message }) => {
                Self::Verdict(Box::new((Ending::Rejected, code, column, message)))
            }
        }
    }
}

pub(super) fn stop<T>(
    ending: Ending,
    code: &'static str,
    column: Option<&str>,
    message: impl Into<String>,
) -> Result<T, Stop> {
    Err(Stop::Verdict(Box::new((ending, code, column.map(str::to_owned), message.into()))))
}

/// Cells of a change, by position.
pub(super) type Cells = Vec<(usize, Value)>;

impl Judge<'_> {
    /// Judges the group and applies it. The caller holds a savepoint and takes back what a refused group did.
    ///
    /// `version` is the request's schema; a group may name an older one.
    pub(super) fn group(&self, group: &Group, version: i64) -> Result<Outcome, Fault> {
        let naming = Naming::of(self.writing, group.schema_version.unwrap_or(version))?;
        let (mut displaced, noted) = (Vec::new(), self.met.len());
        let mut judged = self.still_holds(group, &naming);
        for change in self.in_order(&group.changes) {
            let row = (change.table_name.as_str(), change.id.as_str());
            judged = judged.and_then(|()| {
                let done = self.change(group, change, &naming, &mut displaced);
                done.map_err(|why| (Some(row), why))
            });
        }
        let Err((row, why)) = judged else { return Ok(Outcome::Accepted { displaced }) };
        match why {
            // Also what is our own fault: one group that we cannot digest must not stop the others (I4).
            Stop::Fault(
                Fault::Transient(message) | Fault::Collision(message) | Fault::Internal(message),
            ) => Ok(Outcome::Transient(message)),
            Stop::Fault(fault) => Err(fault),
            Stop::Verdict(why) => {
                let (ending, code, column, message) = *why;
                let verdict = Verdict {
                    table_name: row.map(|(table, _)| table.to_owned()),
                    record_id: row.map(|(_, id)| id.to_owned()),
                    column,
                    ..ended(group, ending, code, &message)
                };
                self.note_verdict(group, &verdict, noted);
                Ok(Outcome::Refused(verdict))
            }
        }
    }

    /// Parents are written before children, and deleted after them.
    fn in_order<'c>(&self, changes: &'c [Change]) -> Vec<&'c Change> {
        let schema = self.writing.schema();
        let depth = |change: &Change| schema.table(&change.table_name).map_or(0, |t| t.depth);
        let mut ordered: Vec<&Change> = changes.iter().collect();
        ordered.sort_by_key(|change| match change.operation {
            Operation::Delete => (1, usize::MAX - depth(change)),
            Operation::Create | Operation::Update => (0, depth(change)),
        });
        ordered
    }

    fn change(
        &self,
        group: &Group,
        change: &Change,
        naming: &Naming,
        displaced: &mut Vec<RowImage>,
    ) -> Result<(), Stop> {
        let schema = self.writing.schema();
        let Some(table) = schema.table(&change.table_name) else {
            return stop(
                Ending::Refused,
                code::TABLE_UNKNOWN,
                None,
                "table not registered for sync",
            );
        };
        if table.push == PushPolicy::Disabled {
            return stop(Ending::Refused, code::TABLE_READ_ONLY, None, "table is read-only");
        }
        let Some(key) = table.key_of(&change.id) else {
            return stop(Ending::Rejected, code::VALUE_INVALID, None, "the key is no integer");
        };
        let sent = named(table, change, naming)?;
        let (scope, own) = (ReadScope::of(self.held), ReadScope::owned_by(self.user));
        let stored = self.writing.stored(table, &key, &scope, &own)?;
        // To a delete, a row that the user may not see is no row.
        let stored = stored.filter(|stored| {
            change.operation != Operation::Delete || stored.readable || stored.writable
        });
        self.check_access(change, table, stored.as_ref())?;
        let data = sent_cells(table, &key, &sent)?;
        self.check_bucket(table, stored.as_ref(), &data)?;
        let before = stored.as_ref().filter(|stored| !stored.row.is_deleted(table));
        displaced.push(was(table, &change.id, before.map(|stored| &stored.row), &data)?);
        let contest = Contest { group, change, naming, table, key: &key, data: &data };
        if group.old_only {
            self.check_seen(&contest, before.map(|stored| &stored.row))?;
        }
        let Some(StoredRow { row, .. }) = &stored else {
            match change.operation {
                Operation::Create => self.create(table, &key, &data)?,
                Operation::Update => self.missing(table, change)?,
                // What the delete wants is so. The log cannot say whether the row was there: it may be compacted.
                Operation::Delete => {}
            }
            return self.note_written(&contest, None);
        };
        match self.merge(&contest, row) {
            // Policies are for plain SQL (O7).
            Err(Stop::Verdict(why)) if why.0 == Ending::Conflict && !group.old_only => {
                let met = (why.1, why.2.clone());
                let done = self.contest(&contest, row, why);
                self.note_contest(&contest, row, &met, &done);
                done?;
            }
            other => other?,
        }
        self.note_written(&contest, Some(row))
    }

    /// An action goes by what it has seen alone (O1): a create finds no row, a delete one, each column has its old value. That
    /// a row has the new value already would excuse one of two equal takings.
    fn check_seen(&self, contest: &Contest<'_>, live: Option<&Row>) -> Result<(), Stop> {
        let Contest { change, naming, table, data, .. } = *contest;
        match (change.operation, live) {
            (Operation::Create, Some(_)) => {
                stop(Ending::Conflict, code::ROW_EXISTS, None, "record already exists")
            }
            (Operation::Delete, None) => self.missing(table, change),
            (Operation::Update, Some(row)) => {
                let old = decode(table, change.old.as_deref(), naming)?;
                let is_known = |at: usize| {
                    let known = old.iter().find(|(other, _)| *other == at);
                    at == table.key || known.is_some_and(|(_, old)| is_as_sent(table, row, at, old))
                };
                let Some((at, _)) = data.iter().find(|(at, _)| !is_known(*at)) else {
                    return Ok(());
                };
                let column = table.columns.get(*at).map(|column| column.name.as_str());
                let message = "the column has another value than the one that was seen";
                stop(Ending::Conflict, code::ROW_CHANGED, column, message)
            }
            _ => Ok(()),
        }
    }

    /// Column by column (O1): what can be merged is written, the rest is a conflict.
    fn merge(&self, contest: &Contest<'_>, row: &Row) -> Result<(), Stop> {
        let Contest { change, naming, table, key, data, .. } = *contest;
        let is_live = !row.is_deleted(table);
        match change.operation {
            Operation::Create if is_live => is_same(table, row, data),
            Operation::Create => self.resurrect(table, key, row, data),
            Operation::Update if is_live => {
                let old = decode(table, change.old.as_deref(), naming)?;
                let differs = has_other_version(table, row, change);
                self.update(table, key, row, data, Some((&old, differs)))
            }
            Operation::Update => is_gone(),
            Operation::Delete if is_live => {
                let old = decode(table, change.old.as_deref(), naming)?;
                check_delete(table, row, change, &old)?;
                self.erase(table, key)
            }
            Operation::Delete => Ok(()),
        }
    }

    /// A row of somebody else's is answered as one that is not there.
    fn check_access(
        &self,
        change: &Change,
        table: &Table,
        stored: Option<&StoredRow>,
    ) -> Result<(), Stop> {
        match stored {
            // Before its columns are looked at: what is wrong with them would tell that row from another's.
            None if change.operation == Operation::Update => self.missing(table, change),
            None => Ok(()),
            Some(stored) if stored.writable => Ok(()),
            Some(stored) if stored.readable => {
                stop(Ending::Refused, code::OWNERSHIP, None, "the row is not this user's to change")
            }
            Some(_) => self.missing(table, change),
        }
    }

    /// Nobody puts a row where others read it and he does not.
    fn check_bucket(
        &self,
        table: &Table,
        stored: Option<&StoredRow>,
        data: &Cells,
    ) -> Result<(), Stop> {
        let row = stored.map(|stored| &stored.row);
        let Some(at) = bucket::foreign(table, row, data, self.held) else { return Ok(()) };
        let column = table.columns.get(at).map(|column| column.name.as_str());
        let message = "the bucket is not this user's to put rows into";
        stop(Ending::Refused, code::OWNERSHIP, column, message)
    }

    /// There is no such row for this user: gone, if the log shows that it was his to see, else never there.
    fn missing(&self, table: &Table, change: &Change) -> Result<(), Stop> {
        if change.operation == Operation::Create {
            return not_found();
        }
        self.not_there(table, &change.id)
    }

    /// There is no row where one was seen.
    pub(super) fn not_there(&self, table: &Table, id: &str) -> Result<(), Stop> {
        if self.writing.was_seen(table, id, self.held)? { is_gone() } else { not_found() }
    }

    fn create(&self, table: &Table, key: &Value, data: &Cells) -> Result<(), Stop> {
        self.check_parent(table, data)?;
        let mut cells: Cells = data.iter().filter(|(at, _)| *at != table.key).cloned().collect();
        cells.push((table.key, key.clone()));
        if let Some(owner) = table.owner() {
            cells.push((owner, Value::from(self.user)));
        }
        for at in table.created_at.into_iter().chain([table.updated_at]) {
            cells.push((at, Value::from(self.now)));
        }
        cells.sort_by_key(|(at, _)| *at);
        self.check_references(table, key, &cells)?;
        match self.writing.insert(table, &cells) {
            // Somebody else's, whom this transaction does not see.
            Err(WriteError::Rule(rule)) if rule.is_key_taken(table) => not_found(),
            other => Ok(other?),
        }
    }

    /// A create upon a deleted row brings it back, with what was sent over what it was.
    pub(super) fn resurrect(
        &self,
        table: &Table,
        key: &Value,
        row: &Row,
        data: &Cells,
    ) -> Result<(), Stop> {
        if let Some(parent) = table.parent_column()
            && data.iter().any(|(at, value)| *at == parent && !is_equal(table, row, *at, value))
        {
            self.check_parent(table, data)?;
        }
        let mut cells: Cells = data
            .iter()
            .filter(|(at, value)| *at != table.key && !is_as_sent(table, row, *at, value))
            .cloned()
            .collect();
        cells.extend(table.deleted_at.map(|at| (at, Value::Null)));
        cells.sort_by_key(|(at, _)| *at);
        self.check_references(table, key, &cells)?;
        Ok(self.writing.update(table, key, &cells)?)
    }

    /// Sets the columns that have the old value, all of them where nothing is compared. `compare`: the old values, and
    /// whether the row is another one than the device saw, where rows do not merge.
    pub(super) fn update(
        &self,
        table: &Table,
        key: &Value,
        row: &Row,
        data: &Cells,
        compare: Option<(&Cells, bool)>,
    ) -> Result<(), Stop> {
        let mut cells = Cells::new();
        for (at, value) in data {
            if *at == table.key || is_equal(table, row, *at, value) {
                continue;
            }
            let column = table.columns.get(*at).map_or("", |column| column.name.as_str());
            if table.parent_column() == Some(*at) {
                let message = "a row does not move to another parent by push";
                return stop(Ending::Rejected, code::COLUMN_PROTECTED, Some(column), message);
            }
            let is_known = |old: &Cells| {
                let known = old.iter().find(|(other, _)| other == at);
                known.is_some_and(|(_, old)| is_as_sent(table, row, *at, old))
            };
            if !compare.is_none_or(|(old, _)| is_known(old)) {
                let message = "the column has another value than the one that was edited";
                return stop(Ending::Conflict, code::ROW_CHANGED, Some(column), message);
            }
            cells.push((*at, value.clone()));
        }
        if cells.is_empty() {
            return Ok(());
        }
        if compare.is_some_and(|(_, is_other)| is_other) {
            let message = "the row has changed since it was edited on the device";
            return stop(Ending::Conflict, code::ROW_CHANGED, None, message);
        }
        cells.sort_by_key(|(at, _)| *at);
        self.check_references(table, key, &cells)?;
        Ok(self.writing.update(table, key, &cells)?)
    }

    /// Deletes, softly if the table can.
    pub(super) fn erase(&self, table: &Table, key: &Value) -> Result<(), Stop> {
        match table.deleted_at {
            Some(at) => Ok(self.writing.update(table, key, &[(at, Value::from(self.now))])?),
            None => Ok(self.writing.remove(table, key)?),
        }
    }
}

/// Whether the device saw another version of the row, where rows do not merge. Above its own earlier edits it names none.
fn has_other_version(table: &Table, row: &Row, change: &Change) -> bool {
    let seen = change.version.as_deref().and_then(time::parse);
    matches!(table.resolver, Resolve::ServerWins)
        && seen.is_some()
        && seen != time::parse(&row.version(table))
}

/// A delete goes on if the row has the version that was seen, else by the values that were.
fn check_delete(table: &Table, row: &Row, change: &Change, old: &Cells) -> Result<(), Stop> {
    let present = time::parse(&row.version(table));
    if present.is_some() && change.version.as_deref().and_then(time::parse) == present {
        return Ok(());
    }
    let message = "the row has changed since it was deleted on the device";
    if has_other_version(table, row, change) {
        return stop(Ending::Conflict, code::ROW_CHANGED, None, message);
    }
    let differs = old
        .iter()
        .filter(|(at, _)| table.columns.get(*at).is_some_and(|c| !c.protected))
        .find(|(at, value)| !is_as_sent(table, row, *at, value));
    if let Some((at, _)) = differs {
        let column = table.columns.get(*at).map(|column| column.name.as_str());
        return stop(Ending::Conflict, code::ROW_CHANGED, column, message);
    }
    if old.is_empty() {
        let message = "the row has another version, and no old values were sent";
        return stop(Ending::Conflict, code::ROW_CHANGED, None, message);
    }
    Ok(())
}

fn not_found() -> Result<(), Stop> {
    stop(Ending::Conflict, code::ROW_NOT_FOUND, None, "record not found or not accessible")
}

fn is_gone() -> Result<(), Stop> {
    stop(Ending::Conflict, code::ROW_DELETED, None, "record is deleted")
}

/// A create upon a live row: our own, if every sent column is equal.
fn is_same(table: &Table, row: &Row, data: &Cells) -> Result<(), Stop> {
    match data.iter().find(|(at, value)| !is_as_sent(table, row, *at, value)) {
        None => Ok(()),
        Some((at, _)) => {
            let column = table.columns.get(*at).map(|column| column.name.as_str());
            stop(Ending::Conflict, code::ROW_EXISTS, column, "record already exists")
        }
    }
}

pub(super) fn is_equal(table: &Table, row: &Row, at: usize, value: &Value) -> bool {
    let kind = table.columns.get(at).map_or(ColumnKind::String, |column| column.kind);
    equal::equal(row.cell(at), value, kind)
}

/// Whether a device that has the row as it is has this value.
pub(super) fn is_as_sent(table: &Table, row: &Row, at: usize, value: &Value) -> bool {
    is_equal(table, row, at, value) || value.is_null() && is_unsendable(table, row, at)
}

/// What a change displaces: the values of its columns, all of them for a delete, or that there was no row (O13).
fn was(table: &Table, id: &str, row: Option<&Row>, data: &Cells) -> Result<RowImage, Fault> {
    let (table_name, id) = (table.name.clone(), id.to_owned());
    let Some(row) = row else {
        return Ok(RowImage { table_name, id, data: None, updated_at: None, absent: true });
    };
    let columns: Vec<usize> = if data.is_empty() {
        table.travelling().collect()
    } else {
        data.iter().map(|(at, _)| *at).collect()
    };
    let data = Some(super::encode::object(table, row, columns)?);
    Ok(RowImage { table_name, id, data, updated_at: None, absent: false })
}

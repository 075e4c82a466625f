//! Own entries that are not final, in the form of mutations: the app has one queue.
//!
//! An entry has no number in the queue (0), because the log is ordered by keys. Its attempt is its
//! revision.

use rejoin_log::effect::{Effect as RowEffect, Effects};
use rejoin_log::ids::{EntryId, Name};
use rejoin_log::replica::store::{OwnEntry, Record, ReplicaStore as _, Waiting};
use rejoin_log::row::{Columns, LogRow, RowName};
use serde_json::json;

use crate::engine::Engine;
use crate::engine::log;
use crate::engine::log::key::value_of;
use crate::engine::queue::PendingCounts;
use crate::engine::queue::history::Kept;
use crate::engine::queue::mutation::{Basis, Mutation, MutationState, ParkReason};
use crate::engine::queue::policy_state::PolicyState;
use crate::engine::queue::verdict;
use crate::engine::rows::patch::{ColumnPatch, Effect, PatchKind, RowKey, RowPatch};
use crate::engine::schema::model::{Schema, Table};
use crate::error::Result;
use crate::ids::{MutationId, Seq};
use crate::value::Value;

/// The entries that wait for the server or for the user, in the order in which they take effect.
pub(crate) fn pending(engine: &Engine) -> Result<Vec<Mutation>> {
    let mut list = super::reading(engine, |store| {
        let mut list = Vec::new();
        for what in [Waiting::Server, Waiting::User] {
            for id in store.waiting_ids(what, usize::MAX)? {
                list.extend(store.record(id)?);
            }
        }
        for id in store.refused_ids()? {
            list.extend(store.record(id)?);
        }
        Ok(list)
    })?;
    list.sort_by_key(|record| record.key);
    Ok(list.iter().filter_map(|record| mutation(&engine.schema, record)).collect())
}

/// The accepted entries that are not final, newest first, at most `limit`. Their time of acceptance
/// is that of their verdict, while the file keeps it; then that of the write.
pub(crate) fn accepted(engine: &Engine, limit: usize) -> Result<Vec<Kept>> {
    let records = super::reading(engine, |store| store.held(limit))?;
    let mut accepted = Vec::with_capacity(records.len());
    if records.is_empty() {
        return Ok(accepted);
    }
    let accepted_ms = verdict::accepted_times(engine.db.conn())?;
    for record in records {
        let Some(own) = &record.own else { continue };
        let id = MutationId(record.key.id.0);
        let time_ms = i64::try_from(own.time).unwrap_or(i64::MAX);
        let mut done = effect(&engine.schema, &record, own);
        if let Some(rows) = done_by(engine, &record) {
            done.rows = rows;
        }
        accepted.push(Kept {
            seq: Seq(0),
            id,
            time_ms,
            action: own.intent.as_ref().map(|intent| intent.action.as_str().to_owned()),
            attempt: i64::from(own.revision.0),
            accepted_ms: accepted_ms.get(&id).copied().unwrap_or(time_ms),
            undoes: own.undoes.map(|id| MutationId(id.0)),
            done,
        });
    }
    Ok(accepted)
}

/// The state of an own entry of this file.
pub(crate) enum OwnState {
    /// The server lacks its newest revision, or has denied it.
    Waits(Box<Mutation>),
    /// The server has it.
    Held,
}

impl OwnState {
    /// The entry, if it waits.
    pub(crate) fn waiting(self) -> Option<Mutation> {
        match self {
            Self::Waits(mutation) => Some(*mutation),
            Self::Held => None,
        }
    }
}

/// An own entry, unless it is final or was given up.
pub(crate) fn find(engine: &Engine, id: MutationId) -> Result<Option<OwnState>> {
    let record = super::reading(engine, |store| store.record(EntryId(id.0)))?;
    let own = record.filter(|record| record.own.is_some() && !record.is_given_up());
    Ok(own.map(|record| match mutation(&engine.schema, &record) {
        Some(mutation) => OwnState::Waits(Box::new(mutation)),
        None => OwnState::Held,
    }))
}

/// The revision of an own entry, and its action.
pub(super) type Attempt = (i64, Option<String>);

/// Those of the entry with this id.
pub(super) fn attempt(engine: &Engine, id: EntryId) -> Result<Attempt> {
    let record = super::reading(engine, |store| store.record(id))?;
    Ok(record.and_then(|record| record.own).map_or((0, None), |own| attempt_of(&own)))
}

pub(super) fn attempt_of(own: &OwnEntry) -> Attempt {
    let action = own.intent.as_ref().map(|intent| intent.action.to_string());
    (i64::from(own.revision.0), action)
}

/// The numbers of the queue with those of the log.
pub(crate) fn counts(engine: &Engine) -> Result<PendingCounts> {
    let mut counts = engine.queue.counts();
    if let Some(log) = log::counts(engine.db.conn())? {
        counts.pending += u64::try_from(log.pending).unwrap_or(0);
        counts.parked += u64::try_from(log.parked).unwrap_or(0);
    }
    Ok(counts)
}

fn mutation(schema: &Schema, record: &Record) -> Option<Mutation> {
    let own = record.own.as_ref()?;
    let (state, reason) = match record.waits_for() {
        _ if record.is_refused() => (MutationState::Parked, Some(ParkReason::Unreplayable)),
        _ if record.is_given_up() => return None,
        Some(Waiting::Server) => (MutationState::Pending, None),
        Some(Waiting::User) => (MutationState::Parked, Some(ParkReason::Refused)),
        Some(Waiting::Correction) | None => return None,
    };
    let detail = match reason {
        Some(ParkReason::Refused) => Some(denied()),
        Some(_) => own.refusal.as_deref().map(rejected),
        None => None,
    };
    Some(Mutation {
        seq: Seq(0),
        id: MutationId(record.key.id.0),
        time_ms: i64::try_from(own.time).unwrap_or(i64::MAX),
        counter: i64::try_from(record.key.counter).unwrap_or(i64::MAX),
        action: own.intent.as_ref().map(|intent| intent.action.as_str().to_owned()),
        state,
        attempt: i64::from(own.revision.0),
        request: None,
        because_of: None,
        reason,
        detail,
        effect: effect(schema, record, own),
        basis: Basis::new(),
        policy_state: PolicyState::default(),
        meant: 0,
    })
}

/// The detail of an entry that the server has denied.
pub(super) fn denied() -> String {
    let message = "a row is outside of the user's buckets, or its key is taken there, the server's table cannot \
         hold a value, or the entry is larger than the server accepts: retry it after that has changed, edit it, or \
         discard it";
    detail("refused", message)
}

/// The detail of an action that now rejects with this message.
pub(super) fn rejected(message: &str) -> String {
    detail("unreplayable", message)
}

pub(super) fn detail(code: &str, message: &str) -> String {
    json!({"code": code, "message": message}).to_string()
}

/// The detail of an entry that now does something else: with both contents, as rows, if the verdict
/// has room for them.
pub(super) fn both_contents(
    code: &str,
    message: &str,
    before: &Effects,
    after: &Effects,
) -> String {
    let (before, after) = (rows_of(before), rows_of(after));
    let whole = json!({"code": code, "message": message, "before": before, "after": after});
    let whole = whole.to_string();
    if whole.len() <= verdict::DETAIL { whole } else { detail(code, message) }
}

/// Effects as JSON: a list of rows with `table`, `id`, `operation` and `columns`.
fn rows_of(effects: &Effects) -> serde_json::Value {
    let row = |(row, effect): (&RowName, &RowEffect)| {
        let (operation, columns) = match effect {
            RowEffect::Insert(image) => ("insert", json!(image.columns())),
            RowEffect::Update(columns) => ("update", json!(columns)),
            RowEffect::Delete => ("delete", json!({})),
        };
        let (table, id) = (row.table.as_str(), row.id.as_str());
        json!({"table": table, "id": id, "operation": operation, "columns": columns})
    };
    effects.iter().map(row).collect()
}

/// What an own entry has changed, from the rows below it; rows that it left as they were are left
/// out. `None` if it wrote a row that this file does not have.
pub(super) fn done(engine: &Engine, id: MutationId) -> Result<Option<Vec<RowPatch>>> {
    let record = super::reading(engine, |store| store.record(EntryId(id.0)))?;
    Ok(record.and_then(|record| done_by(engine, &record)))
}

fn done_by(engine: &Engine, record: &Record) -> Option<Vec<RowPatch>> {
    let held = record.item.as_ref().and_then(|item| item.held.as_ref());
    if held.is_some_and(|held| held.is_hidden) {
        return None;
    }
    let counted = record.counted()?.effects();
    let mut done = Vec::with_capacity(record.undo.len());
    for (row, before) in &record.undo {
        let table = engine.schema.named(row.table.as_str())?;
        let after = counted.get(row)?.on(before.as_ref());
        let net = match (before, &after) {
            // Not between the two: that is an insert if a column was added meanwhile.
            (Some(before), Some(after)) => RowEffect::Update(changed(before, after)),
            (before, after) => match RowEffect::between(before.as_ref(), after.as_ref()) {
                Some(net) => net,
                None => continue,
            },
        };
        done.push(patch(table, row, &net, before.as_ref())?);
    }
    Some(done)
}

/// The columns of a row that differ from those before.
fn changed(before: &LogRow, after: &LogRow) -> Columns {
    let differs = |(name, value): &(&Name, &Value)| before.get(name.as_str()) != Some(*value);
    let new = after.columns().iter().filter(differs);
    new.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The changes with the old values of the last application; changes of removed tables are left out.
fn effect(schema: &Schema, record: &Record, own: &OwnEntry) -> Effect {
    let schema_version = schema.manifest.as_ref().map_or(0, |ours| ours.schema_version);
    let rows = own.effects.iter().filter_map(|(row, effect)| {
        let before = record.undo.iter().find(|(other, _)| other == row);
        patch(
            schema.named(row.table.as_str())?,
            row,
            effect,
            before.and_then(|(_, row)| row.as_ref()),
        )
    });
    Effect { schema_version, rows: rows.collect() }
}

fn patch(
    table: &Table,
    row: &RowName,
    effect: &RowEffect,
    before: Option<&LogRow>,
) -> Option<RowPatch> {
    let key = value_of(table, &row.id)?;
    let kind = match effect {
        RowEffect::Insert(_) => PatchKind::Insert,
        RowEffect::Update(_) => PatchKind::Update,
        RowEffect::Delete => PatchKind::Delete,
    };
    let columns = table.columns.iter().enumerate().filter_map(|(at, column)| {
        let old = || before.and_then(|before| before.get(&column.name)).cloned();
        let (old, new) = match effect {
            _ if at == table.key => return None,
            RowEffect::Insert(image) => (Value::Null, image.get(&column.name)?.clone()),
            RowEffect::Update(columns) => {
                (old().unwrap_or_default(), columns.get(column.name.as_str())?.clone())
            }
            RowEffect::Delete => (old()?, Value::Null),
        };
        Some(ColumnPatch { column: column.id, old, new })
    });
    Some(RowPatch { row: RowKey { table: table.number, key }, kind, columns: columns.collect() })
}

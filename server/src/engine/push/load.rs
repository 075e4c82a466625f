//! Loads what the items of a push will read, and locks keys before rows.
//!
//! A local store loads nothing in advance. Rows that are not loaded are read when they are needed,
//! so loading changes no result.

use std::collections::BTreeMap;

use rejoin_protocol::Value;
use rejoin_protocol::wire::push::{Cancel, Group};
use serde_json::value::RawValue;

use crate::engine::Caller;
use crate::engine::change::decode;
use crate::engine::checks::Checks;
use crate::engine::cursor::{self, Cursor};
use crate::engine::naming::Naming;
use crate::engine::plan::PushPlan;
use crate::error::Fault;
use crate::model::{Access, KeyLock, Rights, Schema, Table};
use crate::store::{ReadHint, Reading, RowIds, Writing};

/// Prefetches what a push reads before its groups.
pub(super) fn announce(
    reading: &dyn Reading,
    caller: &Caller,
    client_id: &str,
    witness: &str,
) -> Result<(), Fault> {
    let Some(key) = reading.cursor_key() else { return Ok(()) };
    let witness = cursor::open::<Cursor>(witness, key);
    let positions: Vec<i64> =
        witness.iter().flat_map(|witness| [witness.position, witness.seen]).collect();
    let hint = ReadHint { user: &caller.user, client_id, positions: &positions, entries: None };
    reading.expect(&hint)
}

/// The plan of a push of groups.
pub(super) fn plan_of<'a>(
    writing: &'a dyn Writing,
    checks: &Checks,
    user: (&'a str, &'a Rights),
    (cancels, groups): (&[Cancel], &[Group]),
) -> Result<Option<PushPlan<'a>>, Fault> {
    let cancelled = cancels.iter().map(|cancel| cancel.id.as_str());
    let evaluated = groups
        .iter()
        .flat_map(|group| group.after.iter().map(String::as_str).chain([group.id.as_str()]));
    let mut mutations: Vec<&str> = cancelled.chain(evaluated).collect();
    mutations.sort_unstable();
    mutations.dedup();
    let changes = groups.iter().flat_map(|group| &group.changes);
    let changes = changes.map(|change| ChangedRow {
        table: &change.table_name,
        id: &change.id,
        data: change.data.as_deref(),
    });
    plan(writing, checks, user, &mutations, changes)
}

/// A row that is changed.
pub(in crate::engine) struct ChangedRow<'a> {
    pub(in crate::engine) table: &'a str,
    pub(in crate::engine) id: &'a str,
    pub(in crate::engine) data: Option<&'a RawValue>,
}

/// The plan of a push, with the verdicts and rows that it will read; `None` for a local store. A server with checks leaves the
/// rows out: loading locks them, and checks lock tables first.
pub(in crate::engine) fn plan<'a, 'c>(
    writing: &'a dyn Writing,
    checks: &Checks,
    (user, rights): (&'a str, &'a Rights),
    mutations: &[&str],
    changes: impl Iterator<Item = ChangedRow<'c>>,
) -> Result<Option<PushPlan<'a>>, Fault> {
    let Some(batch) = writing.batch() else { return Ok(None) };
    let schema = writing.schema();
    let mut rows = RowIds::new();
    for (table, key) in changes.filter(|_| checks.is_empty()).flat_map(|c| rows_of(schema, &c)) {
        let place = schema.tables.iter().position(|other| other.number == table.number);
        if let (Some(place), Some(id)) = (place, key.to_id()) {
            rows.entry(place).or_default().insert(id);
        }
    }
    let plan = PushPlan::new(batch, schema, user, rights);
    plan.load(mutations, &rows)?;
    Ok(Some(plan))
}

/// Locks the keys of groups that depend on rows they have read, before any of their rows is read.
/// If each of two groups reads a missing row that the other creates, they run one after the other.
/// Groups without such reads lock only their rows.
pub(super) fn lock_keys(writing: &dyn Writing, groups: &[Group]) -> Result<(), Fault> {
    let reading: &dyn Reading = writing;
    let schema = reading.schema();
    let mut keys: BTreeMap<(i64, String), bool> = BTreeMap::new();
    let mut add = |table: &str, id: &str, is_written: bool| {
        let table = schema.table(table);
        let key = table.and_then(|table| Some((table.number, table.key_of(id)?.to_id()?)));
        if let Some(key) = key {
            *keys.entry(key).or_default() |= is_written;
        }
    };
    let depends = |group: &&Group| !group.reads.is_empty() || group.action.is_some();
    for group in groups.iter().filter(depends) {
        group.reads.iter().for_each(|row| add(&row.table_name, &row.id, false));
        group.changes.iter().for_each(|change| add(&change.table_name, &change.id, true));
    }
    let locks = keys.into_iter();
    let locks = locks.map(|((table, id), is_written)| KeyLock { table, id, is_written });
    let locks: Vec<KeyLock> = locks.collect();
    if locks.is_empty() { Ok(()) } else { writing.lock_keys(&locks) }
}

/// The rows that are read for a change: its own, and those that it refers to.
fn rows_of<'s>(schema: &'s Schema, change: &ChangedRow<'_>) -> Vec<(&'s Table, Value)> {
    let Some(table) = schema.table(change.table) else { return Vec::new() };
    let mut rows: Vec<(&Table, Value)> =
        table.key_of(change.id).into_iter().map(|key| (table, key)).collect();
    let parent = table.parent_column();
    if parent.is_none() && table.references.is_empty() {
        return rows;
    }
    // A value that cannot be decoded is rejected later. Columns with another name in an older schema
    // are read later too.
    let data = decode(table, change.data, &Naming::PRESENT);
    for (at, value) in data.ok().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let above = match table.access {
            Access::Chain { column, parent } if column == at => schema.tables.get(parent),
            _ => {
                let reference = table.references.iter().find(|reference| reference.column == at);
                reference.and_then(|reference| schema.table(&reference.table))
            }
        };
        rows.extend(above.map(|above| (above, value)));
    }
    rows
}

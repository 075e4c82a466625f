//! The groups of a push, judged in company while that goes well.
//!
//! A store across a network is told at once what a push names, and may try the writes of many groups together: it costs a
//! journey for all of them instead of some for each. Every group is judged in its order by the same rules; where one fails that
//! was thought to go well, all of them are taken back, and that one is judged alone.

use std::collections::BTreeMap;

use rejoin_protocol::Value;
use rejoin_protocol::wire::push::{Change, Group, PushAsk, PushRequest, Verdict};

use super::Caller;
use super::cursor::{self, Cursor};
use super::naming::Naming;
use super::push::Push;
use super::sent::decode;
use crate::error::Fault;
use crate::model::{Access, KeyLock, ReadScope, Schema, Table};
use crate::store::{Ahead, Coming, Reading};

/// How many groups are tried together after one has failed; twice as many each time that goes well.
const FEW: usize = 2;

/// Tells the store what a push asks before its groups.
pub(super) fn expect(
    reading: &dyn Reading,
    caller: &Caller,
    client_id: &str,
    witness: &str,
) -> Result<(), Fault> {
    let Some(key) = reading.cursor_key() else { return Ok(()) };
    let witness = cursor::open::<Cursor>(witness, key);
    let positions: Vec<i64> =
        witness.iter().flat_map(|witness| [witness.position, witness.seen]).collect();
    let ahead = Ahead { user: &caller.user, client_id, positions: &positions, entries: None };
    reading.expect(&ahead)
}

impl Push<'_> {
    /// Tells the store which verdicts and rows the groups will ask for. Rows are locked for that, and a server that asks checks
    /// locks tables first, so there it is left.
    pub(super) fn foresee(&self, ask: &PushAsk) -> Result<(), Fault> {
        self.lock_keys(ask)?;
        let reading: &dyn Reading = self.writing;
        let schema = reading.schema();
        let cancelled = ask.cancel.iter().map(|cancel| cancel.id.as_str());
        let judged = ask
            .groups
            .iter()
            .flat_map(|group| group.after.iter().map(String::as_str).chain([group.id.as_str()]));
        let mut mutations: Vec<&str> = cancelled.chain(judged).collect();
        mutations.sort_unstable();
        mutations.dedup();
        let changes = ask.groups.iter().flat_map(|group| &group.changes);
        let changes = changes.filter(|_| self.checks.is_empty());
        let rows: Vec<(&Table, Value)> =
            changes.flat_map(|change| rows_of(schema, change)).collect();
        let (scope, own) = (ReadScope::of(self.held), ReadScope::owned_by(&self.caller.user));
        self.writing.foresee(&Coming {
            user: &self.caller.user,
            mutations: &mutations,
            rows: &rows,
            scope: &scope,
            own: &own,
        })
    }

    /// Locks the keys of groups that depend on what they have read, before any of their rows is read. Two such groups, each of which
    /// reads the absent row that the other one creates, then run one after the other. Groups without such reads lock their
    /// rows only: they depend on nothing else.
    fn lock_keys(&self, ask: &PushAsk) -> Result<(), Fault> {
        let reading: &dyn Reading = self.writing;
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
        for group in ask.groups.iter().filter(depends) {
            group.reads.iter().for_each(|row| add(&row.table_name, &row.id, false));
            group.changes.iter().for_each(|change| add(&change.table_name, &change.id, true));
        }
        let locks = keys.into_iter();
        let locks = locks.map(|((table, id), is_written)| KeyLock { table, id, is_written });
        let locks: Vec<KeyLock> = locks.collect();
        if locks.is_empty() { Ok(()) } else { self.writing.lock_keys(&locks) }
    }

    /// Judges the groups in their order. A host's hooks are asked about each while nothing of the next is written.
    pub(super) fn groups(
        &self,
        request: &PushRequest,
        groups: &[Group],
        verdicts: &mut Vec<Verdict>,
    ) -> Result<(), Fault> {
        let (mut from, mut few) = (0, groups.len());
        // The one that cannot be judged in company.
        let mut alone = None;
        while let Some(group) = groups.get(from) {
            if self.hooks.is_some() || alone == Some(from) {
                verdicts.push(self.group(request, group)?);
                from += 1;
                alone = None;
                continue;
            }
            let end = alone.unwrap_or(groups.len()).min(from.saturating_add(few));
            let run = groups.get(from..end).unwrap_or_default();
            match self.together(request, run)? {
                Ok(ended) => {
                    verdicts.extend(ended);
                    from = end;
                    few = few.saturating_mul(2);
                }
                Err(before) => {
                    alone = Some(from + before);
                    few = FEW.max(before);
                }
            }
        }
        Ok(())
    }

    /// Judges several; else how many of them come before the one that has to be judged alone.
    fn together(
        &self,
        request: &PushRequest,
        groups: &[Group],
    ) -> Result<Result<Vec<Verdict>, usize>, Fault> {
        let mut verdicts = Vec::with_capacity(groups.len());
        let (first, mut ends) = (self.begun.get(), Vec::with_capacity(groups.len()));
        let failed = self.writing.together(&mut || {
            verdicts.clear();
            ends.clear();
            self.begun.set(first);
            for group in groups {
                let verdict = self.group(request, group);
                ends.push(self.begun.get() - first);
                verdicts.push(verdict?);
            }
            Ok(())
        })?;
        Ok(match failed {
            None => Ok(verdicts),
            Some(failed) => Err(ends.iter().filter(|end| **end <= failed).count()),
        })
    }
}

/// The rows that are looked at for a change: its own, and those that it refers to.
fn rows_of<'s>(schema: &'s Schema, change: &Change) -> Vec<(&'s Table, Value)> {
    let Some(table) = schema.table(&change.table_name) else { return Vec::new() };
    let mut rows: Vec<(&Table, Value)> =
        table.key_of(&change.id).into_iter().map(|key| (table, key)).collect();
    let parent = table.parent_column();
    if parent.is_none() && table.references.is_empty() {
        return rows;
    }
    // What cannot be decoded is refused when it is judged; and what an older schema calls otherwise is looked at then.
    let data = decode(table, change.data.as_deref(), &Naming::PRESENT);
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

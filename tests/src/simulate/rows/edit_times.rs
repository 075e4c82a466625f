//! Tables in which the later edit wins, evaluated a second time outside the server: when each
//! version of a row was written, which edits overwrote another, and which were superseded.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_core::ids::MutationId;
use rejoin_protocol::time;
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Change, Group, Operation};
use serde_json::value::RawValue;

use super::device_state::put;
use super::exceptions::SAW;
use super::history::{History, Name, Row, Rows, is_live};
use super::pushes::{AnsweredPush, cells, is_of_another};
use super::run::RowsRun;
use crate::simulate::{Checked, broken};

const LATER: &str = "later-edit-wins";

/// Microseconds by which the version of a row may be later than the server's clock, which stands
/// still while a run writes: each version is above the one before.
const TIE: i64 = 100;

/// The times of rows and edits, in microseconds of the server's clock.
#[derive(Debug, Default)]
pub(super) struct EditTimes {
    tables: BTreeSet<&'static str>,
    /// The time when its author wrote a version of a row, if that was before the push.
    written: BTreeMap<(Name, String), i64>,
    /// The last attempt of each mutation that had a verdict. The verdict is repeated for that
    /// attempt and earlier ones, which a copy of the file may send later, whatever the row is then.
    evaluated: BTreeMap<String, i64>,
}

/// A push under evaluation: the rows as they were when each of its groups was applied.
struct PushEvaluation<'t> {
    user: &'t str,
    times: &'t mut EditTimes,
    now: i64,
    rows: Rows,
    /// The write times of the rows that this push has written.
    at: BTreeMap<Name, i64>,
    /// Rows that this push has created.
    made: BTreeSet<Name>,
    overwritten: u64,
}

impl RowsRun<'_> {
    /// Checks that of two edits the later one wins.
    pub(super) fn check_later_edit_wins(&mut self, push: &AnsweredPush) -> Checked {
        let overwritten = self.times.evaluate(push, &self.server.history())?;
        self.report.add("a later edit overwrites another", overwritten);
        Ok(())
    }

    /// Checks that an edit names no version that its author never saw: its time is above that of
    /// the version.
    pub(super) fn check_named_versions(&self, at: usize, group: &Group) -> Checked {
        let written = MutationId::parse(&group.id).and_then(|id| self.mutations.get(id));
        let Some(written) = written.filter(|one| !one.reverse && !self.is_excepted(SAW, one))
        else {
            return Ok(());
        };
        for change in &group.changes {
            let Some(version) = &change.version else { continue };
            if !self.times.decide(group, change) {
                continue;
            }
            let name = (change.table_name.clone(), change.id.clone());
            let saw = written.saw.get(&name).copied().unwrap_or(i64::MIN);
            let file = self.slots[at].original;
            // A version that an edit of the same file made does not count as another author's.
            let is_own = self.server.history().changes.iter().any(|change| {
                let after = change.after.as_ref().and_then(|row| row.get("updated_at"));
                let own = change.by.is_some_and(|by| self.slots[by].original == file);
                own && change.name == name && after == Some(version)
            });
            if !is_own && time::parse(version).is_some_and(|named| named > saw) {
                let id = &group.id;
                return broken!(SAW, "{id} names {version} of {name:?}, unseen: {written:?}");
            }
        }
        Ok(())
    }
}

impl EditTimes {
    pub(super) fn of(tables: impl Iterator<Item = &'static str>) -> Self {
        Self { tables: tables.collect(), ..Self::default() }
    }

    /// Whether the later edit wins for a change.
    fn decide(&self, group: &Group, change: &Change) -> bool {
        group.age_ms.is_some() && self.tables.contains(&*change.table_name)
    }

    /// Evaluates the groups of a push; returns how many changes overwrote an earlier edit.
    fn evaluate(&mut self, push: &AnsweredPush, history: &History) -> Checked<u64> {
        if self.tables.is_empty() {
            return Ok(0);
        }
        let (rows, at) = (push.before.clone(), BTreeMap::new());
        let (user, now) = (&*push.user, push.now);
        let made = BTreeSet::new();
        let mut evaluation =
            PushEvaluation { user, times: self, now, rows, at, made, overwritten: 0 };
        for one in &push.groups {
            let Some(verdict) = &one.verdict else { continue };
            let last = evaluation.times.evaluated.entry(one.group.id.clone()).or_insert(i64::MIN);
            let first = verdict.attempt > *last;
            *last = verdict.attempt.max(*last);
            if one.fresh {
                evaluation.accepted(&one.group)?;
            } else if first && verdict.code.as_deref() == Some(code::ROW_SUPERSEDED) {
                evaluation.superseded(&one.group)?;
            }
        }
        let PushEvaluation { at, overwritten, .. } = evaluation;
        for (name, at) in at {
            let mut changes = history.changes[push.changes.clone()].iter();
            let own = changes.find(|change| change.name == name);
            let after = own.map_or(push.before.get(&name), |change| change.after.as_ref());
            if let Some(version) = after.and_then(|row| row.get("updated_at")) {
                self.written.insert((name, version.clone()), at);
            }
        }
        Ok(overwritten)
    }
}

impl PushEvaluation<'_> {
    fn accepted(&mut self, group: &Group) -> Checked {
        for change in &group.changes {
            let name = (change.table_name.clone(), change.id.clone());
            // The row was not found.
            if change.operation == Operation::Delete && is_of_another(&self.rows, &name, self.user)
            {
                continue;
            }
            let row = self.rows.get(&name);
            let written = self.written(group, change);
            let present = row.map(|row| self.present(&name, row));
            if let (Some(row), Some(written), Some(present)) = (row, written, present)
                && is_contested(row, change, self.made.contains(&name))
                && !change.force
            {
                if written <= present {
                    let id = &group.id;
                    return broken!(LATER, "{id} of {written} overwrote {row:?} of {present}");
                }
                self.overwritten += 1;
            }
            if self.write(&name, change) {
                let at = written.unwrap_or(self.now).max(present.unwrap_or(i64::MIN));
                self.at.insert(name, at.min(self.now));
            }
        }
        Ok(())
    }

    fn superseded(&self, group: &Group) -> Checked {
        let is_earlier = |change: &Change| {
            let name = (change.table_name.clone(), change.id.clone());
            let present = self.rows.get(&name).map(|row| self.present(&name, row));
            let later = |at: i64| present.is_some_and(|other| at <= other.saturating_add(TIE));
            self.written(group, change).is_some_and(later)
        };
        if group.changes.iter().any(is_earlier) {
            return Ok(());
        }
        broken!(LATER, "{} was superseded, and no row of it was written later", group.id)
    }

    /// The time of an edit: as old as its device reports, but after what its author saw, and never
    /// in the future. `None` where time does not decide.
    fn written(&self, group: &Group, change: &Change) -> Option<i64> {
        let age = group.age_ms.filter(|_| self.times.decide(group, change))?;
        let ago = self.now - age.max(0) * 1_000;
        let seen = change.version.as_deref().and_then(time::parse);
        Some(seen.map_or(ago, |seen| ago.max(seen + 1)).min(self.now))
    }

    /// The write time of the row; a version without a known time has its own timestamp.
    fn present(&self, name: &Name, row: &Row) -> i64 {
        let version = row.get("updated_at").cloned().unwrap_or_default();
        let came = time::parse(&version).unwrap_or(i64::MIN);
        let written = self.times.written.get(&(name.clone(), version));
        self.at.get(name).or(written).copied().unwrap_or(came)
    }

    /// Applies a change; returns whether the row differs from before.
    fn write(&mut self, name: &Name, change: &Change) -> bool {
        let before = self.rows.get(name).cloned();
        if change.operation == Operation::Delete {
            if name.0 == "marks" {
                self.rows.remove(name);
            } else if let Some(row) = self.rows.get_mut(name) {
                row.entry("deleted_at".to_owned()).or_insert_with(|| "now".to_owned());
            }
        } else {
            if before.is_none() {
                self.made.insert(name.clone());
            }
            let row = self.rows.entry(name.clone()).or_default();
            row.remove("deleted_at");
            for (column, value) in cells(change.data.as_deref().map(RawValue::get)) {
                put(row, &column, value);
            }
        }
        self.rows.get(name) != before.as_ref()
    }
}

/// Whether an edit conflicts with the row that it meets, beyond a column merge. In a row that this
/// push has created, columns that the server filled in are unknown.
fn is_contested(row: &Row, change: &Change, is_new: bool) -> bool {
    let data = cells(change.data.as_deref().map(RawValue::get));
    let olds: BTreeMap<_, _> =
        cells(change.old.as_deref().map(RawValue::get)).into_iter().collect();
    let is = |column: &String, value: &Option<String>| {
        row.get(column) == value.as_ref() || is_new && !row.contains_key(column)
    };
    match (change.operation, is_live(row)) {
        (Operation::Create, true) => data.iter().any(|(column, new)| !is(column, new)),
        (Operation::Update, false) => true,
        (Operation::Update, true) => data.iter().any(|(column, new)| {
            !is(column, new) && !olds.get(column).is_some_and(|old| is(column, old))
        }),
        (Operation::Delete, true) => {
            change.version.as_ref() != row.get("updated_at")
                && olds.iter().any(|(column, old)| !is(column, old))
        }
        (Operation::Create | Operation::Delete, false) => false,
    }
}

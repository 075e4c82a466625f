//! Tables in which the later edit wins (O11), judged a second time from outside: when each version of a row was written, which
//! edits went over another and which were superseded.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_protocol::time;
use rejoin_protocol::wire::code;
use rejoin_protocol::wire::push::{Change, Group, Operation, Verdict};
use serde_json::value::RawValue;

use super::history::{Name, Row, Rows, is_live};
use super::sight::put;
use super::site::cells;

/// What is known of the times of rows and edits, in microseconds of the server's clock.
#[derive(Debug, Default)]
pub(super) struct Times {
    tables: BTreeSet<&'static str>,
    /// When a version of a row was written by its author, where that was before it came.
    written: BTreeMap<(Name, String), i64>,
    /// Attempts that had their verdict before: it is told again, whatever has become of the row.
    judged: BTreeSet<(String, i64)>,
    /// What edits said that their authors had seen: mutation, row, version.
    pub(super) said: Vec<(String, Name, String)>,
}

/// A push under judgement: the rows as they were when each of its groups was asked.
struct Course<'t> {
    times: &'t mut Times,
    now: i64,
    rows: Rows,
    /// When the rows that this push has written were written.
    at: BTreeMap<Name, i64>,
    seen: Vec<&'static str>,
}

impl Times {
    pub(super) fn of(tables: impl Iterator<Item = &'static str>) -> Self {
        Self { tables: tables.collect(), ..Self::default() }
    }

    /// Judges the groups of a push, of which these were accepted just now; what was seen, to be counted.
    pub(super) fn judge(
        &mut self,
        now: i64,
        (before, after): (&Rows, &Rows),
        groups: &[Group],
        (verdicts, is_fresh): (&[Verdict], impl Fn(&Group) -> bool),
    ) -> Result<Vec<&'static str>, String> {
        if self.tables.is_empty() {
            return Ok(Vec::new());
        }
        let (rows, at) = (before.clone(), BTreeMap::new());
        let mut course = Course { times: self, now, rows, at, seen: Vec::new() };
        for group in groups {
            let Some(verdict) = verdicts.iter().find(|verdict| verdict.id == group.id) else {
                continue;
            };
            let first = course.times.judged.insert((group.id.clone(), verdict.attempt));
            if is_fresh(group) {
                course.accepted(group)?;
            } else if first && verdict.code.as_deref() == Some(code::ROW_SUPERSEDED) {
                course.superseded(group)?;
            }
        }
        let Course { at, seen, .. } = course;
        for (name, at) in at {
            let Some(version) = after.get(&name).and_then(|row| row.get("updated_at")) else {
                continue;
            };
            self.written.insert((name, version.clone()), at);
        }
        Ok(seen)
    }
}

impl Course<'_> {
    fn accepted(&mut self, group: &Group) -> Result<(), String> {
        for change in &group.changes {
            let name = (change.table_name.clone(), change.id.clone());
            let row = self.rows.get(&name).cloned();
            let written = self.written(group, change);
            let present = row.as_ref().map(|row| self.present(&name, row));
            if let (Some(row), Some(written), Some(present)) = (&row, written, present)
                && is_contested(row, change)
                && !change.force
            {
                self.seen.push("a later edit goes over another");
                if written <= present {
                    let id = &group.id;
                    return Err(format!("O11: {id} of {written} went over {row:?} of {present}"));
                }
            }
            if self.write(&name, change) {
                let at = written.unwrap_or(self.now).max(present.unwrap_or(i64::MIN));
                self.at.insert(name.clone(), at.min(self.now));
            }
            if let (Some(_), Some(version)) = (written, &change.version) {
                self.times.said.push((group.id.clone(), name, version.clone()));
            }
        }
        Ok(())
    }

    fn superseded(&mut self, group: &Group) -> Result<(), String> {
        let is_earlier = |change: &Change| {
            let name = (change.table_name.clone(), change.id.clone());
            let present = self.rows.get(&name).map(|row| self.present(&name, row));
            self.written(group, change).is_some_and(|at| present.is_some_and(|other| at <= other))
        };
        if group.changes.iter().any(is_earlier) {
            return Ok(());
        }
        Err(format!("O11: {} was superseded, and no row of it was written later", group.id))
    }

    /// When an edit was written: as long ago as its device says, but after what its author saw, and never in the future.
    /// `None` where time does not decide.
    fn written(&self, group: &Group, change: &Change) -> Option<i64> {
        let age = group.age_ms.filter(|_| self.times.tables.contains(&*change.table_name))?;
        let ago = self.now - age.max(0) * 1_000;
        let seen = change.version.as_deref().and_then(time::parse);
        Some(seen.map_or(ago, |seen| ago.max(seen + 1)).min(self.now))
    }

    /// When the row as it stands was written: what nobody says is as old as its version.
    fn present(&self, name: &Name, row: &Row) -> i64 {
        let version = row.get("updated_at").cloned().unwrap_or_default();
        let came = time::parse(&version).unwrap_or(i64::MIN);
        let told = self.times.written.get(&(name.clone(), version));
        self.at.get(name).or(told).copied().unwrap_or(came)
    }

    /// Writes a change; whether anything is another than before.
    fn write(&mut self, name: &Name, change: &Change) -> bool {
        let before = self.rows.get(name).cloned();
        if change.operation == Operation::Delete {
            if name.0 == "marks" {
                self.rows.remove(name);
            } else if let Some(row) = self.rows.get_mut(name) {
                row.entry("deleted_at".to_owned()).or_insert_with(|| "now".to_owned());
            }
        } else {
            let row = self.rows.entry(name.clone()).or_default();
            row.remove("deleted_at");
            for (column, value) in data(change) {
                put(row, &column, value);
            }
        }
        self.rows.get(name) != before.as_ref()
    }
}

fn data(change: &Change) -> Vec<(String, Option<String>)> {
    cells(change.data.as_deref().map(RawValue::get))
}

/// Whether an edit meets another row than it was made on, in a way that columns do not merge.
fn is_contested(row: &Row, change: &Change) -> bool {
    let olds: BTreeMap<_, _> =
        cells(change.old.as_deref().map(RawValue::get)).into_iter().collect();
    let is = |column: &String, value: &Option<String>| row.get(column) == value.as_ref();
    match (change.operation, is_live(row)) {
        (Operation::Create, true) => data(change).iter().any(|(column, new)| !is(column, new)),
        (Operation::Update, false) => true,
        (Operation::Update, true) => data(change).iter().any(|(column, new)| {
            !is(column, new) && !olds.get(column).is_some_and(|old| is(column, old))
        }),
        (Operation::Delete, true) => {
            change.version.as_ref() != row.get("updated_at")
                && olds.iter().any(|(column, old)| !is(column, old))
        }
        (Operation::Create | Operation::Delete, false) => false,
    }
}

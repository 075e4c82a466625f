//! Single rows of a mutation that get their verdicts one by one, because a plain server has no groups (D9, P8).
//!
//! Accepted rows leave the effect, refused ones wait aside; when no row is left, the mutation is accepted, or what was
//! refused of it is parked under its id. Once that is given up, what the server has of it goes into the history. A mutation of which nothing has left yet is still one: it is parked whole (O6).

use serde_json::{Map, Value as Json, json};

use super::work::{Work, missing};
use super::{park, take_over};
use crate::engine::queue::mutation::{BasisValue, ParkReason, is_onto};
use crate::engine::queue::part::{Parts, Refused};
use crate::engine::queue::step::{Fate, Parking, Step};
use crate::engine::queue::{Staged, store};
use crate::engine::rows::patch::{Effect, PatchKind, RowKey, RowPatch};
use crate::error::Result;
use crate::ids::Seq;
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// The word in the detail of a mutation of which the server has other rows.
const IN_PART: &str = "accepted in part";

/// Whether a server may have this step's edit of a row.
pub(crate) fn is_uncertain_at(work: &Work<'_>, step: &Step, row: &RowKey) -> bool {
    if !step.is_uncertain() || !work.queue.records().knows(step.seq) {
        return step.is_uncertain(); // As a part of a whole group.
    }
    let record = work.queue.records().at(row);
    let waits = record.filter(|record| !work.decided.contains(&record.place));
    waits.is_some_and(|record| record.live().any(|seq| seq == step.seq))
}

/// Parks a step for one of its rows: all of it while nothing of it has left, else that row.
pub(crate) fn park_at(work: &mut Work<'_>, seq: Seq, row: &RowKey, parking: Parking) -> Result<()> {
    work.undo([seq])?;
    let whole = !work.queue.records().knows(seq) && work.step(seq)?.parts.is_empty();
    if whole || mutant::on(Mutant::RestNotKept) {
        return park::park(work, seq, parking);
    }
    if !work.step(seq)?.stays() || work.step(seq)?.patch(row).is_none() {
        return Ok(());
    }
    take_over::take_over(work, seq, Some(row))?;
    let standing = park::standing_on(work, seq, Some(row))?;
    let step = work.step_mut(seq)?;
    let id = step.id;
    if let Some((patch, olds)) = step.take_row(row) {
        let Parking { reason, because_of, detail } = parking;
        step.parts.refused.push(Refused { patch, olds, reason, because_of, detail });
    }
    touch_row(work, row);
    park::park_dependents(work, standing, id)
}

/// The server has this step's edit of a row.
pub(super) fn accept_at(work: &mut Work<'_>, seq: Seq, row: &RowKey) -> Result<()> {
    work.undo([seq])?;
    let step = work.step_mut(seq)?;
    if step.stays()
        && let Some((patch, _)) = step.take_row(row)
    {
        step.parts.accepted.push(patch);
    }
    Ok(())
}

pub(super) fn touch_row(work: &mut Work<'_>, row: &RowKey) {
    if let Some(table) = work.schema.table(row.table) {
        work.touched.row(&table.name, row.key.clone());
    }
}

/// Discards a parked mutation, which is not applied anywhere. Its accepted parts go into the history.
pub(super) fn discard_parked(work: &mut Work<'_>, seq: Seq) -> Result<()> {
    let mut step = store::read_step(work.conn, seq)?.ok_or_else(|| missing(seq))?;
    if !step.parts.accepted.is_empty() {
        step.keep_accepted();
        store::write_parts(work.conn, &step)?;
        store::keep_in_history(work.conn, seq, work.now_ms, None)?;
    }
    store::remove(work.conn, seq)?;
    work.staged.push(Staged::Left(seq));
    for (row, _) in work.queue.entry(seq).map_or(&[][..], |entry| &entry.rows) {
        touch_row(work, row);
    }
    work.touched.queue();
    Ok(())
}

impl Step {
    /// Takes its edit of a row out of the effect, with the old values of the attempt.
    pub(super) fn take_row(&mut self, row: &RowKey) -> Option<(RowPatch, Vec<(usize, Value)>)> {
        let (index, _) = self.patch(row)?;
        let patch = self.effect.rows.remove(index);
        let mut olds = Vec::new();
        let mut basis = Vec::with_capacity(self.basis.len());
        for value in std::mem::take(&mut self.basis) {
            match value.row.cmp(&index) {
                std::cmp::Ordering::Less => basis.push(value),
                std::cmp::Ordering::Equal => olds.push((value.column, value.old)),
                std::cmp::Ordering::Greater => {
                    basis.push(BasisValue { row: value.row - 1, ..value });
                }
            }
        }
        self.basis = basis;
        self.frozen = None;
        self.reduced = true;
        self.changed = true;
        Some((patch, olds))
    }

    /// Its edit of a row with the old values of the attempt: where an earlier edit was given up, what that one had found
    /// (R11), and never its value.
    pub(super) fn patch_as_seen(&self, row: &RowKey) -> Option<RowPatch> {
        let (index, patch) = self.patch(row)?;
        let mut patch = patch.clone();
        for (at, column) in patch.columns.iter_mut().enumerate() {
            column.old = self.old(index, at).clone();
        }
        if is_onto(&self.effect, &self.basis, index) {
            patch.kind = PatchKind::Update; // A create over a live row was offered as an edit of that.
        }
        Some(patch)
    }

    /// What it wrote, with the old values of the attempt.
    pub(super) fn effect_as_seen(&self) -> Effect {
        let rows = self.effect.rows.iter().filter_map(|patch| self.patch_as_seen(&patch.row));
        Effect { schema_version: self.effect.schema_version, rows: rows.collect() }
    }

    /// Ends a step of which no row is left, and puts together what belongs together.
    pub(super) fn conclude(&mut self) {
        if self.parts.is_empty() && !self.reduced {
            return;
        }
        if self.stays() && self.effect.rows.is_empty() {
            self.fate = match self.parts.refused.first() {
                Some(refused) => Fate::Parked(parking_of(refused)),
                None if self.parts.accepted.is_empty() => Fate::Discarded,
                None => Fate::Accepted,
            };
        }
        match &mut self.fate {
            Fate::Accepted if self.parts.refused.is_empty() => {
                // The history keeps the whole.
                let accepted = std::mem::take(&mut self.parts.accepted);
                self.basis.iter_mut().for_each(|value| value.row += accepted.len());
                let rest = std::mem::replace(&mut self.effect.rows, accepted);
                self.effect.rows.extend(rest);
                self.reduced = true;
            }
            Fate::Accepted => {
                let rest = std::mem::take(&mut self.effect.rows);
                self.parts.accepted.extend(rest);
                self.fate = Fate::Parked(parking_of(&self.parts.refused[0]));
                self.gather();
            }
            Fate::Parked(_) => self.gather(),
            Fate::Discarded if !self.parts.accepted.is_empty() => self.keep_accepted(),
            Fate::Stays | Fate::Discarded | Fate::Withdrawn(_) | Fate::Lifted => {}
        }
    }

    /// The app has given up what the server has not: what it has is what there is of the mutation, and is accepted.
    fn keep_accepted(&mut self) {
        self.effect.rows = std::mem::take(&mut self.parts.accepted);
        self.parts = Parts::default();
        self.basis.clear();
        self.reduced = true;
        self.fate = Fate::Accepted;
    }

    /// What was refused is the effect of what is parked.
    fn gather(&mut self) {
        let Fate::Parked(parking) = &mut self.fate else { return };
        let refused = std::mem::take(&mut self.parts.refused);
        if !self.parts.accepted.is_empty() || refused.len() > 1 {
            parking.detail = Some(detail(&self.parts, parking, &refused));
        }
        if !self.parts.accepted.is_empty() {
            parking.reason = ParkReason::Remainder;
        }
        for one in refused {
            let row = self.effect.rows.len();
            let olds = one.olds.into_iter();
            self.basis.extend(olds.map(|(column, old)| BasisValue { row, column, old }));
            self.effect.rows.push(one.patch);
        }
        self.reduced = true;
    }
}

fn parking_of(refused: &Refused) -> Parking {
    Parking {
        reason: refused.reason,
        because_of: refused.because_of,
        detail: refused.detail.clone(),
    }
}

/// `{"code": "accepted in part", "refused": [..], "rows": [..]}`: each refusal in its own words, and the rows of all.
fn detail(parts: &Parts, parking: &Parking, refused: &[Refused]) -> String {
    let read = |text: &Option<String>| -> Map<String, Json> {
        text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    };
    let mut all: Vec<Map<String, Json>> = refused.iter().map(|one| read(&one.detail)).collect();
    if all.is_empty() {
        all.push(read(&parking.detail));
    }
    let mut rows = Vec::new();
    for one in &mut all {
        if let Some(Json::Array(mut theirs)) = one.remove("rows") {
            rows.append(&mut theirs);
        }
    }
    let mut whole = if parts.accepted.is_empty() { all[0].clone() } else { Map::new() };
    if !parts.accepted.is_empty() {
        whole.insert("code".to_owned(), json!(IN_PART));
        let message = format!("the server has {} other rows of it", parts.accepted.len());
        whole.insert("message".to_owned(), json!(message));
    }
    whole.insert("refused".to_owned(), json!(all));
    whole.insert("rows".to_owned(), Json::Array(rows));
    Json::Object(whole).to_string()
}

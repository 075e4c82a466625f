//! Verdicts on single rows of a mutation, because a plain server has no groups.
//!
//! Accepted rows are removed from the effect, refused ones are set aside. When no row is left, the
//! mutation is accepted, or its refused rows are parked under its id. If the app discards those,
//! the accepted rows go to the history. A mutation of which no row was sent yet is parked whole.

use serde_json::{Map, Value as Json, json};

use super::context::{RebaseContext, missing};
use super::{park, take_over};
use crate::engine::queue::mutation::{Basis, ParkReason, is_onto};
use crate::engine::queue::part::{DecidedRows, Refused};
use crate::engine::queue::pending_op::{OpOutcome, Parking, PendingOp};
use crate::engine::queue::{Staged, store};
use crate::engine::rows::patch::{Effect, PatchKind, RowKey, RowPatch};
use crate::error::Result;
use crate::ids::Seq;
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// Code in the detail of a mutation of which the server has accepted other rows.
const IN_PART: &str = "accepted in part";

/// Whether a server may have this mutation's edit of a row.
pub(crate) fn is_uncertain_at(work: &RebaseContext<'_>, step: &PendingOp, row: &RowKey) -> bool {
    if !step.is_uncertain() || !work.queue.records().knows(step.seq) {
        return step.is_uncertain(); // As part of a whole group.
    }
    let record = work.queue.records().at(row);
    let waits = record.filter(|record| !work.decided.contains(&record.place));
    waits.is_some_and(|record| record.live().any(|seq| seq == step.seq))
}

/// Parks a mutation because of one of its rows: all of it if none of it was sent, else that row.
pub(crate) fn park_at(
    work: &mut RebaseContext<'_>,
    seq: Seq,
    row: &RowKey,
    parking: Parking,
) -> Result<()> {
    work.undo([seq])?;
    let whole = !work.queue.records().knows(seq) && work.step(seq)?.parts.is_empty();
    if whole || mutant::on(Mutant::RestNotKept) {
        return park::park(work, seq, parking);
    }
    if !work.step(seq)?.stays() || work.step(seq)?.patch(row).is_none() {
        return Ok(());
    }
    take_over::take_over(work, seq, Some(row))?;
    let dependents = park::unsent_dependents(work, seq, Some(std::slice::from_ref(row)))?;
    let step = work.step_mut(seq)?;
    let id = step.id;
    if let Some((patch, olds)) = step.take_row(row) {
        let Parking { reason, because_of, detail } = parking;
        step.parts.refused.push(Refused { patch, olds, reason, because_of, detail });
    }
    touch_row(work, row);
    park::park_dependents(work, dependents, id)
}

/// The server has accepted this mutation's edit of a row.
pub(super) fn accept_at(work: &mut RebaseContext<'_>, seq: Seq, row: &RowKey) -> Result<()> {
    work.undo([seq])?;
    let step = work.step_mut(seq)?;
    if step.stays()
        && let Some((patch, _)) = step.take_row(row)
    {
        step.parts.accepted.push(patch);
    }
    Ok(())
}

pub(super) fn touch_row(work: &mut RebaseContext<'_>, row: &RowKey) {
    if let Some(table) = work.schema.table(row.table) {
        work.touched.row(&table.name, row.key.clone());
    }
}

/// Discards a parked mutation, which is not applied anywhere. Its accepted rows go to the history.
pub(super) fn discard_parked(work: &mut RebaseContext<'_>, seq: Seq) -> Result<()> {
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

impl PendingOp {
    /// Removes its edit of a row from the effect, and returns it with the attempt's old values.
    pub(super) fn take_row(&mut self, row: &RowKey) -> Option<(RowPatch, Vec<(usize, Value)>)> {
        let (index, _) = self.patch(row)?;
        let patch = self.effect.remove(index);
        let mut olds = self.basis.split_off(&(index, 0));
        let later = olds.split_off(&(index + 1, 0));
        self.basis.extend(later.into_iter().map(|((row, column), old)| ((row - 1, column), old)));
        let olds = olds.into_iter().map(|((_, column), old)| (column, old)).collect();
        self.frozen = None;
        self.reduced = true;
        self.changed = true;
        Some((patch, olds))
    }

    /// Its edit of a row with the attempt's old values: where an earlier edit was discarded, that
    /// edit's old value, never its new one.
    pub(super) fn patch_as_seen(&self, row: &RowKey) -> Option<RowPatch> {
        let (index, patch) = self.patch(row)?;
        let mut patch = patch.clone();
        for (at, column) in patch.columns.iter_mut().enumerate() {
            column.old = self.old(index, at).clone();
        }
        if is_onto(&self.effect, &self.basis, index) {
            patch.kind = PatchKind::Update; // A create over a live row was sent as an edit of it.
        }
        Some(patch)
    }

    /// Its effect with the attempt's old values.
    pub(super) fn effect_as_seen(&self) -> Effect {
        let rows = self.effect.rows.iter().filter_map(|patch| self.patch_as_seen(&patch.row));
        Effect { schema_version: self.effect.schema_version, rows: rows.collect() }
    }

    /// Completes a mutation of which no row is left.
    pub(super) fn conclude(&mut self) {
        if self.parts.is_empty() && !self.reduced {
            return;
        }
        if self.stays() && self.effect.rows.is_empty() {
            self.outcome = match self.parts.refused.first() {
                Some(refused) => OpOutcome::Parked(parking_of(refused)),
                None if self.parts.accepted.is_empty() => OpOutcome::Discarded,
                None => OpOutcome::Accepted,
            };
        }
        match &mut self.outcome {
            OpOutcome::Accepted if self.parts.refused.is_empty() => {
                // The history keeps the whole mutation.
                let accepted = std::mem::take(&mut self.parts.accepted);
                let basis = std::mem::take(&mut self.basis).into_iter();
                let moved = basis.map(|((row, at), old)| ((row + accepted.len(), at), old));
                self.basis = moved.collect::<Basis>();
                let rest = std::mem::replace(&mut self.effect.rows, accepted);
                self.effect.rows.extend(rest);
                self.reduced = true;
            }
            OpOutcome::Accepted => {
                let rest = std::mem::take(&mut self.effect.rows);
                self.parts.accepted.extend(rest);
                self.outcome = OpOutcome::Parked(parking_of(&self.parts.refused[0]));
                self.gather();
            }
            OpOutcome::Parked(_) => self.gather(),
            OpOutcome::Discarded if !self.parts.accepted.is_empty() => self.keep_accepted(),
            OpOutcome::Stays
            | OpOutcome::Discarded
            | OpOutcome::Withdrawn(_)
            | OpOutcome::Lifted => {}
        }
    }

    /// The app has discarded the refused rows: the accepted rows are the whole mutation, and it is
    /// accepted.
    fn keep_accepted(&mut self) {
        self.effect.rows = std::mem::take(&mut self.parts.accepted);
        self.parts = DecidedRows::default();
        self.basis.clear();
        self.reduced = true;
        self.outcome = OpOutcome::Accepted;
    }

    /// Makes the refused rows the effect of the parked mutation.
    fn gather(&mut self) {
        let OpOutcome::Parked(parking) = &mut self.outcome else { return };
        let refused = std::mem::take(&mut self.parts.refused);
        if !self.parts.accepted.is_empty() || refused.len() > 1 {
            parking.detail = Some(detail(&self.parts, parking, &refused));
        }
        if !self.parts.accepted.is_empty() {
            parking.reason = ParkReason::PartlyAccepted;
        }
        for one in refused {
            let row = self.effect.rows.len();
            let olds = one.olds.into_iter();
            self.basis.extend(olds.map(|(column, old)| ((row, column), old)));
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

/// `{"code": "accepted in part", "refused": [..], "rows": [..]}`: each refusal with its own error,
/// and the rows of all.
fn detail(parts: &DecidedRows, parking: &Parking, refused: &[Refused]) -> String {
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
        let message = format!("the server has accepted {} other rows of it", parts.accepted.len());
        whole.insert("message".to_owned(), json!(message));
    }
    whole.insert("refused".to_owned(), json!(all));
    whole.insert("rows".to_owned(), Json::Array(rows));
    Json::Object(whole).to_string()
}

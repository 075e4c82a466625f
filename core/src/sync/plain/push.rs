//! Push to a plain server. A sent record is frozen until its verdict.
//!
//! Frozen records are sent before new ones are frozen. One record that the server cannot store
//! fails the whole request with 500. A failed request is halved, always from the front, because
//! later records may depend on earlier ones, until one record is left. That record waits for the
//! next pass, where those that have not failed go first. Its 500 counts once everything is pulled
//! and the row is not ours. At the fault limit, which is that of a Rejoin server, the first failing
//! record is parked with its dependents. If it combines several edits, they are sent one by one first.

use std::collections::{BTreeSet, HashMap, HashSet};

use rejoin_protocol::wire::push::{PushRecord, PushResponse};
use serde_json::json;

use crate::engine::Engine;
use crate::engine::queue::attempt::Faults;
use crate::engine::queue::coalesce::{self, Draft};
use crate::engine::queue::mutation::ParkReason;
use crate::engine::queue::record::Record;
use crate::engine::queue::view::QueueView;
use crate::engine::rebase::record::accept_nothing;
use crate::engine::rebase::{Applied, Batch};
use crate::engine::rebase::{RecordEnding, Settled};
use crate::engine::rows::patch::RowKey;
use crate::error::Result;
use crate::ids::Seq;
use crate::sync::rows::push::Limits;
use rejoin_protocol::mutant::{self, Mutant};

mod answer;
mod body;

/// Conflicts of one row in one pass, each with another image, before it waits for the next pass.
const CONFLICTS: u32 = 3;

/// Number of records in a row on which the server may fail before the push ends: then the server
/// fails, not the records.
const FAILURES: usize = 3;

/// Maximum number of records per request. Each answer decodes and rolls back the whole mutations of
/// its records, so a large mutation costs less in few requests.
const RECORDS: usize = 1_000;

/// The content of a running push.
#[derive(Debug)]
pub(crate) struct PushContent {
    number: i64,
    places: Vec<i64>,
    /// Records that no earlier request contained.
    fresh: Vec<i64>,
}

/// State of the push during a pass.
#[derive(Debug, Default)]
pub(crate) struct PushState {
    /// The server now supports Rejoin: frozen records are still sent, and none is frozen.
    pub(crate) closing: bool,
    /// The first records that include a failing one, by number.
    failing: Option<usize>,
    /// Maximum number of records per request.
    most: Option<usize>,
    /// Number of answers since the last failure: each doubles the number of records per request.
    answers: u32,
    /// Failures that are not counted yet.
    failures: Vec<Failure>,
    /// Number of 500 on single records since the last answer.
    in_a_row: usize,
    /// Whether the server has answered a push of a record on which it had failed: others are sent
    /// together again.
    recovers: bool,
    /// Rows that wait for the next pass.
    aside: HashSet<RowKey>,
    /// Rows whose edits are sent one by one, because the server rejects one of them, with its
    /// failures on the record of all of them.
    apart: HashMap<RowKey, Option<Faults>>,
    /// Versions of tombstones that a create replaces.
    tombs: HashMap<RowKey, String>,
    conflicts: HashMap<RowKey, u32>,
    /// What was accepted without a request.
    accepted: Applied,
}

impl PushState {
    /// Takes what was accepted without a request since the last call.
    pub(crate) fn take_accepted(&mut self) -> Applied {
        std::mem::take(&mut self.accepted)
    }

    /// The state at the start of a pass. After a pass that the server failed, one record is sent
    /// first.
    pub(crate) fn renewed(&self) -> Self {
        let failing = self.is_over().then_some(1);
        Self { closing: self.closing, failing, ..Self::default() }
    }

    /// Whether failures wait for [`drained`].
    #[cfg(test)]
    pub(crate) fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Whether the server has failed so often that nothing more is sent in this pass.
    fn is_over(&self) -> bool {
        self.in_a_row >= FAILURES
    }

    /// The maximum number of records per request, which begins with `first`.
    fn batch(&self, first: usize) -> usize {
        let grown =
            first.saturating_mul(1 << self.answers.min(10)).clamp(first, RECORDS.max(first));
        self.most.unwrap_or(grown).min(grown).max(1)
    }

    /// How many of the next records are sent together.
    fn size(&self, most: usize) -> usize {
        self.failing.map_or(most, |failing| failing.min(most).div_ceil(2).max(1))
    }
}

/// A record on which the server has failed alone.
#[derive(Debug, Clone, Copy)]
struct Failure {
    place: i64,
    /// Whether the server could not read it: a retry is useless.
    unread: bool,
}

/// The next step of the push.
#[derive(Debug)]
pub(crate) enum PlainPushStep {
    /// Send this request, which is committed as sent.
    Send {
        /// The body of the request.
        body: Vec<u8>,
        /// Its content.
        sent: PushContent,
    },
    /// Nothing to send before everything is pulled; then call `drained`.
    Nothing,
}

/// The next step. `number` is this request's; records that leave are stored with it.
pub(crate) fn next(
    engine: &mut Engine,
    number: i64,
    limits: Limits,
    state: &mut PushState,
) -> Result<PlainPushStep> {
    if state.is_over() {
        return Ok(PlainPushStep::Nothing);
    }
    if mutant::on(Mutant::RecordThawed) {
        let all: Vec<i64> = engine.queue.records().iter().map(|record| record.place).collect();
        engine.thaw(&all)?;
    }
    let most = state.batch(limits.groups);
    let mut frozen = ready(engine, state, 0);
    let mut size = state.size(frozen.len());
    if frozen.is_empty() {
        if !state.closing {
            let step = fresh(engine, number, state.size(most), limits, state)?;
            if !matches!(step, PlainPushStep::Nothing) {
                return Ok(step);
            }
        }
        frozen = failed_before(engine, state);
        size = if state.recovers { state.size(frozen.len()) } else { 1 };
    }
    if frozen.is_empty() {
        return Ok(PlainPushStep::Nothing);
    }
    // Only from the front: later records may depend on it.
    let (changes, places) = fitting(engine, frozen.into_iter().take(size.min(most)), limits.body)?;
    let body = body::request(engine, changes)?;
    let again = places.iter().filter_map(|place| engine.queue.records().get(*place));
    let again: HashSet<Seq> = again.flat_map(Record::live).collect();
    engine.counters().sent_again(again.len());
    Ok(PlainPushStep::Send { body, sent: PushContent { number, places, fresh: Vec::new() } })
}

/// Frozen records that can be sent, without those on which the server has failed more often than
/// `failures`: none that depends on a waiting row.
fn ready(engine: &Engine, state: &PushState, failures: u32) -> Vec<Record> {
    let waits = |one: &Record| failures_of(one) > failures || state.aside.contains(&one.row);
    let records = || engine.queue.records().iter();
    if !records().any(waits) {
        return records().cloned().collect();
    }
    let mut all = coalesce::FrozenRecords::new(&engine.schema);
    records().filter(|record| all.can_go(record, waits(record))).cloned().collect()
}

/// Frozen records on which the server has failed in earlier passes: those that failed least often.
fn failed_before(engine: &Engine, state: &PushState) -> Vec<Record> {
    let counts: BTreeSet<u32> = engine.queue.records().iter().map(failures_of).collect();
    let mut levels = counts.into_iter().map(|count| ready(engine, state, count));
    levels.find(|records| !records.is_empty()).unwrap_or_default()
}

fn failures_of(record: &Record) -> u32 {
    record.faults.map_or(0, |faults| faults.count)
}

/// Freezes new records.
fn fresh(
    engine: &mut Engine,
    number: i64,
    most: usize,
    limits: Limits,
    state: &mut PushState,
) -> Result<PlainPushStep> {
    // Frozen rows wait for the next pass here.
    let frozen = engine.queue.records().iter().map(|record| &record.row);
    let waiting = state.aside.iter().chain(frozen).cloned().collect();
    let drafts = engine.queue_view().drafts(most, &waiting, &state.apart)?;
    if !drafts.nothing.is_empty() {
        let applied = accept_nothing(engine, &drafts.nothing)?;
        state.accepted.accepted.extend(applied.accepted);
    }
    let mut records = Vec::with_capacity(drafts.records.len());
    let view = engine.queue_view();
    for (after, draft) in drafts.records.into_iter().enumerate() {
        records.push(record_of(&view, draft, after, state)?);
    }
    drop(view);
    let (changes, places) = fitting(engine, records.iter().cloned(), limits.body)?;
    if places.is_empty() {
        return Ok(PlainPushStep::Nothing);
    }
    records.truncate(places.len());
    engine.freeze_records(&records, number)?;
    let body = body::request(engine, changes)?;
    let fresh = records.iter().filter(|record| !record.doubtful).map(|record| record.place);
    let fresh = fresh.collect();
    Ok(PlainPushStep::Send { body, sent: PushContent { number, places, fresh } })
}

/// The record for a draft, `after` places after the last one.
fn record_of(
    view: &QueueView<'_>,
    draft: Draft,
    after: usize,
    state: &PushState,
) -> Result<Record> {
    let record = view.record_of(draft, after, &state.tombs)?;
    // It was part of a record that has failed.
    let faults = state.apart.get(&record.row).copied().flatten();
    Ok(Record { faults, ..record })
}

/// The first records that fit into one body; at least one.
fn fitting(
    engine: &Engine,
    records: impl Iterator<Item = Record>,
    most: usize,
) -> Result<(Vec<PushRecord>, Vec<i64>)> {
    let (mut changes, mut places) = (Vec::new(), Vec::new());
    let mut weight = body::FRAME;
    for record in records {
        let change = body::change(&engine.schema, &record)?;
        weight += body::weight(&change);
        if !changes.is_empty() && weight > most {
            break;
        }
        changes.push(change);
        places.push(record.place);
    }
    Ok((changes, places))
}

/// Whether frozen records have no verdict yet.
pub(crate) fn frozen(engine: &Engine) -> bool {
    !engine.queue.records().is_empty()
}

/// Applies a 200 response.
pub(crate) fn answered(
    engine: &mut Engine,
    sent: &PushContent,
    answer: PushResponse,
    state: &mut PushState,
) -> Result<Applied> {
    let records = engine.queue.records();
    let requested: Vec<Record> =
        sent.places.iter().filter_map(|place| records.get(*place)).cloned().collect();
    let server_ms = crate::sync::rows::answer::server_ms(&answer);
    let mut results = answer::results(engine, &requested, answer)?;
    let mut batch = Batch { detect_conflicts: true, server_ms, ..Batch::default() };
    let view = engine.queue_view();
    for record in &requested {
        let Some(result) = results.remove(&record.place) else { continue };
        let was_sent = !sent.fresh.contains(&record.place);
        let meaning = answer::meaning(engine, &view, record, &result, was_sent)?;
        if let Some(settled) = meaning.settled {
            note(state, record, settled.ending);
            batch.records.push(settled);
        }
        state.tombs.remove(&record.row);
        if let Some(tomb) = meaning.tomb {
            state.tombs.insert(record.row.clone(), tomb);
        }
        batch.images.extend(meaning.image);
    }
    drop(view);
    let applied = engine.apply(batch)?;
    state.in_a_row = 0;
    state.answers = state.answers.saturating_add(1);
    state.recovers |= requested.iter().any(|record| record.faults.is_some());
    // Records without a result are uncertain as before.
    engine.mark_uncertain(sent.number)?;
    state.failing =
        state.failing.and_then(|failing| match failing - failing.min(sent.places.len()) {
            0 => None,
            rest => Some(rest),
        });
    Ok(applied)
}

/// Lets rows wait that would conflict repeatedly, and keeps edits apart that are sent one by one.
fn note(state: &mut PushState, record: &Record, ending: RecordEnding) {
    match ending {
        RecordEnding::Again => drop(state.aside.insert(record.row.clone())),
        RecordEnding::Conflict => {
            let count = state.conflicts.entry(record.row.clone()).or_default();
            *count += 1;
            if *count >= CONFLICTS {
                state.aside.insert(record.row.clone());
            }
        }
        RecordEnding::Apart => drop(state.apart.insert(record.row.clone(), record.faults)),
        RecordEnding::Accepted | RecordEnding::Stands | RecordEnding::Refused(_) => {}
    }
}

/// Handles a 500, which is uncertain and counts, or a 400: the server cannot read the request. A
/// single record waits for the next pass.
pub(crate) fn failed(
    engine: &mut Engine,
    sent: &PushContent,
    status: u16,
    state: &mut PushState,
) -> Result<()> {
    engine.mark_uncertain(sent.number)?;
    state.answers = 0;
    match sent.places.as_slice() {
        [] => {}
        [one] => {
            // The next one is sent alone: if it fails too, the server may fail on all of them.
            state.failing = Some(1);
            let unread = status == 400;
            state.in_a_row += usize::from(!unread);
            state.failures.push(Failure { place: *one, unread });
            state.aside.extend(engine.queue.records().get(*one).map(|record| record.row.clone()));
        }
        many => state.failing = Some(many.len()),
    }
    Ok(())
}

/// The request was too large (413). With `unread`, the server itself reports it and has applied
/// nothing; otherwise a proxy does, which decides nothing: v0.1.2 has no 413.
pub(crate) fn too_large(
    engine: &mut Engine,
    sent: &PushContent,
    unread: bool,
    state: &mut PushState,
) -> Result<Applied> {
    match sent.places.as_slice() {
        [] => Ok(Applied::default()),
        [one] if unread && sent.fresh.contains(one) => {
            let detail = json!({
                "code": "too_large",
                "message": "larger than the server takes in one request",
            });
            park(engine, state, *one, ParkReason::Refused, detail.to_string())
        }
        [one] => {
            // It, or an earlier request, may have been applied: only a verdict can end it.
            engine.mark_uncertain(sent.number)?;
            state.aside.extend(engine.queue.records().get(*one).map(|record| record.row.clone()));
            Ok(Applied::default())
        }
        many => {
            state.most = Some((many.len() / 2).max(1));
            let marked = if unread { unseen(engine, sent) } else { lost(engine, sent) };
            marked.map(|()| Applied::default())
        }
    }
}

/// The request was refused before any record was evaluated (401, 409, 426, 429).
pub(crate) fn unseen(engine: &mut Engine, sent: &PushContent) -> Result<()> {
    engine.thaw(&sent.fresh)?;
    engine.mark_uncertain(sent.number)
}

/// No usable response: the sent records are uncertain.
pub(crate) fn lost(engine: &mut Engine, sent: &PushContent) -> Result<()> {
    engine.mark_uncertain(sent.number)
}

/// Everything is pulled: the server works, and has not applied the records on which it failed.
/// Counts these failures; parks each record at the limit, with its dependents. Returns what was
/// parked: then there may be more to send.
pub(crate) fn drained(engine: &mut Engine, state: &mut PushState) -> Result<Vec<Applied>> {
    let mut parked = Vec::new();
    let mut failures = std::mem::take(&mut state.failures);
    failures.sort_by_key(|failure| failure.place);
    for Failure { place, unread } in failures {
        let Some(record) = engine.queue.records().get(place) else { continue };
        if !unread && !names_removed(engine, record) {
            if !engine.is_last_fault(record.faults) {
                engine.count_fault(place)?;
                continue;
            }
            // A plain schema declares no references: the server may have failed because an earlier row
            // is missing. So only the first failing record is parked; the others are tried again.
            if !parked.is_empty() || has_failed_before(engine, place) {
                continue;
            }
        }
        let row = record.row.clone();
        let detail = json!({
            "code": "poison",
            "message": "the server fails on this record and does not say why",
        });
        parked.push(park(engine, state, place, ParkReason::Rejected, detail.to_string())?);
        state.aside.remove(&row);
        if state.apart.contains_key(&row) {
            freeze_first(engine, &row, place, state)?;
        }
    }
    if !parked.is_empty() {
        state.in_a_row = 0;
    }
    Ok(parked)
}

/// Whether the server has failed on an earlier record, which is still in the queue.
fn has_failed_before(engine: &Engine, place: i64) -> bool {
    engine.queue.records().iter().any(|record| record.place < place && record.faults.is_some())
}

/// Whether a record names a table or column that the server has removed: a retry is useless.
fn names_removed(engine: &Engine, record: &Record) -> bool {
    engine.schema.table(record.row.table).is_some_and(|table| {
        let sent = table.sent_values(record.operation, &record.data);
        table.is_removed() || sent.iter().any(|(column, _)| table.position(*column).is_none())
    })
}

/// The first of the separated edits takes the queue position of their common record, because frozen
/// records after it may depend on the row.
fn freeze_first(engine: &mut Engine, row: &RowKey, place: i64, state: &PushState) -> Result<()> {
    const UNSENT: i64 = 0; // The number of no request.
    let view = engine.queue_view();
    let drafts = view.drafts(usize::MAX, &state.aside, &state.apart)?;
    let Some(draft) = drafts.records.into_iter().find(|draft| draft.row == *row) else {
        return Ok(());
    };
    let record = Record { place, ..record_of(&view, draft, 0, state)? };
    drop(view);
    engine.freeze_records(&[record], UNSENT)?;
    engine.mark_uncertain(UNSENT)
}

/// Parks the content of a record, or the edit that causes the failure.
fn park(
    engine: &mut Engine,
    state: &mut PushState,
    place: i64,
    reason: ParkReason,
    detail: String,
) -> Result<Applied> {
    let Some(record) = engine.queue.records().get(place) else { return Ok(Applied::default()) };
    let ending = answer::refused(record, reason);
    note(state, record, ending);
    let settled = Settled { place, ending, detail: Some(detail) };
    engine.apply(Batch { records: vec![settled], detect_conflicts: true, ..Batch::default() })
}

/// Pulled rows may accept uncertain creates and updates, never a delete: adds the verdicts.
pub(crate) fn recognise(engine: &Engine, batch: &mut Batch) -> Result<()> {
    let records = engine.queue.records();
    if records.is_empty() {
        return Ok(());
    }
    for image in &batch.images {
        let row = RowKey { table: image.table, key: image.key.clone() };
        let Some(record) = records.at(&row) else { continue };
        if answer::is_own(engine, record, image, true)? {
            let (place, ending) = (record.place, RecordEnding::Accepted);
            batch.records.push(Settled { place, ending, detail: None });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Push to a plain server. A sent record is frozen until its verdict.
//!
//! Frozen records are sent before new ones are frozen. One record that the server cannot store
//! fails the whole request with 500. A failed request is halved, always from the front, because
//! later records may depend on earlier ones, until one record is left. A 500 on that record counts
//! after the server has answered another request. After the third one everything is pulled; if the
//! row is still not ours, the record is parked with its dependents. If it combines several edits,
//! they are sent one by one first.

use std::collections::{HashMap, HashSet};

use rejoin_protocol::wire::push::{PushRecord, PushResponse};
use serde_json::json;

use crate::engine::Engine;
use crate::engine::queue::coalesce;
use crate::engine::queue::mutation::ParkReason;
use crate::engine::queue::record::Record;
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
    /// What must happen before the next push, and for which record.
    want: Option<(Want, i64)>,
    /// Rows that wait for the next pass.
    aside: HashSet<RowKey>,
    /// Rows whose edits are sent one by one, because the server rejects one of them.
    apart: HashSet<RowKey>,
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

    /// The state at the start of a pass.
    pub(crate) fn renewed(&self) -> Self {
        Self { closing: self.closing, ..Self::default() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// Another request must succeed, so that a 500 counts.
    Probe,
    /// Everything must be pulled, to detect the row as our own.
    Drain,
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
    /// Pull everything first, to check for our own row; then call `drained`.
    Drain,
    /// A pull must be answered before a 500 counts; then call `probed`.
    Probe,
    /// Nothing to send in this pass.
    Nothing,
}

/// The next step. `number` is this request's; records that leave are stored with it.
pub(crate) fn next(
    engine: &mut Engine,
    number: i64,
    limits: Limits,
    course: &mut PushState,
) -> Result<PlainPushStep> {
    match course.want {
        Some((Want::Probe, _)) => return Ok(PlainPushStep::Probe),
        Some((Want::Drain, _)) => return Ok(PlainPushStep::Drain),
        None => {}
    }
    if mutant::on(Mutant::RecordThawed) {
        let all: Vec<i64> = engine.queue.records().iter().map(|record| record.place).collect();
        engine.thaw(&all)?;
    }
    let most = course.most.unwrap_or(limits.groups).min(limits.groups).max(1);
    let ready = ready(engine, course);
    if ready.is_empty() {
        return if course.closing {
            Ok(PlainPushStep::Nothing)
        } else {
            fresh(engine, number, most, limits, course)
        };
    }
    let size = match course.failing {
        Some(failing) => failing.min(ready.len()).div_ceil(2).max(1),
        None => ready.len(),
    };
    // Only from the front: later records may depend on it.
    let front = ready.into_iter().take(size.min(most));
    let (changes, places) = fitting(engine, front, limits.body)?;
    let body = body::request(engine, changes)?;
    let again = places.iter().filter_map(|place| engine.queue.records().get(*place));
    let again: HashSet<Seq> = again.flat_map(Record::live).collect();
    engine.counters().sent_again(again.len());
    Ok(PlainPushStep::Send { body, sent: PushContent { number, places, fresh: Vec::new() } })
}

/// Frozen records that can be sent: none that depends on a waiting row.
fn ready(engine: &Engine, course: &PushState) -> Vec<Record> {
    let records = engine.queue.records().iter();
    if course.aside.is_empty() {
        return records.cloned().collect();
    }
    let mut all = coalesce::FrozenRecords::new(&engine.schema);
    let mut ready = Vec::new();
    for record in records {
        if all.can_go(record, course.aside.contains(&record.row)) {
            ready.push(record.clone());
        }
    }
    ready
}

/// Freezes new records.
fn fresh(
    engine: &mut Engine,
    number: i64,
    most: usize,
    limits: Limits,
    course: &mut PushState,
) -> Result<PlainPushStep> {
    course.failing = None;
    // Frozen rows wait for the next pass here.
    let frozen = engine.queue.records().iter().map(|record| &record.row);
    let waiting = course.aside.iter().chain(frozen).cloned().collect();
    let drafts = engine.queue_view().drafts(most, &waiting, &course.apart)?;
    if !drafts.nothing.is_empty() {
        let applied = accept_nothing(engine, &drafts.nothing)?;
        course.accepted.accepted.extend(applied.accepted);
    }
    let mut records = Vec::with_capacity(drafts.records.len());
    let view = engine.queue_view();
    for (after, draft) in drafts.records.into_iter().enumerate() {
        records.push(view.record_of(draft, after, &course.tombs)?);
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
    course: &mut PushState,
) -> Result<Applied> {
    let records = engine.queue.records();
    let requested: Vec<Record> =
        sent.places.iter().filter_map(|place| records.get(*place)).cloned().collect();
    let server_ms = crate::sync::rows::answer::server_ms(&answer);
    let mut results = answer::results(engine, &requested, answer)?;
    let mut batch = Batch { detect_conflicts: true, server_ms, ..Batch::default() };
    for record in &requested {
        let Some(result) = results.remove(&record.place) else { continue };
        let was_sent = !sent.fresh.contains(&record.place);
        let meaning = answer::meaning(engine, record, &result, was_sent)?;
        if let Some(settled) = meaning.settled {
            note(course, record, settled.ending);
            batch.records.push(settled);
        }
        course.tombs.remove(&record.row);
        if let Some(tomb) = meaning.tomb {
            course.tombs.insert(record.row.clone(), tomb);
        }
        batch.images.extend(meaning.image);
    }
    let applied = engine.apply(batch)?;
    // Records without a result are uncertain as before.
    engine.mark_uncertain(sent.number)?;
    course.failing =
        course.failing.and_then(|failing| match failing - failing.min(sent.places.len()) {
            0 => None,
            rest => Some(rest),
        });
    Ok(applied)
}

/// Lets rows wait that would conflict repeatedly, and keeps edits apart that are sent one by one.
fn note(course: &mut PushState, record: &Record, ending: RecordEnding) {
    match ending {
        RecordEnding::Again => drop(course.aside.insert(record.row.clone())),
        RecordEnding::Conflict => {
            let count = course.conflicts.entry(record.row.clone()).or_default();
            *count += 1;
            if *count >= CONFLICTS {
                course.aside.insert(record.row.clone());
            }
        }
        RecordEnding::Apart => drop(course.apart.insert(record.row.clone())),
        RecordEnding::Accepted | RecordEnding::Stands | RecordEnding::Refused(_) => {}
    }
}

/// Handles a 500, which is uncertain and counts, or a 400: the server cannot read the request.
pub(crate) fn failed(
    engine: &mut Engine,
    sent: &PushContent,
    status: u16,
    course: &mut PushState,
) -> Result<()> {
    engine.mark_uncertain(sent.number)?;
    match sent.places.as_slice() {
        [] => {}
        [one] => {
            course.failing = Some(1);
            // A 400 means that nothing was stored and that the server responds.
            let want = if status == 400 { Want::Drain } else { Want::Probe };
            course.want = Some((want, *one));
        }
        many => course.failing = Some(many.len()),
    }
    Ok(())
}

/// The request was too large (413). With `unread`, the server itself reports it and has applied
/// nothing; otherwise a proxy does, which decides nothing: v0.1.2 has no 413.
pub(crate) fn too_large(
    engine: &mut Engine,
    sent: &PushContent,
    unread: bool,
    course: &mut PushState,
) -> Result<Applied> {
    match sent.places.as_slice() {
        [] => Ok(Applied::default()),
        [one] if unread && sent.fresh.contains(one) => {
            let detail = json!({
                "code": "too_large",
                "message": "larger than the server takes in one request",
            });
            park(engine, course, *one, ParkReason::Refused, detail.to_string())
        }
        [one] => {
            // It, or an earlier request, may have been applied: only a verdict can end it. It
            // blocks nothing.
            engine.mark_uncertain(sent.number)?;
            course.aside.extend(engine.queue.records().get(*one).map(|record| record.row.clone()));
            Ok(Applied::default())
        }
        many => {
            course.most = Some((many.len() / 2).max(1));
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

/// Everything is pulled: parks the record that the server fails on, with its dependents.
pub(crate) fn drained(engine: &mut Engine, course: &mut PushState) -> Result<Applied> {
    let Some((Want::Drain, place)) = course.want.take() else { return Ok(Applied::default()) };
    course.failing = None;
    let detail = json!({
        "code": "poison",
        "message": "the server fails on this record and does not say why",
    });
    let row = engine.queue.records().get(place).map(|record| record.row.clone());
    let applied = park(engine, course, place, ParkReason::Rejected, detail.to_string())?;
    if let Some(row) = row.filter(|row| course.apart.contains(row)) {
        freeze_first(engine, &row, place, course)?;
    }
    Ok(applied)
}

/// The first of the separated edits takes the queue position of their common record, because frozen
/// records after it may depend on the row.
fn freeze_first(engine: &mut Engine, row: &RowKey, place: i64, course: &PushState) -> Result<()> {
    /// The number of no request.
    const UNSENT: i64 = 0;
    let drafts = engine.queue_view().drafts(usize::MAX, &course.aside, &course.apart)?;
    let Some(draft) = drafts.records.into_iter().find(|draft| draft.row == *row) else {
        return Ok(());
    };
    let record = Record { place, ..engine.queue_view().record_of(draft, 0, &course.tombs)? };
    engine.freeze_records(&[record], UNSENT)?;
    engine.mark_uncertain(UNSENT)
}

/// A pull was answered: the server works, so that its 500 counts.
pub(crate) fn probed(engine: &mut Engine, course: &mut PushState) -> Result<()> {
    let Some((Want::Probe, place)) = course.want.take() else { return Ok(()) };
    match engine.count_try(place)? {
        Some(tries) if tries >= answer::TRIES => course.want = Some((Want::Drain, place)),
        Some(_) => {}
        None => course.failing = None,
    }
    Ok(())
}

/// Parks the content of a record, or the edit that causes the failure.
fn park(
    engine: &mut Engine,
    course: &mut PushState,
    place: i64,
    reason: ParkReason,
    detail: String,
) -> Result<Applied> {
    let Some(record) = engine.queue.records().get(place) else { return Ok(Applied::default()) };
    let ending = answer::refused(record, reason);
    note(course, record, ending);
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
            let ending = RecordEnding::Accepted;
            batch.records.push(Settled { place: record.place, ending, detail: None });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

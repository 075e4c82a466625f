//! Push to a plain server: records that are frozen until their verdict (P1 to P5, P7, P8, P10).
//!
//! What is frozen goes first, and only then is more frozen. One record that the server cannot take fails the whole request
//! with 500: so a failed request is halved, always from the front, because what stands on something leaves after it, until
//! one record is alone. A 500 on that one counts once the server has answered something else; after the third everything is
//! pulled, and if the row is still not ours the record is parked with what stands on it. Several edits in it are sent one by
//! one first, so that only the one to blame is parked.

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

/// Conflicts of one row in one pass, each with another image, after which it waits for the next pass.
const CONFLICTS: u32 = 3;

/// What a push in flight carried.
#[derive(Debug)]
pub(crate) struct Sent {
    number: i64,
    places: Vec<i64>,
    /// Those that no request has carried before.
    fresh: Vec<i64>,
}

/// What of a pass's own memory the push needs.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The server speaks Rejoin by now: what was frozen for a plain one goes as it is, and nothing new is frozen.
    pub(crate) closing: bool,
    /// So many records from the front of what is frozen hold one that fails.
    failing: Option<usize>,
    /// No request with more records than these is small enough.
    most: Option<usize>,
    /// What must happen before the next push, and for which record.
    want: Option<(Want, i64)>,
    /// Rows that wait for the next pass.
    aside: HashSet<RowKey>,
    /// Rows whose edits are sent one by one, because the server refuses one of them.
    apart: HashSet<RowKey>,
    /// Versions of tombstones that a create is put upon (P3).
    tombs: HashMap<RowKey, String>,
    conflicts: HashMap<RowKey, u32>,
    /// What was accepted without a request.
    accepted: Applied,
}

impl Course {
    /// What was accepted without a request since this was asked last (P1).
    pub(crate) fn take_accepted(&mut self) -> Applied {
        std::mem::take(&mut self.accepted)
    }

    /// As at the beginning of a pass.
    pub(crate) fn renewed(&self) -> Self {
        Self { closing: self.closing, ..Self::default() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// The server's answer to something else, so that its 500 counts.
    Probe,
    /// All that there is to pull, so that our own row is seen.
    Drain,
}

/// What there is to push.
#[derive(Debug)]
pub(crate) enum Step {
    /// This; it is committed as sent (O5).
    Send {
        /// The body of the request.
        body: Vec<u8>,
        /// What it carries.
        sent: Sent,
    },
    /// Everything must be pulled before it goes on (P7's own-row check); then comes `drained`.
    Drain,
    /// A pull must be answered before a 500 counts (P7); then comes `probed`.
    Probe,
    /// Nothing in this pass.
    Nothing,
}

/// What to push next. `number` is this request's; mutations that leave are noted with it.
pub(crate) fn next(
    engine: &mut Engine,
    number: i64,
    limits: Limits,
    course: &mut Course,
) -> Result<Step> {
    match course.want {
        Some((Want::Probe, _)) => return Ok(Step::Probe),
        Some((Want::Drain, _)) => return Ok(Step::Drain),
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
            Ok(Step::Nothing)
        } else {
            fresh(engine, number, most, limits, course)
        };
    }
    let size = match course.failing {
        Some(failing) => failing.min(ready.len()).div_ceil(2).max(1),
        None => ready.len(),
    };
    // Never from anywhere but the front: what is there may be what the rest stands on.
    let front = ready.into_iter().take(size.min(most));
    let (changes, places) = fitting(engine, front, limits.body)?;
    let body = body::request(engine, changes)?;
    let again = places.iter().filter_map(|place| engine.queue.records().get(*place));
    let again: HashSet<Seq> = again.flat_map(Record::live).collect();
    engine.counters().sent_again(again.len());
    Ok(Step::Send { body, sent: Sent { number, places, fresh: Vec::new() } })
}

/// What is frozen and can go: nothing that stands on a row that waits.
fn ready(engine: &Engine, course: &Course) -> Vec<Record> {
    let records = engine.queue.records().iter();
    if course.aside.is_empty() {
        return records.cloned().collect();
    }
    let mut all = coalesce::Standing::new(&engine.schema);
    let mut ready = Vec::new();
    for record in records {
        if all.can_go(record, course.aside.contains(&record.row)) {
            ready.push(record.clone());
        }
    }
    ready
}

/// Freezes what is new.
fn fresh(
    engine: &mut Engine,
    number: i64,
    most: usize,
    limits: Limits,
    course: &mut Course,
) -> Result<Step> {
    course.failing = None;
    // Whatever is frozen waits for the next pass here.
    let frozen = engine.queue.records().iter().map(|record| &record.row);
    let waiting = course.aside.iter().chain(frozen).cloned().collect();
    let drafts = engine.queue_view().drafts(most, &waiting, &course.apart)?;
    if !drafts.nothing.is_empty() {
        let applied = accept_nothing(engine, &drafts.nothing)?;
        course.accepted.accepted.extend(applied.accepted);
    }
    let mut records = Vec::with_capacity(drafts.records.len());
    for (after, draft) in drafts.records.into_iter().enumerate() {
        records.push(engine.queue_view().record_of(draft, after, &course.tombs)?);
    }
    let (changes, places) = fitting(engine, records.iter().cloned(), limits.body)?;
    if places.is_empty() {
        return Ok(Step::Nothing);
    }
    records.truncate(places.len());
    engine.freeze_records(&records, number)?;
    let body = body::request(engine, changes)?;
    let fresh = records.iter().filter(|record| !record.doubtful).map(|record| record.place);
    let fresh = fresh.collect();
    Ok(Step::Send { body, sent: Sent { number, places, fresh } })
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

/// Whether records frozen for a plain server have no verdict yet.
pub(crate) fn frozen(engine: &Engine) -> bool {
    !engine.queue.records().is_empty()
}

/// The answer of 200.
pub(crate) fn answered(
    engine: &mut Engine,
    sent: &Sent,
    answer: PushResponse,
    course: &mut Course,
) -> Result<Applied> {
    let records = engine.queue.records();
    let asked: Vec<Record> =
        sent.places.iter().filter_map(|place| records.get(*place)).cloned().collect();
    let server_ms = crate::sync::rows::answer::server_ms(&answer);
    let mut results = answer::results(engine, &asked, answer)?;
    let mut batch = Batch { judge: true, server_ms, ..Batch::default() };
    for record in &asked {
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
    // What got no result is as uncertain as before.
    engine.mark_uncertain(sent.number)?;
    course.failing =
        course.failing.and_then(|failing| match failing - failing.min(sent.places.len()) {
            0 => None,
            rest => Some(rest),
        });
    Ok(applied)
}

/// Rows that would go round and round wait for the next pass, and edits that are tried apart stay apart.
fn note(course: &mut Course, record: &Record, ending: RecordEnding) {
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

/// 500, which is uncertain (P2) and counts (P7), or 400: the server will not read this.
pub(crate) fn failed(
    engine: &mut Engine,
    sent: &Sent,
    status: u16,
    course: &mut Course,
) -> Result<()> {
    engine.mark_uncertain(sent.number)?;
    match sent.places.as_slice() {
        [] => {}
        [one] => {
            course.failing = Some(1);
            // What it cannot read it cannot have stored either, and that it answers is seen.
            let want = if status == 400 { Want::Drain } else { Want::Probe };
            course.want = Some((want, *one));
        }
        many => course.failing = Some(many.len()),
    }
    Ok(())
}

/// The request was too large (413). `unread`: the server itself says so, and nothing of it was looked at; otherwise a proxy
/// says so, which decides nothing: v0.1.2 has no 413.
pub(crate) fn too_large(
    engine: &mut Engine,
    sent: &Sent,
    unread: bool,
    course: &mut Course,
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
            // It, or an earlier request, may have been applied: only the server's word on it can end it. It blocks nothing.
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

/// The request was refused before a record of it was looked at (401, 409, 426, 429).
pub(crate) fn unseen(engine: &mut Engine, sent: &Sent) -> Result<()> {
    engine.thaw(&sent.fresh)?;
    engine.mark_uncertain(sent.number)
}

/// No answer came, or one that says nothing: what it carried is uncertain (P2).
pub(crate) fn lost(engine: &mut Engine, sent: &Sent) -> Result<()> {
    engine.mark_uncertain(sent.number)
}

/// Everything has been pulled: what the server fails on, and has not taken, is parked with what stands on it.
pub(crate) fn drained(engine: &mut Engine, course: &mut Course) -> Result<Applied> {
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

/// The first of the edits that are tried apart takes the place of the record that they left as: what is frozen behind that may
/// stand on the row.
fn freeze_first(engine: &mut Engine, row: &RowKey, place: i64, course: &Course) -> Result<()> {
    /// That of no request.
    const UNSENT: i64 = 0;
    let drafts = engine.queue_view().drafts(usize::MAX, &course.aside, &course.apart)?;
    let Some(draft) = drafts.records.into_iter().find(|draft| draft.row == *row) else {
        return Ok(());
    };
    let record = Record { place, ..engine.queue_view().record_of(draft, 0, &course.tombs)? };
    engine.freeze_records(&[record], UNSENT)?;
    engine.mark_uncertain(UNSENT)
}

/// A pull was answered: the server lives, so that its 500 counts.
pub(crate) fn probed(engine: &mut Engine, course: &mut Course) -> Result<()> {
    let Some((Want::Probe, place)) = course.want.take() else { return Ok(()) };
    match engine.count_try(place)? {
        Some(tries) if tries >= answer::TRIES => course.want = Some((Want::Drain, place)),
        Some(_) => {}
        None => course.failing = None,
    }
    Ok(())
}

/// Parks what a record carries, or what is to blame of it.
fn park(
    engine: &mut Engine,
    course: &mut Course,
    place: i64,
    reason: ParkReason,
    detail: String,
) -> Result<Applied> {
    let Some(record) = engine.queue.records().get(place) else { return Ok(Applied::default()) };
    let ending = answer::refused(record, reason);
    note(course, record, ending);
    let settled = Settled { place, ending, detail: Some(detail) };
    engine.apply(Batch { records: vec![settled], judge: true, ..Batch::default() })
}

/// Pulled rows may accept uncertain creates and updates, never a delete (P5): adds the verdicts to the batch.
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

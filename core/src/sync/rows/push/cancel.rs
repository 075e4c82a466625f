//! Cancelling sent mutations: a separate request before any other push.
//!
//! The response is applied like that of a push: verdicts and touched rows in one transaction. The
//! request may be repeated; the verdict is the same.

use std::collections::HashSet;

use rejoin_protocol::limits::PUSH_CHANGES;
use rejoin_protocol::wire::RowName;
use rejoin_protocol::wire::push::{Cancel, Ending, PushAnswer, PushAsk};

use super::{body_of, recheck};
use crate::engine::Engine;
use crate::engine::queue::cancel::Cancelled;
use crate::engine::rebase::{Batch, Withdrawn};
use crate::error::{Result, SyncFault};
use crate::ids::{MutationId, Seq};
use crate::sync::rows::{cell, fact};

/// The mutations that a request cancels.
pub(crate) type RequestedCancels = Vec<(Seq, MutationId)>;

/// Maximum number of mutations per request.
const MOST: usize = 100;

/// The request for cancelled mutations except those in `aside`, and its content; `None` if empty.
pub(crate) fn request(
    engine: &mut Engine,
    number: i64,
    aside: &HashSet<Seq>,
) -> Result<Option<(Vec<u8>, RequestedCancels)>> {
    let open = engine.queue.cancels().values().filter(|one| !aside.contains(&one.seq));
    let open: Vec<&Cancelled> = open.take(MOST).collect();
    if open.is_empty() {
        return Ok(None);
    }
    let mut cancel: Vec<Cancel> = open.iter().map(|one| cancelled(engine, one)).collect();
    // The rows that a request has no room for are pulled.
    let mut room = PUSH_CHANGES;
    for one in &mut cancel {
        one.rows.truncate(room);
        room -= one.rows.len();
    }
    let requested = open.iter().map(|one| (one.seq, one.id)).collect();
    let mut ask = PushAsk { request: number, cancel, ..PushAsk::default() };
    Ok(Some((body_of(engine, &mut ask)?, requested)))
}

fn cancelled(engine: &Engine, one: &Cancelled) -> Cancel {
    let rows = one.effect.rows.iter().filter_map(|patch| {
        // The server answers with current rows; it has none of a removed table.
        let table_name = engine.schema.tables.get(&patch.row.table)?.name.clone();
        Some(RowName { table_name, id: patch.row.key.to_id()? })
    });
    Cancel { id: one.id.to_string(), seq: one.seq.0, rows: rows.collect() }
}

/// The rows of the cancelled mutations that the response leaves out: the next pull has them.
fn unanswered(
    engine: &Engine,
    requested: &[(Seq, MutationId)],
    answer: &PushAnswer,
) -> Vec<RowName> {
    let found: HashSet<(&str, &str)> =
        answer.rows.iter().map(|row| (row.table_name.as_str(), row.id.as_str())).collect();
    let all = engine.queue.cancels();
    let cancels = requested.iter().filter_map(|(seq, _)| all.get(seq));
    let rows = cancels.flat_map(|one| cancelled(engine, one).rows);
    rows.filter(|row| !found.contains(&(row.table_name.as_str(), row.id.as_str()))).collect()
}

/// A response as one batch, and the queue positions of undecided mutations.
pub(crate) fn batch(
    engine: &Engine,
    requested: &[(Seq, MutationId)],
    answer: &PushAnswer,
) -> Result<(Batch, Vec<Seq>)> {
    let mut withdrawn = Vec::with_capacity(requested.len());
    let mut undecided: Vec<Seq> = requested.iter().map(|(seq, _)| *seq).collect();
    for verdict in &answer.verdicts {
        let cancelled = requested.iter().find(|(_, id)| id.to_string() == verdict.id);
        let Some((seq, id)) = cancelled else {
            let why = format!("a verdict on {:?}, which was not requested", verdict.id);
            return Err(SyncFault::Protocol(why).into());
        };
        if verdict.verdict != Ending::Retry {
            undecided.retain(|other| other != seq);
        }
        let displaced = super::images(engine, &verdict.displaced);
        let left = super::images(engine, &verdict.left);
        withdrawn.push(Withdrawn { id: *id, ending: verdict.verdict, displaced, left });
    }
    let rows = answer.rows.iter().filter(|row| !engine.schema.is_left_out(&row.table_name));
    let images = rows.map(|row| cell::image(&engine.schema, row));
    let images = images.collect::<Result<Vec<_>>>()?;
    let again = unanswered(engine, requested, answer);
    let mut batch = Batch { withdrawn, images, detect_conflicts: true, ..Batch::default() };
    batch.meta.extend(recheck(engine, answer, again)?);
    if !answer.witness.is_empty() {
        batch.meta.push(fact::fact(fact::WITNESS, answer.witness.clone()));
    }
    Ok((batch, undecided))
}

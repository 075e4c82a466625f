//! Push: mutations as groups that are frozen before they leave (O1, O5), and what the verdicts on them mean (O2, O3, O9).
//!
//! What an attempt compares is settled once, when it is sent first; sent again, it is the same bytes, because what has
//! come in since may not slip into what the user was looking at when he wrote.

pub(crate) mod cancel;
pub(crate) mod group;

pub(crate) use group::ActionParts;

use std::collections::HashSet;

use rejoin_protocol::wire::push::{Ending, PushAnswer, PushAsk, PushRequest, Verdict};
use rejoin_protocol::wire::{RowImage, RowName, code};

use super::{cell, fact};
use crate::engine::Engine;
use crate::engine::queue::mutation::{Mutation, State};
use crate::engine::queue::offer::Offer;
use crate::engine::queue::store;
use crate::engine::rebase::{Batch, ServerVerdict};
use crate::engine::rows::Image;
use crate::engine::rows::patch::{PatchKind, RowKey};
use crate::engine::schema::model::Schema;
use crate::error::{Error, Result};
use crate::ids::{MutationId, Seq, TableNumber};
use rejoin_protocol::mutant::{self, Mutant};

/// A group on its way.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) seq: Seq,
    pub(crate) id: MutationId,
    pub(crate) attempt: i64,
    /// Whether no request carried this attempt before: only then does "not looked at" mean "not applied".
    pub(crate) fresh: bool,
    /// The rows that it writes.
    rows: Vec<RowKey>,
}

/// What a push may weigh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most groups.
    pub(crate) groups: usize,
    /// Most bytes of the body.
    pub(crate) body: usize,
    /// What the server compares and asks beside the changes.
    pub(crate) parts: ActionParts,
}

/// What became of the wish to push.
#[derive(Debug, Default)]
pub(crate) struct Push {
    /// Body and groups of a request that is committed as sent and may leave; `None` if nothing can be sent.
    pub(crate) request: Option<(Vec<u8>, Vec<Sent>)>,
    /// Mutations that were parked, because no request can hold them.
    pub(crate) parked: usize,
}

/// Bytes of a body beside its groups: ids, hashes, brackets, generously.
const FRAME: usize = 1024;

/// Settles the next groups, commits them as sent, and gives the request (O5).
///
/// Mutations in `aside`, and what follows from them, are passed over; those in `unseen` count as never sent. One that no
/// request can hold is parked.
pub(crate) fn request(
    engine: &mut Engine,
    number: i64,
    limits: Limits,
    aside: &HashSet<Seq>,
    unseen: &HashSet<Seq>,
) -> Result<Push> {
    let mut push = Push::default();
    loop {
        let held = engine.queue_view().held_by(aside)?;
        let waiting = engine.queue_view().sendable(limits.groups + held.len())?;
        let Some(first) = waiting.first().map(|mutation| mutation.seq) else { return Ok(push) };
        let sent = choose(&waiting, limits, &held, unseen);
        if sent.is_empty() {
            return Ok(push);
        }
        let seqs: Vec<Seq> = sent.iter().map(|one| one.seq).collect();
        let offers = engine.mark_sent(&seqs, number)?;
        let body = body(engine, number, first, &offers, limits.parts)?;
        match sent.as_slice() {
            [one] if one.fresh && body.len() > limits.body => {
                push.parked += park_too_large(engine, one)?;
            }
            _ => {
                push.request = Some((body, sent));
                return Ok(push);
            }
        }
    }
}

/// The first mutations that fit into one request; at least one.
fn choose(
    waiting: &[Mutation],
    limits: Limits,
    held: &HashSet<Seq>,
    unseen: &HashSet<Seq>,
) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut weight = FRAME;
    for mutation in waiting.iter().filter(|mutation| !held.contains(&mutation.seq)) {
        weight += group::weight(mutation);
        if sent.len() == limits.groups || !sent.is_empty() && weight > limits.body {
            break;
        }
        let fresh = mutation.state == State::Pending || unseen.contains(&mutation.seq);
        let rows = mutation.effect.rows.iter().map(|patch| patch.row.clone()).collect();
        let (seq, id, attempt) = (mutation.seq, mutation.id, mutation.attempt);
        sent.push(Sent { seq, id, attempt, fresh, rows });
    }
    sent
}

fn body(
    engine: &mut Engine,
    number: i64,
    first: Seq,
    offers: &[Offer],
    parts: ActionParts,
) -> Result<Vec<u8>> {
    // The server's word on what was given up is still needed.
    let open = engine.queue.cancels().keys().next().copied();
    let groups = offers.iter().map(|offer| group::group(&engine.schema, offer, parts));
    let groups = groups.collect::<Result<_>>()?;
    let acked_below = open.map_or(first, |open| open.min(first)).0;
    body_of(engine, PushAsk { request: number, acked_below, groups, ..PushAsk::default() })
}

/// The body of a push that asks this, of the epoch and with the witness that are known.
fn body_of(engine: &mut Engine, ask: PushAsk) -> Result<Vec<u8>> {
    let client_id = super::register::client_id(engine)?;
    let Some(manifest) = engine.schema.manifest.as_ref() else {
        return Err(Error::Internal("a push without a schema".to_owned()));
    };
    let request = PushRequest {
        client_id,
        changes: Vec::new(),
        schema_version: manifest.schema_version,
        schema_hash: manifest.schema_hash.clone(),
        rejoin: Some(PushAsk {
            epoch: engine.meta(fact::EPOCH)?.unwrap_or_default(),
            witness: fact::witness(engine)?,
            ..ask
        }),
    };
    serde_json::to_vec(&request).map_err(|error| Error::Internal(error.to_string()))
}

/// Parks a mutation that no request can hold, with what stands on it; how many.
pub(crate) fn park_too_large(engine: &mut Engine, one: &Sent) -> Result<usize> {
    let (id, attempt) = (one.id, one.attempt);
    let verdict = Verdict {
        id: id.to_string(),
        attempt,
        verdict: Ending::Refused,
        code: Some(code::TOO_LARGE.to_owned()),
        retryable: false,
        table_name: None,
        record_id: None,
        column: None,
        displaced: Vec::new(),
        message: Some("larger than the server takes in one request".to_owned()),
    };
    let verdict = server_verdict(&engine.schema, id, attempt, &verdict);
    let batch = Batch { verdicts: vec![verdict], judge: true, ..Batch::default() };
    Ok(engine.apply(batch)?.parked.len())
}

fn server_verdict(
    schema: &Schema,
    id: MutationId,
    attempt: i64,
    verdict: &Verdict,
) -> ServerVerdict {
    let (ending, code) = (verdict.verdict, verdict.code.clone());
    let detail = (ending != Ending::Accepted).then(|| {
        let mut verdict = verdict.clone();
        if let Some(table) = &mut verdict.table_name {
            cell::restore_names(schema, table, verdict.column.as_mut());
        }
        serde_json::to_string(&verdict).ok()
    });
    ServerVerdict { id, attempt, ending, code, detail: detail.flatten() }
}

/// An answer as one batch: all verdicts, then the rows as they now stand, then what must be asked again (O5, O3, O9).
///
/// A group without a verdict stays uncertain. A verdict on something that was not asked makes the answer no answer.
pub(crate) fn batch(engine: &Engine, sent: &[Sent], answer: &PushAnswer) -> Result<Batch> {
    let mut verdicts = Vec::with_capacity(sent.len());
    let mut before = Vec::new();
    let mut rest: HashSet<MutationId> = sent.iter().map(|group| group.id).collect();
    for verdict in &answer.verdicts {
        let id = MutationId::parse(&verdict.id).filter(|id| rest.remove(id)).ok_or_else(|| {
            Error::Protocol(format!("a verdict on {:?}, which was not asked", verdict.id))
        })?;
        let group = sent.iter().find(|group| group.id == id);
        if !verdict.displaced.is_empty() {
            before.push((id, displaced(engine, verdict)));
        }
        let attempt = group.map_or(verdict.attempt, |group| group.attempt);
        verdicts.push(server_verdict(&engine.schema, id, attempt, verdict));
    }
    for group in sent.iter().filter(|group| rest.contains(&group.id)) {
        let (id, attempt) = (group.id, group.attempt);
        verdicts.push(ServerVerdict {
            id,
            attempt,
            ending: Ending::Retry,
            code: None,
            detail: None,
        });
    }
    let mut images = answer
        .rows
        .iter()
        .map(|row| cell::image(&engine.schema, row))
        .collect::<Result<Vec<_>>>()?;
    let unanswered = unanswered(engine, sent, answer, &images)?;
    let name = |image: &Image| {
        let table_name = engine.schema.table(image.table)?.name.clone();
        Some(RowName { table_name, id: image.key.to_id()? })
    };
    let again = unanswered.iter().filter_map(name).collect();
    images.extend(unanswered);
    let mut batch = Batch { verdicts, displaced: before, images, judge: true, ..Batch::default() };
    batch.meta.extend(recheck(engine, answer, again)?);
    if !answer.witness.is_empty() {
        batch.meta.push(fact::fact(fact::WITNESS, answer.witness.clone()));
    }
    Ok(batch)
}

/// The rows before an accepted mutation; nothing of those that this schema does not know.
fn displaced(engine: &Engine, verdict: &Verdict) -> Vec<Image> {
    verdict.displaced.iter().filter_map(|row| cell::image(&engine.schema, row).ok()).collect()
}

/// What accepted mutations wrote to rows of which the answer has no image, although it must (O3): the user's writes stay in
/// view until a pull brings these rows.
fn unanswered(
    engine: &Engine,
    sent: &[Sent],
    answer: &PushAnswer,
    images: &[Image],
) -> Result<Vec<Image>> {
    let answered: HashSet<(TableNumber, Option<String>)> =
        images.iter().map(|image| (image.table, image.key.to_id())).collect();
    let is_answered = |row: &RowKey| answered.contains(&(row.table, row.key.to_id()));
    let mut written = Vec::new();
    for one in sent.iter().filter(|one| !one.rows.iter().all(is_answered)) {
        let id = one.id.to_string();
        let accepts = |verdict: &Verdict| verdict.verdict == Ending::Accepted && verdict.id == id;
        if !answer.verdicts.iter().any(accepts) {
            continue;
        }
        let effect = store::read_effect(engine.db.conn(), one.seq)?.unwrap_or_default();
        for patch in effect.rows.iter().filter(|patch| !is_answered(&patch.row)) {
            // A removed table has no rows.
            let Some(table) = engine.schema.tables.get(&patch.row.table) else { continue };
            let whole = patch.kind == PatchKind::Insert;
            let columns = patch.columns.iter().filter(|column| whole || column.is_change());
            let columns = columns.filter(|column| table.position(column.column).is_some());
            let row = columns.map(|column| (column.column, column.new.clone())).collect();
            let row = (patch.kind != PatchKind::Delete).then_some(row);
            written.push(Image { table: patch.row.table, key: patch.row.key.clone(), row });
        }
    }
    Ok(written)
}

/// Rows answered under other buckets than those of the cursor are named again in the next pull (O9), and so are `again`.
///
/// Before the first page of a first sync nothing is held, and all that is answered will be paged.
fn recheck(
    engine: &Engine,
    answer: &PushAnswer,
    mut again: Vec<RowName>,
) -> Result<Option<fact::Fact>> {
    let held = engine.meta(fact::HELD)?;
    let same = held.as_deref() == Some(&fact::held_text(&answer.held));
    if !same && !mutant::on(Mutant::NoRecheck) {
        let snapshot = fact::Snapshot::load(engine)?;
        let unpaged = snapshot.is_some_and(|snapshot| snapshot.pull_cursor.is_none());
        if held.is_some() || !unpaged {
            let name =
                |row: &RowImage| RowName { table_name: row.table_name.clone(), id: row.id.clone() };
            again.extend(answer.rows.iter().map(name));
        }
    }
    if again.is_empty() {
        return Ok(None);
    }
    let mut rows = fact::recheck(engine)?;
    let mut known: HashSet<RowName> = rows.iter().cloned().collect();
    rows.extend(again.into_iter().filter(|name| known.insert(name.clone())));
    Ok(Some(fact::recheck_fact(&rows)))
}

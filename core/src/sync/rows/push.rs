//! Push: mutations as groups that are frozen before they are sent, and the meaning of verdicts.
//!
//! The old values of an attempt are fixed when it is first sent, and a retry sends the same bytes:
//! later remote changes must not replace what the user saw when writing.

pub(crate) mod cancel;
mod covered;
pub(crate) mod group;

pub(crate) use group::ActionParts;

use std::collections::{HashMap, HashSet};
use std::mem;

use rejoin_protocol::limits::{GROUP_BYTES, GROUP_CHANGES, PUSH_CHANGES};
use rejoin_protocol::wire::push::{
    Ending, GroupContent, PushAnswer, PushAsk, PushRequest, Staged, Verdict,
};
use rejoin_protocol::wire::{RowImage, RowName, code};

use super::{cell, fact};
use crate::engine::Engine;
use crate::engine::queue::mutation::{Mutation, MutationState};
use crate::engine::queue::offer::Offer;
use crate::engine::queue::store;
use crate::engine::rebase::{Batch, ServerVerdict};
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::{PatchKind, RowKey};
use crate::engine::schema::model::Schema;
use crate::error::{Error, Result, SyncFault};
use crate::ids::{MutationId, Seq, TableNumber};
use rejoin_protocol::mutant::{self, Mutant};

/// A sent group.
#[derive(Debug, Clone)]
pub(crate) struct SentGroup {
    pub(crate) seq: Seq,
    pub(crate) id: MutationId,
    pub(crate) attempt: i64,
    /// Whether no earlier request had this attempt: only then does "not evaluated" mean "not
    /// applied".
    pub(crate) fresh: bool,
    /// The rows that it writes.
    rows: Vec<RowKey>,
}

/// Limits of a push.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Maximum number of groups.
    pub(crate) groups: usize,
    /// Maximum bytes of the body.
    pub(crate) body: usize,
    /// Whether the server takes a larger group in parts.
    pub(crate) stages: bool,
    /// Additional parts that the server evaluates.
    pub(crate) parts: ActionParts,
}

/// What is known of mutations that wait, beside the queue.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Were sent in this pass and have no verdict, or are being staged: they wait, with their
    /// dependents.
    pub(crate) aside: HashSet<Seq>,
    /// Were sent only in requests that the server did not evaluate: they count as never sent.
    pub(crate) unseen: HashSet<Seq>,
    /// Must be staged: a request with one of them alone was too large.
    pub(crate) large: HashSet<Seq>,
    /// The newest when this push began: later ones are for the next push. Otherwise an app that
    /// writes faster than a push takes would keep a pass pushing, one write in each request.
    pub(crate) newest: Option<Seq>,
}

/// A request of a push.
#[derive(Debug)]
pub(crate) struct PreparedPush {
    pub(crate) body: Vec<u8>,
    pub(crate) sent: Vec<SentGroup>,
    /// The content of its only group, which the body only names.
    pub(crate) content: Option<Vec<u8>>,
}

/// The result of preparing a push.
#[derive(Debug, Default)]
pub(crate) struct Push {
    /// A request whose groups are committed as sent; `None` if nothing can be sent.
    pub(crate) request: Option<PreparedPush>,
    /// Number of mutations that were parked because they exceed every limit.
    pub(crate) parked: usize,
}

/// Upper bound of the body's size without groups.
const FRAME: usize = 1024;

/// Fixes the next groups, commits them as sent, and returns the request.
///
/// Parks a mutation that fits into no request and cannot be staged.
pub(crate) fn request(
    engine: &mut Engine,
    number: i64,
    limits: Limits,
    known: &Known,
) -> Result<Push> {
    let mut push = Push::default();
    loop {
        let held = engine.queue_view().held_by(&known.aside)?;
        let (first, sent) = choose(engine, limits, &held, known)?;
        let Some(first) = first.filter(|_| !sent.is_empty()) else { return Ok(push) };
        let seqs: Vec<Seq> = sent.iter().map(|one| one.seq).collect();
        let offers = engine.mark_sent(&seqs, number)?;
        let mut ask = ask(engine, number, first, &offers, limits.parts)?;
        let is_large = sent.iter().any(|one| known.large.contains(&one.seq));
        let mut content = None;
        if limits.stages && (is_large || has_many_rows(&ask)) {
            content = take_content(&mut ask)?;
        }
        let mut body = body_of(engine, &mut ask)?;
        if body.len() > limits.body && limits.stages && content.is_none() {
            content = take_content(&mut ask)?;
            body = body_of(engine, &mut ask)?;
        }
        let is_too_large =
            body.len() > limits.body || content.as_ref().is_some_and(|c| c.len() > GROUP_BYTES);
        match sent.as_slice() {
            [one] if one.fresh && is_too_large => {
                push.parked += park_too_large(engine, one)?;
            }
            _ => {
                push.request = Some(PreparedPush { body, sent, content });
                return Ok(push);
            }
        }
    }
}

/// The first mutation that waits, and the first ones that fit into one request; at least one of
/// those that are not held.
fn choose(
    engine: &Engine,
    limits: Limits,
    held: &HashSet<Seq>,
    known: &Known,
) -> Result<(Option<Seq>, Vec<SentGroup>)> {
    let (mut first, mut sent) = (None, Vec::new());
    let mut weight = FRAME;
    engine.queue_view().each_sendable(limits.groups + held.len(), |mutation: Mutation| {
        if known.newest.is_some_and(|newest| mutation.seq > newest) {
            return false;
        }
        first.get_or_insert(mutation.seq);
        if held.contains(&mutation.seq) {
            return true;
        }
        weight += group::weight(&mutation);
        let is_alone = limits.stages
            && (known.large.contains(&mutation.seq) || mutation.effect.rows.len() > PUSH_CHANGES);
        let is_full = weight > limits.body || is_alone;
        if sent.len() == limits.groups || !sent.is_empty() && is_full {
            return false;
        }
        let is_unseen = known.unseen.contains(&mutation.seq);
        let fresh = mutation.state == MutationState::Pending || is_unseen;
        let rows = mutation.effect.rows.iter().map(|patch| patch.row.clone()).collect();
        let (seq, id, attempt) = (mutation.seq, mutation.id, mutation.attempt);
        sent.push(SentGroup { seq, id, attempt, fresh, rows });
        !is_alone
    })?;
    Ok((first, sent))
}

fn ask(
    engine: &mut Engine,
    number: i64,
    first: Seq,
    offers: &[Offer],
    parts: ActionParts,
) -> Result<PushAsk> {
    // Cancelled mutations still need a verdict.
    let open = engine.queue.cancels().keys().next().copied();
    let groups = offers.iter().map(|offer| group::group(&engine.schema, offer, parts));
    let groups = groups.collect::<Result<_>>()?;
    let acked_below = open.map_or(first, |open| open.min(first)).0;
    Ok(PushAsk { request: number, acked_below, groups, ..PushAsk::default() })
}

fn has_many_rows(ask: &PushAsk) -> bool {
    matches!(ask.groups.as_slice(), [one] if one.changes.len() + one.reads.len() > PUSH_CHANGES)
}

/// Takes the content out of the only group, as the bytes that are staged; `None` if there are more
/// groups. Each attempt has the same content, so that a later pass continues.
fn take_content(ask: &mut PushAsk) -> Result<Option<Vec<u8>>> {
    let [group] = ask.groups.as_mut_slice() else { return Ok(None) };
    let content = GroupContent {
        reads: mem::take(&mut group.reads),
        action: group.action.take(),
        changes: mem::take(&mut group.changes),
    };
    let bytes = serde_json::to_vec(&content).map_err(|error| Error::Internal(error.to_string()))?;
    group.staged = Some(Staged::of(&bytes));
    Ok(Some(bytes))
}

/// The body of a push with the stored epoch and log tip.
fn body_of(engine: &mut Engine, ask: &mut PushAsk) -> Result<Vec<u8>> {
    let client_id = super::register::client_id(engine)?;
    ask.epoch = engine.meta(fact::EPOCH)?.unwrap_or_default();
    ask.witness = fact::witness(engine)?;
    let Some(manifest) = engine.schema.manifest.as_ref() else {
        return Err(Error::Internal("a push without a schema".to_owned()));
    };
    let mut request = PushRequest {
        client_id,
        changes: Vec::new(),
        schema_version: manifest.schema_version,
        schema_hash: manifest.schema_hash.clone(),
        rejoin: Some(mem::take(ask)),
    };
    let body = serde_json::to_vec(&request);
    *ask = request.rejoin.take().unwrap_or_default();
    body.map_err(|error| Error::Internal(error.to_string()))
}

/// Parks a mutation that fits into no request, with its dependents; returns their number.
pub(crate) fn park_too_large(engine: &mut Engine, one: &SentGroup) -> Result<usize> {
    let (id, attempt) = (one.id, one.attempt);
    let verdict = Verdict {
        code: Some(code::TOO_LARGE.to_owned()),
        message: Some(format!(
            "larger than the server takes at once; a Rejoin server takes {GROUP_CHANGES} rows and {} MiB in one \
             transaction: write it in several",
            GROUP_BYTES >> 20
        )),
        ..Verdict::new(id.to_string(), attempt, Ending::Refused)
    };
    let verdict = server_verdict(&engine.schema, id, attempt, &verdict);
    let batch = Batch { verdicts: vec![verdict], detect_conflicts: true, ..Batch::default() };
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

/// A response as one batch: all verdicts, then the current rows, then the rows to pull again.
///
/// A group without a verdict stays uncertain. A verdict for an unknown mutation invalidates the
/// response.
pub(crate) fn batch(engine: &Engine, sent: &[SentGroup], answer: &PushAnswer) -> Result<Batch> {
    let mut verdicts = Vec::with_capacity(sent.len());
    let (mut before, mut left, mut computed) = (Vec::new(), Vec::new(), Vec::new());
    let groups: HashMap<MutationId, &SentGroup> = sent.iter().map(|one| (one.id, one)).collect();
    let mut rest: HashSet<MutationId> = groups.keys().copied().collect();
    for verdict in &answer.verdicts {
        let id = MutationId::parse(&verdict.id).filter(|id| rest.remove(id)).ok_or_else(|| {
            Error::Sync(SyncFault::Protocol(format!(
                "a verdict on {:?}, which was not requested",
                verdict.id
            )))
        })?;
        let group = groups.get(&id);
        if !verdict.displaced.is_empty() {
            before.push((id, images(engine, &verdict.displaced)));
        }
        if !verdict.left.is_empty() {
            left.push((id, images(engine, &verdict.left)));
            computed.push((id, images(engine, &verdict.computed)));
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
    let Rows { images, covered, again } = Rows::of(engine, sent, answer)?;
    let (displaced, detect_conflicts) = (before, true);
    let mut batch = Batch {
        verdicts,
        displaced,
        left,
        computed,
        covered,
        images,
        detect_conflicts,
        ..Batch::default()
    };
    batch.meta.extend(recheck(engine, answer, again)?);
    if !answer.witness.is_empty() {
        batch.meta.push(fact::fact(fact::WITNESS, answer.witness.clone()));
    }
    Ok(batch)
}

/// The rows of a response.
struct Rows {
    /// Current rows, and those that accepted mutations have left.
    images: Vec<ServerRow>,
    /// Rows without an image ([`covered`]).
    covered: HashMap<RowKey, Seq>,
    /// Rows to pull again.
    again: Vec<RowName>,
}

impl Rows {
    fn of(engine: &Engine, sent: &[SentGroup], answer: &PushAnswer) -> Result<Self> {
        let mut images = answer
            .rows
            .iter()
            .filter(|row| !engine.schema.is_left_out(&row.table_name))
            .map(|row| cell::image(&engine.schema, row))
            .collect::<Result<Vec<_>>>()?;
        let unanswered = unanswered(engine, sent, answer, &images)?;
        let name = |image: &ServerRow| {
            let table_name = engine.schema.table(image.table)?.name.clone();
            Some(RowName { table_name, id: image.key.to_id()? })
        };
        let mut again: Vec<RowName> = unanswered.iter().filter_map(name).collect();
        let covered = covered::covered(engine, sent, answer, &images)?;
        images.retain(|image| {
            let row = RowKey { table: image.table, key: image.key.clone() };
            let is_covered = covered.contains_key(&row);
            again.extend(if is_covered { name(image) } else { None });
            !is_covered
        });
        images.extend(unanswered);
        Ok(Self { images, covered, again })
    }
}

/// The rows of a verdict, without tables that this schema lacks.
fn images(engine: &Engine, rows: &[RowImage]) -> Vec<ServerRow> {
    rows.iter().filter_map(|row| cell::image(&engine.schema, row).ok()).collect()
}

/// The writes of accepted mutations to rows without an image in the response: they stay visible
/// until a pull has these rows.
fn unanswered(
    engine: &Engine,
    sent: &[SentGroup],
    answer: &PushAnswer,
    images: &[ServerRow],
) -> Result<Vec<ServerRow>> {
    let answered: HashSet<(TableNumber, Option<String>)> =
        images.iter().map(|image| (image.table, image.key.to_id())).collect();
    let is_answered = |row: &RowKey| answered.contains(&(row.table, row.key.to_id()));
    let mut written = Vec::new();
    let accepted = answer.verdicts.iter().filter(|one| one.verdict == Ending::Accepted);
    let accepted: HashSet<MutationId> =
        accepted.filter_map(|one| MutationId::parse(&one.id)).collect();
    for one in sent.iter().filter(|one| !one.rows.iter().all(is_answered)) {
        if !accepted.contains(&one.id) {
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
            written.push(ServerRow { table: patch.row.table, key: patch.row.key.clone(), row });
        }
    }
    Ok(written)
}

/// Adds rows that were answered under other buckets than the cursor's, and `again`, to the rows to
/// pull again.
///
/// Before the first page of a first sync no bucket is held, and the pages will have all rows.
fn recheck(
    engine: &Engine,
    answer: &PushAnswer,
    mut again: Vec<RowName>,
) -> Result<Option<fact::Fact>> {
    let held = engine.meta(fact::HELD)?;
    let same = held.as_deref() == Some(&fact::held_text(&answer.held));
    if !same && !mutant::on(Mutant::NoRecheck) {
        let snapshot = fact::SnapshotProgress::load(engine)?;
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
    let mut listed: HashSet<RowName> = rows.iter().cloned().collect();
    rows.extend(again.into_iter().filter(|name| listed.insert(name.clone())));
    Ok(Some(fact::recheck_fact(&rows)))
}

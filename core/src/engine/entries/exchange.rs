//! The exchange of the log with a server: the next request, and responses, each applied in one
//! transaction.
//!
//! The order of requests is: snapshot if one is needed, fetch to the head, publish, and fetch again
//! until nothing is left to publish; the authority then sends its corrections. A file with a new id
//! continues its log as the new author.

use std::collections::BTreeSet;

use rejoin_log::authority::corrections;
use rejoin_log::effect::{Effect, Effects};
use rejoin_log::ids::{EntryId, Name};
use rejoin_log::message::rows::{NamedRows, RowsRequest};
use rejoin_log::message::snapshot::{SnapshotAnswer, SnapshotNext, SnapshotRequest};
use rejoin_log::message::{Correct, Corrected, Fetch, Fetched, Item, Publish, Published};
use rejoin_log::replica::store::{Record, ReplicaStore as _, Waiting};
use rejoin_log::replica::{LogError, Replica, fetch, publish, repair, snapshot};
use rejoin_log::row::{Columns, LogRow, RowName};

use super::{any_waits, author, emptied, is_filled, list, on, reading, tell, wall};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::database::Triggers;
use crate::engine::log::SqliteReplica;
use crate::engine::queue::mutation::ParkReason;
use crate::engine::queue::verdict::{self, VerdictKind};
use crate::engine::schema::model::Schema;
use crate::error::Result;
use crate::ids::MutationId;
use crate::value::Value;

/// The number of rows and entries from which a page is written without triggers, if the app has none.
const MANY: usize = 256;

/// A request of the log.
#[derive(Debug)]
pub(crate) enum LogRequest {
    Snapshot(SnapshotRequest),
    Fetch(Fetch),
    Publish(Publish),
    /// Only of the authority.
    Correct(Correct),
}

/// What a response has changed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Entries with the server.
    pub accepted: u64,
    /// Entries that the server has denied.
    pub parked: u64,
    /// Received entries and rows.
    pub received: u64,
    /// Another database uses the id of this one: it needs a new id.
    pub copied: bool,
}

/// The next request, with at most this many entries; `None` if the log is exchanged. `is_current`
/// says whether the feed was fetched in this pass. Entries in `aside` are not published.
pub(crate) fn next(
    engine: &mut Engine,
    is_current: bool,
    (rows, page, batch): (u32, u32, usize),
    aside: &BTreeSet<EntryId>,
) -> Result<Option<LogRequest>> {
    engine.write_with(Origin::Remote, Triggers::MayStayOff, |engine| {
        let (author, wall) = (author(engine)?, wall(engine));
        on(engine, |replica| {
            if replica.facts().author != author {
                replica.become_author(author, wall)?;
            }
            if snapshot::needs_snapshot(replica) {
                let request = snapshot::page_request(replica, rows as usize);
                return Ok(Some(LogRequest::Snapshot(request)));
            }
            if !is_current || !publish::is_at_head(replica) {
                return Ok(fetch::fetch_request(replica, page as usize).map(LogRequest::Fetch));
            }
            if let Some(request) = publish::publish_request(replica, batch, aside)? {
                return Ok(Some(LogRequest::Publish(request)));
            }
            Ok(corrections(replica, batch)?.map(LogRequest::Correct))
        })
        .map(|request| match request {
            Some(LogRequest::Publish(mut request)) => {
                for offer in &mut request.offers {
                    offer.effects = without_removed(&engine.schema, &offer.effects);
                }
                Some(LogRequest::Publish(request))
            }
            other => other,
        })
    })
}

/// The effects without NULL in columns that the server has removed: as if the entry had been written
/// today. Other values stay, and the server parks the entry with them.
fn without_removed(schema: &Schema, effects: &Effects) -> Effects {
    let is_removed = |row: &RowName, (name, value): (&Name, &Value)| {
        let table = schema.named(row.table.as_str()).filter(|_| value.is_null());
        table.is_some_and(|table| table.columns.iter().all(|column| column.name != name.as_str()))
    };
    let names_one = |(row, effect): (&RowName, &Effect)| match effect {
        Effect::Insert(image) => image.columns().iter().any(|cell| is_removed(row, cell)),
        Effect::Update(columns) => columns.iter().any(|cell| is_removed(row, cell)),
        Effect::Delete => false,
    };
    if !effects.iter().any(names_one) {
        return effects.clone();
    }
    let kept = |row: &RowName, columns: &Columns| -> Columns {
        let all = columns.iter().filter(|cell| !is_removed(row, *cell));
        all.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let current = |(row, effect): (&RowName, &Effect)| {
        let effect = match effect {
            Effect::Insert(image) => Effect::Insert(LogRow::from(kept(row, image.columns()))),
            Effect::Update(columns) => Effect::Update(kept(row, columns)),
            Effect::Delete => Effect::Delete,
        };
        (row.clone(), effect)
    };
    effects.iter().map(current).collect()
}

/// Whether a page of a snapshot continues the last one. Any other is ignored: the snapshot has begun
/// again since it was requested.
pub(crate) fn is_awaited(engine: &Engine, answer: &SnapshotAnswer) -> Result<bool> {
    let SnapshotAnswer::Page(page) = answer else { return Ok(true) };
    let facts = reading(engine, |store| store.facts())?;
    Ok(facts.and_then(|facts| facts.loading) == page.after)
}

/// Applies a page of a snapshot: at once if it is the first snapshot, otherwise with the last page.
pub fn take_snapshot_page(engine: &mut Engine, answer: &SnapshotAnswer) -> Result<Taken> {
    let (rows, items): (usize, &[Item]) = match answer {
        SnapshotAnswer::Page(page) => (page.base.len(), &page.items),
        SnapshotAnswer::Restart => (0, &[]),
    };
    let received = rows + items.len();
    let mut named: BTreeSet<EntryId> = items.iter().map(Item::id).collect();
    let mut written = received;
    if is_filled(engine)?
        && let SnapshotAnswer::Page(page) = answer
    {
        (named, written) = (BTreeSet::new(), 0);
        if let SnapshotNext::Cursor(_) = page.next {
            emptied::check(engine, page)?;
            // All rows and entries may change, however many the last page has.
            written = MANY;
            if any_waits(engine)? {
                named = reading(engine, |store| snapshot::shown_entries(store, page))?;
            }
        }
    }
    let taken = taken(engine, named.into_iter(), written, |replica| {
        Ok(snapshot::take_page(replica, answer)?)
    })?;
    Ok(Taken { received: received as u64, ..taken })
}

/// Applies a page of the feed.
pub fn take_fetched(engine: &mut Engine, answer: &Fetched) -> Result<Taken> {
    let items: &[Item] = match answer {
        Fetched::Page(page) => &page.items,
        Fetched::Resync => &[],
    };
    taken(engine, items.iter().map(Item::id), items.len(), |replica| {
        fetch::take_fetched(replica, answer).map(drop).map_err(LogError::from)
    })
}

/// The request for these rows; `None` while a snapshot is needed.
pub(crate) fn rows_request(engine: &mut Engine, rows: Vec<RowName>) -> Result<Option<RowsRequest>> {
    engine.write_with(Origin::Remote, Triggers::MayStayOff, |engine| {
        on(engine, |replica| Ok(repair::rows_request(replica, rows)))
    })
}

/// Repairs the requested rows.
pub(crate) fn take_rows(
    engine: &mut Engine,
    request: &RowsRequest,
    answer: &NamedRows,
) -> Result<Taken> {
    let named = answer.items.iter().map(|item| item.key.id);
    taken(engine, named, request.rows.len() + answer.items.len(), |replica| {
        Ok(repair::take_rows(replica, request, answer)?)
    })
}

/// Applies the verdicts on the offered entries.
pub(crate) fn take_published(
    engine: &mut Engine,
    offered: &[EntryId],
    answer: &Published,
) -> Result<Taken> {
    let wall = wall(engine);
    taken(engine, offered.iter().copied(), 0, |replica| {
        Ok(publish::take_published(replica, answer, wall)?)
    })
}

/// Applies the response to the authority's corrections.
pub(crate) fn take_corrected(
    engine: &mut Engine,
    request: &Correct,
    answer: &Corrected,
) -> Result<Taken> {
    taken(engine, std::iter::empty(), 0, |replica| {
        Ok(publish::take_corrected(replica, request, answer)?)
    })
}

/// Applies a response that may end what these entries wait for, and stores their verdicts.
fn taken(
    engine: &mut Engine,
    named: impl Iterator<Item = EntryId>,
    received: usize,
    apply: impl FnOnce(&mut Replica<SqliteReplica<'_>>) -> Result<(), LogError>,
) -> Result<Taken> {
    let named: BTreeSet<EntryId> = named.collect();
    let triggers = if received >= MANY { Triggers::MayRest } else { Triggers::MayStayOff };
    let taken = engine.write_with(Origin::Remote, triggers, |engine| {
        let (ended, copied, events) = on(engine, |replica| {
            let waiting = waiting(replica, &named)?;
            apply(replica)?;
            let ended = waiting.into_iter().map(|id| ending(replica, id));
            let ended: Vec<_> = ended.collect::<Result<_, LogError>>()?;
            Ok((ended, replica.needs_new_author(), replica.take_events()))
        })?;
        let mut taken = Taken { received: received as u64, copied, ..Taken::default() };
        let now_ms = engine.host.now_micros() / 1_000;
        for (id, (attempt, action), kind) in ended.into_iter().flatten() {
            match kind {
                VerdictKind::Parked(_) => taken.parked += 1,
                _ => taken.accepted += 1,
            }
            let detail = matches!(kind, VerdictKind::Parked(_)).then(list::denied);
            let detail = detail.as_deref();
            let of = (id, attempt, action.as_deref());
            verdict::write_of_log(engine.db.conn(), of, kind, detail, now_ms)?;
        }
        // After the endings: an entry that is accepted and corrected at once ends as corrected.
        events.iter().try_for_each(|event| tell(engine, event))?;
        if taken.accepted + taken.parked > 0 {
            engine.touched.queue();
        }
        Ok(taken)
    })?;
    engine.counters().accepted(usize::try_from(taken.accepted).unwrap_or(usize::MAX));
    Ok(taken)
}

/// Those of these entries that wait for the server. Mostly no entry waits, and none is looked up.
fn waiting(
    replica: &Replica<SqliteReplica<'_>>,
    named: &BTreeSet<EntryId>,
) -> Result<Vec<EntryId>, LogError> {
    let mut waiting = Vec::new();
    if replica.store().waiting_ids(Waiting::Server, 1)?.is_empty() {
        return Ok(waiting);
    }
    for id in named {
        let record = replica.store().record(*id)?;
        if record.as_ref().and_then(Record::waits_for) == Some(Waiting::Server) {
            waiting.push(*id);
        }
    }
    Ok(waiting)
}

/// How an entry that has waited for the server ended, if it did; with its revision and action.
fn ending(
    replica: &Replica<SqliteReplica<'_>>,
    id: EntryId,
) -> Result<Option<(MutationId, list::Attempt, VerdictKind)>, LogError> {
    let record = replica.store().record(id)?;
    if record.as_ref().is_some_and(Record::is_given_up) {
        return Ok(None);
    }
    let own = record.as_ref().and_then(|record| record.own.as_ref());
    let attempt = own.map_or((0, None), |own| list::attempt_of(own));
    let kind = match record.as_ref().and_then(Record::waits_for) {
        Some(Waiting::Server) => return Ok(None),
        Some(Waiting::User) => VerdictKind::Parked(ParkReason::Refused),
        // Its verdict was stored when it was run.
        None if record.as_ref().is_some_and(Record::is_refused) => return Ok(None),
        Some(Waiting::Correction) | None => VerdictKind::Accepted,
    };
    Ok(Some((MutationId(id.0), attempt, kind)))
}

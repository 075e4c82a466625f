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
use rejoin_log::key::Key;
use rejoin_log::message::snapshot::{SnapshotAnswer, SnapshotRequest};
use rejoin_log::message::{Correct, Fetch, Fetched, Item, LogSnapshot, Publish, Published};
use rejoin_log::replica::pages::SnapshotBuilder;
use rejoin_log::replica::store::{Record, ReplicaStore as _, Waiting};
use rejoin_log::replica::{LogError, Replica, check, fetch, first_snapshot, publish, snapshot};
use rejoin_log::row::{Columns, LogRow, RowName};

use super::{author, is_filled, list, on, reading, refused, wall};
use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::log::SqliteReplica;
use crate::engine::meta::{LOG_OTHER_SERVER, set_meta};
use crate::engine::queue::mutation::ParkReason;
use crate::engine::queue::verdict::{self, VerdictKind};
use crate::engine::schema::model::{Schema, Table};
use crate::error::Result;
use crate::ids::MutationId;
use crate::value::Value;

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
/// says whether the feed was fetched in this pass;
/// entries in `aside` are not published.
pub(crate) fn next(
    engine: &mut Engine,
    pages: &SnapshotBuilder,
    is_current: bool,
    (page, batch): (usize, usize),
    aside: &BTreeSet<EntryId>,
) -> Result<Option<LogRequest>> {
    engine.write(Origin::Remote, |engine| {
        let (author, wall) = (author(engine)?, wall(engine));
        on(engine, |replica| {
            if replica.facts().author != author {
                replica.become_author(author, wall)?;
            }
            if snapshot::needs_snapshot(replica) {
                let request = first_snapshot::page_request(replica, pages, page);
                return Ok(Some(LogRequest::Snapshot(request)));
            }
            if !is_current || !publish::is_at_head(replica) {
                return Ok(fetch::fetch_request(replica, page).map(LogRequest::Fetch));
            }
            if let Some(request) = publish::publish_request_without(replica, batch, aside)? {
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
    let is_kept = |table: &Table, name: &Name, value: &Value| {
        !value.is_null() || table.columns.iter().any(|column| column.name == name.as_str())
    };
    let effect = |(row, effect): (&RowName, &Effect)| {
        let kept = |columns: &Columns| -> Option<Columns> {
            let table = schema.named(row.table.as_str())?;
            let all = columns.iter().filter(|(name, value)| is_kept(table, name, value));
            Some(all.map(|(name, value)| (name.clone(), value.clone())).collect())
        };
        let known = match effect {
            Effect::Insert(image) => {
                kept(image.columns()).map(|columns| Effect::Insert(LogRow::from(columns)))
            }
            Effect::Update(columns) => kept(columns).map(Effect::Update),
            Effect::Delete => None,
        };
        (row.clone(), known.unwrap_or_else(|| effect.clone()))
    };
    effects.iter().map(effect).collect()
}

/// Applies a page of a snapshot: at once if it is the first snapshot, otherwise with the last page.
pub fn take_snapshot_page(
    engine: &mut Engine,
    pages: &mut SnapshotBuilder,
    answer: SnapshotAnswer,
) -> Result<Taken> {
    if is_filled(engine)? {
        return match pages.take(answer) {
            Some(whole) => take_snapshot(engine, &whole),
            None => Ok(Taken::default()),
        };
    }
    let (rows, items): (usize, &[Item]) = match &answer {
        SnapshotAnswer::Page(page) => (page.base.len(), &page.items),
        SnapshotAnswer::Restart => (0, &[]),
    };
    taken(engine, items.iter().map(Item::id), rows + items.len(), |replica| {
        Ok(first_snapshot::take_page(replica, &answer)?)
    })
}

/// Applies a snapshot, which replaces an earlier one.
fn take_snapshot(engine: &mut Engine, whole: &LogSnapshot) -> Result<Taken> {
    let named = whole.items.iter().map(|item| item.key.id);
    let received = whole.base.len() + whole.items.len();
    if engine.meta(LOG_OTHER_SERVER)?.is_some() {
        let stamp = reading(engine, |store| store.facts())?.and_then(|facts| facts.stamp);
        if stamp.is_some_and(|stamp| stamp.epoch != whole.stamp.epoch) {
            check_emptied(engine, whole)?;
        }
        set_meta(engine.db.conn(), LOG_OTHER_SERVER, None)?;
    }
    taken(engine, named, received, |replica| Ok(snapshot::take_snapshot(replica, whole)?))
}

/// Another server under the URL must not empty a table: it may have lost its database. The app
/// decides, by a reset.
fn check_emptied(engine: &mut Engine, whole: &LogSnapshot) -> Result<()> {
    let items = whole.items.iter().flat_map(|item| item.effects.rows());
    let shown: BTreeSet<Name> =
        whole.base.iter().map(|(row, _)| row.clone()).chain(items).map(|row| row.table).collect();
    let had =
        engine.write(Origin::Remote, |engine| on(engine, |replica| servers_tables(replica)))?;
    let mut here = had.into_iter().filter(|table| engine.schema.named(table.as_str()).is_some());
    match here.find(|table| !shown.contains(table)) {
        None => Ok(()),
        Some(table) => Err(refused(
            &format!("to empty table {table}"),
            String::from(
                "another server answers under this URL and has no row of it: restore the server's database, or take \
                 this one's rows by reset, which keeps what waits",
            ),
        )),
    }
}

/// The tables that have rows of the server: of its base, or of entries that it has accepted.
fn servers_tables(replica: &Replica<SqliteReplica<'_>>) -> Result<BTreeSet<Name>, LogError> {
    let mut tables: BTreeSet<Name> =
        check::base_rows(replica)?.into_keys().map(|row| row.table).collect();
    for id in replica.store().ids(&Key::LAST)? {
        let item = replica.store().record(id)?.and_then(|record| record.item);
        for row in item.map(|item| item.effects.rows()).unwrap_or_default() {
            if !tables.contains(&row.table) && replica.row(&row)?.is_some() {
                tables.insert(row.table);
            }
        }
    }
    Ok(tables)
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

/// Applies a response that may end what these entries wait for, and stores their verdicts.
fn taken(
    engine: &mut Engine,
    named: impl Iterator<Item = EntryId>,
    received: usize,
    apply: impl FnOnce(&mut Replica<SqliteReplica<'_>>) -> Result<(), LogError>,
) -> Result<Taken> {
    let named: BTreeSet<EntryId> = named.collect();
    engine.write(Origin::Remote, |engine| {
        let (ended, copied) = on(engine, |replica| {
            let waiting = waiting(replica, &named)?;
            apply(replica)?;
            let ended = waiting.into_iter().map(|id| ending(replica, id));
            let ended: Vec<_> = ended.collect::<Result<_, LogError>>()?;
            Ok((ended, replica.needs_new_author()))
        })?;
        let mut taken = Taken { received: received as u64, copied, ..Taken::default() };
        let now_ms = engine.host.now_micros() / 1_000;
        for (id, (attempt, action), kind) in ended.into_iter().flatten() {
            match kind {
                VerdictKind::Parked(_) => taken.parked += 1,
                VerdictKind::Accepted | VerdictKind::Withdrawn => taken.accepted += 1,
            }
            let detail = matches!(kind, VerdictKind::Parked(_)).then(list::denied);
            let detail = detail.as_deref();
            let of = (id, attempt, action.as_deref());
            verdict::write_of_log(engine.db.conn(), of, kind, detail, now_ms)?;
        }
        if taken.accepted + taken.parked > 0 {
            engine.touched.queue();
        }
        Ok(taken)
    })
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

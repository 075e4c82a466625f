//! Entries of the log in the engine's transactions: made of captured writes (here), decided by the app
//! (`decide`), listed beside mutations (`list`), and exchanged with a server (`exchange`).
//!
//! The replica's state in memory follows the transaction: it counts after the commit and is dropped
//! by a rollback. Without it, it is loaded from the file.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use rejoin_log::effect::Effects;
use rejoin_log::entry::{Intent, Offer, Revision};
use rejoin_log::handler::{Draft, Handlers, Ran, Stop};
use rejoin_log::ids::{AuthorId, EntryId};
use rejoin_log::key::Key;
use rejoin_log::message::bounds::check_offer;
use rejoin_log::placement::ColumnPlacement;
use rejoin_log::replica::store::{Facts, ReplicaStore as _, Waiting};
use rejoin_log::replica::{LogError, Replica, ReplicaEvent, ReplicaState};
use rejoin_log::row::RowName;
use rejoin_log::store::StoreError;
use rejoin_protocol::manifest::SyncModel;
use uuid::Uuid;

use crate::engine::Engine;
use crate::engine::capture::compose::Recorded;
use crate::engine::change::{Origin, Touched};
use crate::engine::log::{RowTables, SqliteReplica};
use crate::engine::meta::{meta, set_meta};
use crate::engine::queue::mutation::ParkReason;
use crate::engine::queue::verdict::{self, VerdictKind};
use crate::engine::queue::{self, NextPosition};
use crate::engine::schema::model::Schema;
use crate::error::{Error, InputFault, QueueFault, Result, StorageFault};
use crate::ids::{MutationId, TableNumber};
use actions::Runner;
use captured::Captured;

mod actions;
mod captured;
pub(crate) mod decide;
mod emptied;
pub mod exchange;
pub(crate) mod list;
#[cfg(test)]
mod tests;

/// The log of a file between two transactions.
#[derive(Debug, Default)]
pub(crate) struct DeviceLog {
    /// As of the last commit; `None` if it was not loaded yet.
    committed: Option<ReplicaState>,
    /// As of the open transaction, if it has used the log.
    staged: Option<ReplicaState>,
    /// Actions that exceeded their time: they are not run again.
    exhausted: HashSet<EntryId>,
    /// The buckets of rows, as the current schema declares them.
    placement: Arc<ColumnPlacement>,
    pub(crate) tables: RowTables,
}

impl DeviceLog {
    /// The transaction was committed.
    pub(crate) fn committed(&mut self) {
        if let Some(state) = self.staged.take() {
            self.committed = Some(state);
        }
    }

    /// The transaction was rolled back.
    pub(crate) fn rolled_back(&mut self) {
        self.staged = None;
    }

    /// Another schema, or an emptied file: the state is loaded again.
    pub(crate) fn reload(&mut self, schema: &Schema) {
        (self.committed, self.staged) = (None, None);
        let placement = schema.manifest.as_ref().map(ColumnPlacement::of);
        self.placement = Arc::new(placement.unwrap_or_default());
    }
}

/// The store runs the app's actions.
#[derive(Debug)]
struct NoActions;

impl Handlers for NoActions {
    fn run(&self, _: &Intent, _: &mut Draft<'_>) -> std::result::Result<(), Stop> {
        Err(Stop::NoHandler)
    }
}

/// Whether the schema has tables of the log.
pub(crate) fn has_tables(engine: &Engine) -> bool {
    engine.schema.in_log().next().is_some()
}

/// Whether the tables of the log have had the server's rows once, or there are none.
pub(crate) fn is_filled(engine: &Engine) -> Result<bool> {
    let facts = || reading(engine, |store| store.facts());
    Ok(!has_tables(engine) || facts()?.is_some_and(|facts| facts.stamp.is_some()))
}

/// Whether entries wait for the server.
pub(crate) fn any_waits(engine: &Engine) -> Result<bool> {
    reading(engine, |store| Ok(!store.waiting_ids(Waiting::Server, 1)?.is_empty()))
}

/// Whether entries wait for the server, and need no snapshot first.
pub(crate) fn are_unpublished(engine: &Engine) -> Result<bool> {
    reading(engine, |store| {
        let is_ready = store.facts()?.is_some_and(|facts| !facts.needs_snapshot);
        Ok(is_ready && !store.waiting_ids(Waiting::Server, 1)?.is_empty())
    })
}

/// The rows that entries name which wait for the server: their content here is not the server's.
pub(crate) fn unpublished_rows(engine: &Engine) -> Result<BTreeSet<RowName>> {
    reading(engine, |store| {
        let mut rows = BTreeSet::new();
        for id in store.waiting_ids(Waiting::Server, usize::MAX)? {
            let Some(record) = store.record(id)? else { continue };
            let item = record.item.iter().map(|item| &item.effects);
            let own = record.own.iter().map(|own| &own.effects);
            rows.extend(item.chain(own).flat_map(Effects::rows));
        }
        Ok(rows)
    })
}

/// The log takes a snapshot at its next exchange; unpublished entries stay.
pub(crate) fn require_snapshot(engine: &mut Engine) -> Result<()> {
    snapshot_due(engine, |_| Ok(()))
}

/// The log takes a snapshot at its next exchange, even if the server has lost what this device has
/// seen. Unpublished entries stay, and own entries that the server lacks are published again.
///
/// # Errors
/// Those of the file.
pub fn resync(engine: &mut Engine) -> Result<()> {
    snapshot_due(engine, super::log::forget_epoch)
}

fn snapshot_due(
    engine: &mut Engine,
    also: impl FnOnce(&rusqlite::Connection) -> Result<()>,
) -> Result<()> {
    engine.write(Origin::Remote, |engine| {
        super::log::require_snapshot(engine.db.conn())?;
        also(engine.db.conn())?;
        let schema = Arc::clone(&engine.schema);
        engine.log.reload(&schema);
        Ok(())
    })
}

/// Whether the changes are of the log: all of them, or none.
///
/// # Errors
/// `Refused` if they are of both models: no transaction of the server could hold both parts.
pub(crate) fn is_of_log(schema: &Schema, recorded: &Recorded) -> Result<bool> {
    let mut first: Option<(SyncModel, &str)> = None;
    for (row, _) in recorded.rows.iter() {
        let Some(table) = schema.table(row.table) else { continue };
        match first {
            None => first = Some((table.sync, &table.name)),
            Some((model, _)) if model == table.sync => {}
            Some((_, other)) => {
                return Err(Error::InvalidInput(InputFault::Refused {
                    what: format!("a transaction that writes {other} and {}", table.name),
                    reason: String::from(
                        "one is a table of the log, the other is not; use a transaction for each",
                    ),
                }));
            }
        }
    }
    Ok(first.is_some_and(|(model, _)| model == SyncModel::Log))
}

/// Records what the open transaction has written to tables of the log as one entry: plain SQL, or
/// an action that has run.
///
/// # Errors
/// `Refused` for a row outside of the user's buckets, and for an entry that exceeds a bound.
pub(crate) fn append(
    engine: &mut Engine,
    recorded: &Recorded,
    action: Option<(NextPosition, queue::Intent)>,
) -> Result<MutationId> {
    let wall = wall(engine);
    let (id, time, action) = match action {
        None => (engine.host.uuid4(), wall, None),
        Some((place, intent)) => {
            let time = u64::try_from(place.time_ms()).unwrap_or(0);
            let mut tables = actions::names_of(&engine.schema, &intent.reads);
            tables.extend(actions::names_of(&engine.schema, &tables_of(recorded)));
            (place.id.0, time, Some((actions::log_intent(&intent)?, tables)))
        }
    };
    let Captured { effects, before } = Captured::of(engine, recorded)?;
    let key = Key { id: EntryId(id), ..Key::FIRST };
    let intent = action.as_ref().map(|(intent, _)| intent.clone());
    let offer = Offer { key, time, intent, revision: Revision::default(), effects };
    check_offer(&offer).map_err(|error| refused("an entry of the log", error.to_string()))?;
    let effects = offer.effects;
    on(engine, |replica| match action {
        None => replica.write_captured(EntryId(id), effects, before, wall),
        Some((intent, tables)) => {
            let ran = Ran { effects, tables, refusal: None };
            replica.perform_captured(EntryId(id), intent, ran, before, (time, wall))
        }
    })?;
    Ok(MutationId(id))
}

fn tables_of(recorded: &Recorded) -> Vec<TableNumber> {
    recorded.rows.iter().map(|(row, _)| row.table).collect()
}

/// The wall time of an entry: milliseconds since 1970.
pub(crate) fn wall(engine: &Engine) -> u64 {
    u64::try_from(engine.host.now_micros() / 1_000).unwrap_or(0)
}

/// Runs `body` on the log in the open transaction, with capture off.
pub(crate) fn on<T>(
    engine: &mut Engine,
    body: impl FnOnce(&mut Replica<SqliteReplica<'_>>) -> Result<T, LogError>,
) -> Result<T> {
    let state = match engine.log.staged.as_ref().or(engine.log.committed.as_ref()) {
        Some(state) => state.clone(),
        None => load(engine)?,
    };
    let _off = engine.capture.off();
    let (result, events) = {
        let Engine { db, schema, touched, log, capture, footprints, actions, bounds, .. } =
            &mut *engine;
        let (failure, bounds) = (Cell::new(None), bounds.of_rebase());
        let (conn, exhausted) = (db.conn(), &mut log.exhausted);
        let mut runner =
            Runner { db, capture, schema, footprints, actions, bounds: &bounds, exhausted };
        let store = SqliteReplica::new(conn, (schema, &log.tables), touched, &failure)
            .with_actions(&mut runner);
        let handlers = Arc::new(NoActions);
        let mut replica =
            Replica::from_parts(store, state, handlers, Arc::clone(&log.placement) as _);
        let result = body(&mut replica).map_err(|error| of_log(error, &failure))?;
        let events = replica.take_events();
        log.staged = Some(replica.into_parts().1);
        (result, events)
    };
    events.iter().try_for_each(|event| tell(engine, event))?;
    Ok(result)
}

/// Stores what an event means for the app: an action that now rejects is parked, and one to which
/// the authority has given another effect is corrected. If an action succeeds later, the verdict
/// comes with the server's answer.
fn tell(engine: &mut Engine, event: &ReplicaEvent) -> Result<()> {
    tracing::debug!(?event, "log");
    let (id, kind, detail) = match event {
        ReplicaEvent::Refused { id, reason, before } => {
            let detail = list::both_contents("unreplayable", reason, before, &Effects::default());
            (id, VerdictKind::Parked(ParkReason::Unreplayable), detail)
        }
        ReplicaEvent::Corrected { id, before, after } => {
            let message =
                "the authority has run it again on the rows before it, with another effect";
            (id, VerdictKind::Corrected, list::both_contents("corrected", message, before, after))
        }
        _ => return Ok(()),
    };
    let now_ms = engine.host.now_micros() / 1_000;
    let (attempt, action) = list::attempt(engine, *id)?;
    let of = (MutationId(id.0), attempt, action.as_deref());
    verdict::write_of_log(engine.db.conn(), of, kind, Some(&detail), now_ms)?;
    engine.touched.queue();
    Ok(())
}

/// Reads the log of an engine, whatever its state in memory.
fn reading<T>(
    engine: &Engine,
    body: impl FnOnce(&SqliteReplica<'_>) -> Result<T, StoreError>,
) -> Result<T> {
    let (failure, mut touched) = (Cell::new(None), Touched::default());
    let tables = (&*engine.schema, &engine.log.tables);
    let store = SqliteReplica::new(engine.db.conn(), tables, &mut touched, &failure);
    body(&store).map_err(|StoreError(text)| failure.take().unwrap_or(Error::Internal(text)))
}

/// Reads the state of the log, or creates one.
fn load(engine: &mut Engine) -> Result<ReplicaState> {
    let author = author(engine)?;
    let Engine { db, schema, touched, log, .. } = engine;
    let failure = Cell::new(None);
    let mut store = SqliteReplica::new(db.conn(), (schema, &log.tables), touched, &failure);
    let mut state = || {
        if store.facts()?.is_none() {
            store.set_facts(&Facts::new(author))?;
        }
        ReplicaState::load(&store)
    };
    state().map_err(|error| of_log(error.into(), &failure))
}

/// The author of this device's entries: its id, created at the first use.
pub(crate) fn author(engine: &Engine) -> Result<AuthorId> {
    let conn = engine.db.conn();
    if let Some(text) = meta(conn, CLIENT_ID)? {
        let id = Uuid::parse_str(&text).map_err(|error| {
            Error::from(StorageFault::Corrupt(format!("the device's id {text}: {error}")))
        })?;
        return Ok(AuthorId(id));
    }
    let id = engine.host.uuid4();
    set_meta(conn, CLIENT_ID, Some(&id.to_string()))?;
    Ok(AuthorId(id))
}

/// Metadata key: the device's id.
const CLIENT_ID: &str = "client_id";

/// The app's error.
fn of_log(error: LogError, failure: &Cell<Option<Error>>) -> Error {
    let text = error.to_string();
    match error {
        LogError::Store(StoreError(text)) => failure.take().unwrap_or(Error::Internal(text)),
        LogError::Outside(_) => refused("the write", text),
        LogError::NotThere(id) => Error::Queue(QueueFault::Unknown(MutationId(id.0))),
        LogError::Refused(_) | LogError::NoHandler { .. } => Error::Internal(text),
    }
}

fn refused(what: &str, reason: String) -> Error {
    Error::InvalidInput(InputFault::Refused { what: what.to_owned(), reason })
}

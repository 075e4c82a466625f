//! The log model: runs the state machine of `rejoin-log` in transactions of the store.
//!
//! Each request sees the log of the caller's device, of the row model's epoch, and under the
//! caller's present buckets. What any of these has to write is written first, so that a fetch or a
//! snapshot is a read.

use std::sync::Arc;

use rejoin_log::entry::Offer;
use rejoin_log::ids::{AuthorId, Buckets, EntryId, Epoch, UserId};
use rejoin_log::key::Key;
use rejoin_log::message::rows::{RowsAnswer, RowsRequest};
use rejoin_log::message::snapshot::{SnapshotAnswer, SnapshotRequest};
use rejoin_log::message::{
    Correct, Corrected, Correction, EntryVerdict, Fetch, Fetched, Outcome, Publish, Published,
    Request, Verdict,
};
use rejoin_log::placement::ColumnPlacement;
use rejoin_log::server::store::{LogFacts, LogStore, Membership};
use rejoin_log::server::{Limits, Server, ServerError, correct, horizon, rows, snapshot};
use rejoin_log::store::StoreError;
use rejoin_protocol::wire::code;
use uuid::Uuid;

use super::{Caller, Engine, rights};
use crate::error::{Fault, Refusal};
use crate::model::{LogTable, Touched, own_bucket};
use crate::store::{LogTables, ReadHint, Reading, fits, read, write};

/// The state machine in a transaction.
pub(super) type Log<'t> = Server<LogTables<'t>>;

const DAY_MS: u64 = 86_400_000;

/// Why the work stopped inside the log.
pub(super) enum Stop {
    Server(ServerError),
    Store(StoreError),
    Fault(Fault),
}

impl From<ServerError> for Stop {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Store(error) => Self::Store(error),
            error => Self::Server(error),
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Takes entries and corrections of a device. Returns also the buckets to wake.
pub(crate) fn publish(
    engine: &Engine,
    caller: &Caller,
    asked: &Request<Publish>,
) -> Result<(Published, Vec<Touched>), Fault> {
    let (now, began) = (millis(engine), engine.clock.now());
    let ends = began.saturating_add(i64::from(engine.limits.push_ms) * 1_000);
    let room = room_for(engine, caller, &asked.log.offers)?;
    let ids: Vec<EntryId> = asked.log.offers.iter().map(|offer| offer.key.id).collect();
    let (answer, touched) = write_log(engine, caller, (asked.client_id, &ids), |log, tables| {
        let fitting = fitting(log, tables, &asked.log.offers)?;
        let mut request = asked.log.clone();
        let misfit = request.offers.get(fitting).map(|offer| offer.key.id);
        request.offers.truncate(fitting.min(room));
        let store = *log.store();
        let mut answer = store.batched(|| {
            log.publish_in_time(asked.client_id, &request, now, &|| engine.clock.now() >= ends)
        })?;
        if let (Some(id), Outcome::Verdicts { verdicts }) = (misfit, &mut answer.outcome)
            && verdicts.len() == fitting
            && verdicts.iter().all(|evaluated| evaluated.verdict.goes_on())
        {
            verdicts.push(EntryVerdict { id, verdict: Verdict::Denied });
        }
        Ok((answer, touched(log)?))
    })?;
    if let Outcome::Verdicts { verdicts } = &answer.outcome {
        let is_held = |one: &&EntryVerdict| matches!(one.verdict, Verdict::Held { .. });
        engine.log_entries.take(&caller.user, verdicts.iter().filter(is_held).count(), began);
    }
    Ok((answer, touched))
}

/// The number of entries that are taken from the user now; the device sends the rest later. Refuses
/// the request if they are few.
fn room_for(engine: &Engine, caller: &Caller, offers: &[Offer]) -> Result<usize, Fault> {
    let (shares, now) = (&engine.log_entries, engine.clock.now());
    if !offers.is_empty() && shares.is_spent(&caller.user, now) {
        let message =
            "the devices of this user have sent too many entries within an hour: send them later";
        return Err(shares.refusal(message));
    }
    Ok(shares.room(&caller.user, now))
}

/// The items after a cursor.
pub(crate) fn fetch(
    engine: &Engine,
    caller: &Caller,
    asked: &Request<Fetch>,
) -> Result<Fetched, Fault> {
    let limit = asked.log.limit.min(engine.limits.page);
    let request = Fetch { limit, ..asked.log };
    read_log(engine, caller, asked.client_id, |log, _| Ok(log.fetch(asked.client_id, &request)?))
}

/// A page of the snapshot.
pub(crate) fn log_snapshot(
    engine: &Engine,
    caller: &Caller,
    asked: &Request<SnapshotRequest>,
) -> Result<SnapshotAnswer, Fault> {
    let limit = asked.log.limit.min(engine.limits.page);
    let request = SnapshotRequest { limit, ..asked.log.clone() };
    read_log(engine, caller, asked.client_id, |log, _| {
        Ok(snapshot::snapshot_page(log, asked.client_id, &request)?)
    })
}

/// Rows by name, with the items that touch them.
pub(crate) fn log_rows(
    engine: &Engine,
    caller: &Caller,
    asked: &Request<RowsRequest>,
) -> Result<RowsAnswer, Fault> {
    read_log(engine, caller, asked.client_id, |log, _| {
        Ok(rows::named_rows(log, asked.client_id, &asked.log)?)
    })
}

/// Corrections of the authority. Returns also the buckets to wake.
pub(crate) fn correct(
    engine: &Engine,
    caller: &Caller,
    asked: &Request<Correct>,
) -> Result<(Corrected, Vec<Touched>), Fault> {
    let now = millis(engine);
    write_log(engine, caller, (asked.client_id, &[]), |log, tables| {
        let mut request = asked.log.clone();
        let fitting = |correction: &Correction| fits(&correction.effects, tables).is_ok();
        let (fit, misfits): (Vec<_>, Vec<_>) = request.corrections.into_iter().partition(fitting);
        request.corrections = fit;
        let store = *log.store();
        let mut done = store.batched(|| correct::correct(log, asked.client_id, &request, now))?;
        done.refused.extend(misfits.into_iter().map(|correction| correction.id));
        Ok((done, touched(log)?))
    })
}

/// Folds entries into the base whose items have not moved within the retention. Does nothing
/// without a table of the log.
pub(crate) fn raise_horizon(engine: &Engine) -> Result<(), Fault> {
    if read(&*engine.store, |reading| Ok(reading.log_tables().is_empty()))? {
        return Ok(());
    }
    let now = millis(engine);
    let to = Key::end_of(now.saturating_sub(log_limits(engine).retention));
    let most = usize::try_from(engine.retention.batch).unwrap_or(usize::MAX);
    while operate_log(engine, |log| horizon::raise_horizon(log, to, now, most))? {}
    Ok(())
}

/// Puts the rows that tables had before the log into its base; does nothing for tables whose rows are
/// there. Called before the first request.
pub(crate) fn load_tables(engine: &Engine) -> Result<(), Fault> {
    if read(&*engine.store, |reading| Ok(reading.log_tables().is_empty()))? {
        return Ok(());
    }
    write(&*engine.store, &engine.now(), |writing| {
        let store = writing.log();
        let done = open(engine, writing, store, true).and_then(|mut log| {
            for table in writing.log_tables() {
                if !log.has_table(&table.name) {
                    let has_rows = store.load(table)?;
                    log.table_loaded(table.name.as_str().into(), has_rows)?;
                }
            }
            Ok(())
        });
        done.map_err(|stop| fault(&store, stop))
    })
}

/// The log's facts: epoch, head, horizon, authority.
pub(crate) fn log_facts(engine: &Engine) -> Result<LogFacts, Fault> {
    operate_log(engine, |log| Ok(log.facts().clone()))
}

/// Begins a new epoch of both models: every device takes a snapshot, and sends again what this
/// database lacks.
pub(crate) fn begin_epoch(engine: &Engine) -> Result<(), Fault> {
    write(&*engine.store, &engine.now(), |writing| {
        served(writing)?;
        writing.new_epoch()?;
        let store = writing.log();
        open(engine, writing, store, true).map(drop).map_err(|stop| fault(&store, stop))
    })
}

/// Appoints or dismisses the authority.
pub(crate) fn appoint(engine: &Engine, authority: Option<AuthorId>) -> Result<(), Fault> {
    operate_log(engine, |log| correct::appoint(log, authority))
}

/// Returns an entry from the authority to its author; whether the authority had it.
pub(crate) fn release(engine: &Engine, id: EntryId) -> Result<bool, Fault> {
    let now = millis(engine);
    operate_log(engine, |log| correct::release(log, id, now))
}

fn operate_log<T>(
    engine: &Engine,
    mut work: impl FnMut(&mut Log<'_>) -> Result<T, StoreError>,
) -> Result<T, Fault> {
    write(&*engine.store, &engine.now(), |writing| {
        served(writing)?;
        let store = writing.log();
        let done = open(engine, writing, store, true).and_then(|mut log| Ok(work(&mut log)?));
        done.map_err(|stop| fault(&store, stop))
    })
}

fn write_log<T>(
    engine: &Engine,
    caller: &Caller,
    (author, entries): (AuthorId, &[EntryId]),
    mut work: impl FnMut(&mut Log<'_>, &[LogTable]) -> Result<T, Stop>,
) -> Result<T, Fault> {
    write(&*engine.store, &engine.now(), |writing| {
        let store = writing.log();
        let user = member(engine, writing, caller, author, entries)?;
        let done = open(engine, writing, store, true).and_then(|mut log| {
            admit(&mut log, author, &caller.user, &user)?;
            work(&mut log, writing.log_tables())
        });
        done.map_err(|stop| fault(&store, stop))
    })
}

/// Reads the log; writes first what this device or its user's membership lacks.
fn read_log<T>(
    engine: &Engine,
    caller: &Caller,
    author: AuthorId,
    mut work: impl FnMut(&mut Log<'_>, &[LogTable]) -> Result<T, Stop>,
) -> Result<T, Fault> {
    let found = read(&*engine.store, |reading| {
        let store = reading.log();
        let user = member(engine, reading, caller, author, &[])?;
        let is_settled = is_settled(&store, author, &caller.user, &user);
        if !is_settled.map_err(|stop| fault(&store, stop))? {
            return Ok(None);
        }
        let done = open(engine, reading, store, false)
            .and_then(|mut log| work(&mut log, reading.log_tables()));
        done.map(Some).map_err(|stop| fault(&store, stop))
    })?;
    match found {
        Some(found) => Ok(found),
        None => write_log(engine, caller, (author, &[]), work),
    }
}

/// What the caller may read and write now, if the device is registered and there is a log; without a
/// version, which only the log knows. `entries`: those that the request names.
fn member(
    engine: &Engine,
    reading: &dyn Reading,
    caller: &Caller,
    author: AuthorId,
    entries: &[EntryId],
) -> Result<Membership, Fault> {
    served(reading)?;
    let (user, client_id) = (caller.user.as_str(), author.to_string());
    let client_id = client_id.as_str();
    reading.expect(&ReadHint { user, client_id, positions: &[], entries: None })?;
    engine.registered(reading, caller, client_id)?;
    let rights = rights(reading, caller)?;
    let log = reading.log();
    log.expect_request(user, author, entries).map_err(|error| log.fault(error))?;
    let buckets: Buckets = rights.of_log().cloned().collect();
    let write_only = rights.writes.into_iter().filter(|bucket| !buckets.contains(bucket)).collect();
    Ok(Membership { buckets, write_only, version: 0 })
}

/// Opens the log, creating it at the first use. The epoch is the row model's: one restore is
/// one new epoch for both.
pub(super) fn open<'t>(
    engine: &Engine,
    reading: &dyn Reading,
    store: LogTables<'t>,
    writes: bool,
) -> Result<Log<'t>, Stop> {
    let placement = Arc::new(ColumnPlacement::of(&reading.schema().manifest));
    if !writes {
        return Ok(Server::open(store, placement, log_limits(engine))?);
    }
    let epoch = epoch_of(&store.epoch()?);
    if store.facts()?.is_none() {
        return Ok(Server::create(store, epoch, placement, log_limits(engine))?);
    }
    let mut log = Server::open(store, placement, log_limits(engine))?;
    if log.facts().epoch != epoch {
        log.begin_epoch(epoch)?;
    }
    Ok(log)
}

fn log_limits(engine: &Engine) -> Limits {
    let retention = u64::from(engine.retention.log_days) * DAY_MS;
    Limits { drift: engine.limits.log_drift_ms.into(), retention }
}

/// The clock in milliseconds since 1970.
pub(super) fn millis(engine: &Engine) -> u64 {
    u64::try_from(engine.clock.now() / 1_000).unwrap_or(0)
}

/// Whether a request of this device has nothing to write about the device itself.
fn is_settled(
    store: &LogTables<'_>,
    author: AuthorId,
    user: &str,
    member: &Membership,
) -> Result<bool, Stop> {
    let epoch = epoch_of(&store.epoch()?);
    let is_here = store.facts()?.is_some_and(|facts| facts.epoch == epoch);
    let user = UserId(user.into());
    let is_known = store.author(author)?.is_some_and(|known| known.user == user);
    let Membership { buckets, write_only, version } = store.membership(&user)?;
    let is_stored = version > 0 && buckets == member.buckets && write_only == member.write_only;
    Ok(is_here && is_known && is_stored)
}

/// Registers the device as an author, and stores its user's membership if it has changed.
fn admit(log: &mut Log<'_>, author: AuthorId, user: &str, member: &Membership) -> Result<(), Stop> {
    let user = UserId(user.into());
    match log.store().author(author)? {
        Some(known) if known.user == user => {}
        Some(_) => {
            let message = "this client id is another user's author of entries: take a new id";
            let refusal = Refusal::new(409, code::CLIENT_REPLACED, message);
            return Err(Fault::from(refusal).into());
        }
        None => log.register(author, user.clone())?,
    }
    Ok(log.set_buckets(&user, member.buckets.clone(), member.write_only.clone())?)
}

/// How many offers come before the first whose effects the tables cannot hold. An offer that the
/// log has already is not evaluated again, whatever the tables are now.
fn fitting(log: &Log<'_>, tables: &[LogTable], offers: &[Offer]) -> Result<usize, StoreError> {
    for (at, offer) in offers.iter().enumerate() {
        let Err(misfit) = fits(&offer.effects, tables) else { continue };
        let stored = log.store().entry(offer.key.id)?;
        let is_repeat = stored.is_some_and(|entry| entry.content.revision >= offer.revision)
            || log.store().final_author(offer.key.id)?.is_some();
        if !is_repeat {
            tracing::debug!(%misfit, entry = %offer.key.id, "denied");
            return Ok(at);
        }
    }
    Ok(offers.len())
}

/// The buckets whose members have something to fetch. The authority has with every change.
fn touched(log: &mut Log<'_>) -> Result<Vec<Touched>, StoreError> {
    let moved = log.take_moved();
    let mut buckets: Vec<String> = moved.iter().map(|bucket| bucket.as_str().to_owned()).collect();
    if !buckets.is_empty()
        && let Some(authority) = log.facts().authority
        && let Some(known) = log.store().author(authority)?
    {
        buckets.push(own_bucket(known.user.0.as_str()));
    }
    Ok(buckets.into_iter().map(|bucket| Touched { bucket, is_grant: false }).collect())
}

pub(super) fn served(reading: &dyn Reading) -> Result<(), Fault> {
    if reading.log_tables().is_empty() {
        let message =
            "this server has no table of the log: the operator declares one with sync = \"log\"";
        return Err(Refusal::new(404, code::LOG_REFUSED, message).into());
    }
    Ok(())
}

/// The author id of a device: its client id, which must be a UUID.
pub(crate) fn author_of(client_id: &str) -> Result<AuthorId, Fault> {
    let parsed = Uuid::try_parse(client_id).map(AuthorId);
    let message = "the client_id of a device that uses the log is a UUID";
    parsed.map_err(|_| Refusal::invalid(message).into())
}

pub(crate) fn entry_of(id: &str) -> Result<EntryId, Fault> {
    let parsed = Uuid::try_parse(id).map(EntryId);
    parsed.map_err(|_| Refusal::invalid("the id of an entry is a UUID").into())
}

/// The log's epoch for an epoch of the row model.
fn epoch_of(epoch: &str) -> Epoch {
    let parsed = Uuid::try_parse(epoch);
    Epoch(parsed.unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, epoch.as_bytes())))
}

pub(super) fn fault(store: &LogTables<'_>, stop: Stop) -> Fault {
    match stop {
        Stop::Fault(fault) => fault,
        Stop::Store(error) => store.fault(error),
        Stop::Server(ServerError::NotTheAuthority(_)) => {
            let message = "this device is not the authority: the operator appoints it with `rejoin-server log appoint`";
            Refusal::new(403, code::LOG_REFUSED, message).into()
        }
        Stop::Server(error) => Fault::Internal(error.to_string()),
    }
}

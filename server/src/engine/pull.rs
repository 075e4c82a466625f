//! Pull: the changes in the user's buckets, read in their current state, up to the end of a
//! transaction.
//!
//! When the user's buckets changed, the rows of added and removed buckets are walked first, in
//! pages. The position does not advance meanwhile. Entries of former buckets are still read up to
//! the end of the walk.

use std::borrow::Cow;

use rejoin_protocol::wire::pull::{PullAnswer, PullAsk, PullRequest, PullResponse};

use super::cursor::{self, Cursor, CursorCheck};
use super::encode::Sets;
use super::page::Names;
use super::subscriptions::Held;
use super::walk::{self, same_buckets};
use super::{Caller, Engine, schema_gate};
use crate::error::Fault;
use crate::hooks::SnapshotReason as Reason;
use crate::model::{Client, PageLimit, ReadScope};
use crate::observe;
use crate::store::{ReadHint, Reading, read, read_replica, write};

/// The wire name of a reason.
fn word(reason: Reason) -> String {
    String::from(match reason {
        Reason::Initial => "initial_sync_required",
        Reason::Retention => "checkpoint_before_retention",
        Reason::Epoch | Reason::Restart => "epoch_changed",
    })
}

/// The result of a pull.
enum Found {
    /// With the position at which it begins, and its number of rows.
    Page(i64, usize),
    Snapshot(Reason),
    Restored,
}

/// What a pull has read.
struct Looked {
    client: Client,
    found: Found,
    /// Without rows, unless a page was found.
    response: PullResponse,
    /// Whether only the database knows which rows and entries belong to it: the user's buckets have changed.
    turns: bool,
}

/// Handles a pull of a Rejoin device.
pub(crate) fn pull(
    engine: &Engine,
    caller: &Caller,
    request: &PullRequest,
    ask: &PullAsk,
) -> Result<PullResponse, Fault> {
    let work = |reading: &dyn Reading| look(engine, caller, request, ask, reading);
    // Anything but a page is decided by the database itself: a replica may be behind.
    let at_replica = read_replica(&*engine.store, |reading| {
        let looked = suits_replica(reading, ask).then(|| work(reading)).transpose()?;
        Ok(looked.filter(|looked| !looked.turns && matches!(looked.found, Found::Page(..))))
    });
    let looked = at_replica.map_or_else(|| read(&*engine.store, work), Ok)?;
    let Looked { client, found, mut response, .. } = looked;
    match found {
        Found::Page(position, rows) => {
            engine.remember(&caller.user, &request.client_id, &client, position)?;
            let read = (response.checkpoint, rows, response.has_more);
            engine.tell_pulled(caller, &request.client_id, read);
            Ok(response)
        }
        Found::Snapshot(reason) => {
            engine.tell_snapshot(caller, &request.client_id, client.position, reason);
            Ok(snapshot_required(response, reason))
        }
        Found::Restored => {
            let epoch = begin_epoch(engine, |reading| {
                Ok(cursor::shows_restore(reading, &ask.cursor)?
                    || cursor::shows_restore(reading, &ask.witness)?)
            })?;
            engine.tell_snapshot(caller, &request.client_id, client.position, Reason::Epoch);
            if let Some(answer) = &mut response.rejoin {
                answer.epoch = epoch;
            }
            Ok(snapshot_required(response, Reason::Epoch))
        }
    }
}

/// Whether a replica may serve the pull: it continues from a cursor of this server, what the device
/// has read was not ahead of the log, and it asks neither for the present state nor for rows by name,
/// which would be ahead.
fn suits_replica(reading: &dyn Reading, ask: &PullAsk) -> bool {
    if ask.current || !ask.recheck.is_empty() {
        return false;
    }
    let Some(key) = reading.cursor_key() else { return false };
    let suits =
        |text| cursor::open::<Cursor>(text, key).is_some_and(|cursor| !cursor.has_later_rows);
    suits(&ask.cursor) && (ask.witness.is_empty() || suits(&ask.witness))
}

/// Reads the page that the cursor asks for, or why there is none.
fn look(
    engine: &Engine,
    caller: &Caller,
    request: &PullRequest,
    ask: &PullAsk,
    reading: &dyn Reading,
) -> Result<Looked, Fault> {
    let limit = engine.page_size(request.limit);
    schema_gate(reading, request.schema_version, &request.schema_hash, false)?;
    let opened = expect(reading, caller, &request.client_id, ask, limit)?;
    let client = engine.registered(reading, caller, &request.client_id)?;
    let held = Held::read(reading, caller)?;
    let mut response = empty(reading, &held, ask)?;
    let mut turns = false;
    let found = match ask.cursor.as_str() {
        _ if cursor::shows_restore(reading, &ask.witness)? => Found::Restored,
        "" => Found::Snapshot(Reason::Initial),
        cursor => match check(reading, caller, opened, cursor)? {
            CursorCheck::Good(cursor) => {
                turns = cursor.turns(&held.rights.reads);
                let bytes = engine.limits.page_bytes;
                let room = PageLimit { rows: limit, bytes };
                largest_page(reading, caller, (ask, &held), *cursor, room, &mut response)?
            }
            CursorCheck::Behind => Found::Snapshot(Reason::Retention),
            CursorCheck::Foreign => Found::Snapshot(Reason::Epoch),
            CursorCheck::Restored => Found::Restored,
        },
    };
    Ok(Looked { client, found, response, turns })
}

/// Checks the cursor of the request. `opened` is the same, if the store's last known key opened it.
fn check(
    reading: &dyn Reading,
    caller: &Caller,
    opened: Option<Cursor>,
    text: &str,
) -> Result<CursorCheck, Fault> {
    let is_current = reading.cursor_key() == Some(reading.log_state()?.key.as_str());
    match opened.filter(|_| is_current) {
        Some(cursor) => cursor::stand_of(&caller.user, reading, cursor),
        None => cursor::check_of(&caller.user, reading, text),
    }
}

/// The largest page within the limits. If its rows exceed the bytes, fewer are tried. A single entry
/// or transaction is sent at any size, with one of the rows that the device asks for by name.
fn largest_page(
    reading: &dyn Reading,
    caller: &Caller,
    (ask, held): (&PullAsk, &Held),
    cursor: Cursor,
    mut room: PageLimit,
    response: &mut PullResponse,
) -> Result<Found, Fault> {
    let Some(cursor) = cursor.opened(&held.rights.reads) else {
        return Ok(Found::Snapshot(Reason::Retention));
    };
    loop {
        if room.rows <= 1 {
            room.bytes = usize::MAX;
        }
        if let Some(found) = page(reading, caller, (ask, held), &cursor, room, response)? {
            return Ok(found);
        }
        room.rows /= 2;
    }
}

/// Begins a new epoch, unless another request already did since the cursor proved a restore.
pub(super) fn begin_epoch(
    engine: &Engine,
    is_restored: impl Fn(&dyn Reading) -> Result<bool, Fault>,
) -> Result<String, Fault> {
    write(&*engine.store, &engine.now(), |writing| {
        if is_restored(writing)? {
            tracing::warn!("a device has read a later state of the log: starting a new epoch");
            return writing.new_epoch();
        }
        Ok(writing.log_state()?.epoch)
    })
}

/// Prefetches what the pull will read according to its cursors, and returns the pull's. Cursors of other
/// servers are ignored, so that a forged cursor causes no log scan.
fn expect(
    reading: &dyn Reading,
    caller: &Caller,
    client_id: &str,
    ask: &PullAsk,
    limit: usize,
) -> Result<Option<Cursor>, Fault> {
    let Some(key) = reading.cursor_key() else { return Ok(None) };
    let cursor = cursor::open::<Cursor>(&ask.cursor, key);
    let witness = cursor::open::<Cursor>(&ask.witness, key);
    let known = cursor.iter().chain(&witness);
    let positions: Vec<i64> = known.flat_map(|cursor| [cursor.position, cursor.seen]).collect();
    let read_on = cursor.as_ref().filter(|cursor| !cursor.is_hashed() && cursor.walk.is_none());
    let buckets = read_on.map(Cursor::read_buckets).unwrap_or_default();
    reading.expect(&ReadHint {
        user: &caller.user,
        client_id,
        positions: &positions,
        entries: read_on.map(|cursor| (cursor.position, &*buckets, limit)),
    })?;
    Ok(cursor)
}

fn empty(reading: &dyn Reading, held: &Held, ask: &PullAsk) -> Result<PullResponse, Fault> {
    let manifest = &reading.schema().manifest;
    Ok(PullResponse {
        changes: Vec::new(),
        deletes: Vec::new(),
        checkpoint: 0,
        has_more: false,
        snapshot_required: false,
        snapshot_reason: None,
        bucket_updates: None,
        schema_version: manifest.schema_version,
        schema_hash: manifest.schema_hash.clone(),
        rejoin: Some(PullAnswer {
            request: ask.request,
            epoch: reading.log_state()?.epoch,
            held: cursor::shown(&held.rights.reads),
            ..PullAnswer::default()
        }),
    })
}

fn snapshot_required(empty: PullResponse, reason: Reason) -> PullResponse {
    PullResponse { snapshot_required: true, snapshot_reason: Some(word(reason)), ..empty }
}

/// Writes a page into the response; `None` if its rows exceed the bytes.
fn page(
    reading: &dyn Reading,
    caller: &Caller,
    (ask, held): (&PullAsk, &Held),
    cursor: &Cursor,
    room: PageLimit,
    response: &mut PullResponse,
) -> Result<Option<Found>, Fault> {
    let schema = reading.schema();
    let scope = ReadScope::of(&held.rights.reads);
    let mut names = Names::default();
    // The device asks again for those that are left out.
    for row in ask.recheck.iter().take(room.rows) {
        if let Some(table) = schema.table(&row.table_name) {
            names.add(table, row.id.clone());
        }
    }
    let mut next = walk::turned(cursor, held, reading.log_state()?.head);
    next.carry(&ask.witness, &reading.log_state()?.key);
    let walking = next.walk.is_some();
    let wait = if walking {
        // The walk names rows of former buckets.
        let former = next.walk.as_ref().map(walk::walked).unwrap_or_default();
        held.act(reading, &caller.user, &former)?;
        walk::walk(reading, &mut next, room, &mut names)?;
        held.act(reading, &caller.user, &[])?;
        Some((next.position, next.read_buckets().into_owned()))
    } else {
        advance(reading, &next, room.rows, &mut names)?
    };
    if let Some((position, buckets)) = &wait {
        reading.expect_behind(*position, buckets);
    }
    let mut sets = Sets::default();
    let count = names.len();
    let read = names.read(reading, room.bytes, &scope, &mut |table, row| {
        sets.push(table, &row);
        Ok(())
    })?;
    let Some(gone) = read else { return Ok(None) };
    let remaining = match &wait {
        Some((position, buckets)) => reading.behind(*position, buckets)?,
        None => 0,
    };
    if !walking {
        next.read_up_to(reading, wait.filter(|_| remaining > 0).map(|(last, _)| last))?;
    }
    next.read_now(reading)?;
    next.has_later_rows = reading.log_state()?.unnumbered && (count > 0 || walking);
    let sealed = if next == *cursor {
        ask.cursor.clone()
    } else if let Some(sealed) = next.seal(&reading.log_state()?.key)? {
        sealed
    } else {
        return Ok(Some(Found::Snapshot(Reason::Retention)));
    };
    observe::pulled(gone.rows);
    // Rows are read in their current state and may show a commit whose entries have no position
    // yet. A device must not apply such a page alone: the next page has the other rows of that
    // transaction.
    let is_ahead = next.has_later_rows && count > 0 && next.position > cursor.position;
    response.has_more = walking || remaining > 0 || is_ahead;
    response.checkpoint = next.position;
    if let Some(answer) = &mut response.rejoin {
        answer.sets = sets.end()?;
        answer.remaining = remaining;
        answer.cursor = sealed;
        answer.subscriptions = held.states(&next.held);
    }
    response.deletes = gone.names;
    Ok(Some(Found::Page(cursor.position, count)))
}

impl Cursor {
    /// Whether the buckets of the user have changed since the last pull, or their change is not complete.
    fn turns(&self, held: &[String]) -> bool {
        let is_turning = self.walk.is_some() || !self.extra.is_empty();
        is_turning || self.is_hashed() || !same_buckets(&self.held, held)
    }

    /// Advances to the last entry of the page. After the user's last entry it advances to the end
    /// of the log, so that the cursor of an inactive user stays current.
    fn read_up_to(&mut self, reading: &dyn Reading, last: Option<i64>) -> Result<(), Fault> {
        self.position = match last {
            Some(last) => last,
            None => reading.log_state()?.head,
        };
        self.tag = reading.tag(self.position)?.unwrap_or_default();
        if self.position >= self.until {
            self.extra.clear();
        }
        Ok(())
    }

    /// The buckets whose entries are read: those of the last pull, and former ones not yet read to
    /// their end.
    fn read_buckets(&self) -> Cow<'_, [String]> {
        if self.extra.is_empty() {
            return Cow::Borrowed(&self.held);
        }
        let former = self.extra.iter().filter(|extra| !self.held.contains(extra));
        self.held.iter().chain(former).cloned().collect()
    }
}

/// Reads one page of entries; returns where, and in which buckets, more may follow.
fn advance(
    reading: &dyn Reading,
    next: &Cursor,
    limit: usize,
    names: &mut Names,
) -> Result<Option<(i64, Vec<String>)>, Fault> {
    let buckets = next.read_buckets();
    let entries = reading.entries(next.position, &buckets, limit)?;
    let (last, found) =
        (entries.last().map_or(next.position, |entry| entry.position), entries.len());
    for entry in entries {
        if let Some(table) = reading.schema().tables.iter().find(|t| t.number == entry.table) {
            names.add(table, entry.id);
        }
    }
    Ok((found >= limit).then(|| (last, buckets.into_owned())))
}

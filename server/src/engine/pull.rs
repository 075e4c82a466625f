//! Pull: the changes in the user's buckets, read in their current state, up to the end of a
//! transaction.
//!
//! When the user's buckets changed, the rows of added and removed buckets are walked first, in
//! pages. The position does not advance meanwhile. Entries of former buckets are still read up to
//! the end of the walk.

use rejoin_protocol::wire::pull::{PullAnswer, PullAsk, PullRequest, PullResponse};

use super::cursor::{self, AccessWalk, Cursor, CursorCheck};
use super::encode::Sets;
use super::page::Names;
use super::{Caller, Engine, held, schema_gate};
use crate::error::Fault;
use crate::hooks::SnapshotReason as Reason;
use crate::model::{Client, PageLimit, ReadScope, WAITING};
use crate::observe;
use crate::store::{ReadHint, Reading, read, read_replica, write};
use rejoin_protocol::mutant::{self, Mutant};

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
    Page(Box<PullResponse>, i64, usize),
    Snapshot(Reason),
    Restored,
}

/// What a pull has read.
struct Looked {
    client: Client,
    found: Found,
    /// The response without rows.
    empty: PullResponse,
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
    let Looked { client, found, empty, .. } = looked;
    match found {
        Found::Page(response, position, rows) => {
            engine.remember(&caller.user, &request.client_id, &client, position)?;
            let read = (response.checkpoint, rows, response.has_more);
            engine.tell_pulled(caller, &request.client_id, read);
            Ok(*response)
        }
        Found::Snapshot(reason) => {
            engine.tell_snapshot(caller, &request.client_id, client.position, reason);
            Ok(snapshot_required(empty, reason))
        }
        Found::Restored => {
            let epoch = begin_epoch(engine, |reading| {
                Ok(cursor::shows_restore(reading, &ask.cursor)?
                    || cursor::shows_restore(reading, &ask.witness)?)
            })?;
            engine.tell_snapshot(caller, &request.client_id, client.position, Reason::Epoch);
            let mut response = snapshot_required(empty, Reason::Epoch);
            if let Some(answer) = &mut response.rejoin {
                answer.epoch = epoch;
            }
            Ok(response)
        }
    }
}

/// Whether a replica may serve the pull: it continues from a cursor of this server, what the device
/// has read was not ahead of the log, and it asks for no rows by name, which would be.
fn suits_replica(reading: &dyn Reading, ask: &PullAsk) -> bool {
    if !ask.recheck.is_empty() {
        return false;
    }
    let Some(key) = reading.cursor_key() else { return false };
    let suits = |text| cursor::open::<Cursor>(text, key).is_some_and(|cursor| !cursor.ahead);
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
    expect(reading, caller, &request.client_id, ask, limit)?;
    let client = engine.registered(reading, caller, &request.client_id)?;
    let mut turns = false;
    let found = match ask.cursor.as_str() {
        _ if cursor::shows_restore(reading, &ask.witness)? => Found::Restored,
        "" => Found::Snapshot(Reason::Initial),
        cursor => match cursor::check_of(&caller.user, reading, cursor)? {
            CursorCheck::Good(cursor) => {
                turns = cursor.turns(&held(reading, &caller.user)?);
                // Rows exceed the byte limit: retry with fewer. A single entry or transaction
                // is sent at any size, with one of the rows that the device asks for by name.
                let mut limit = limit;
                loop {
                    let bytes = if limit > 1 { engine.limits.page_bytes } else { usize::MAX };
                    let room = PageLimit { rows: limit, bytes };
                    if let Some(found) = page(reading, caller, ask, &cursor, room)? {
                        break found;
                    }
                    limit /= 2;
                }
            }
            CursorCheck::Behind => Found::Snapshot(Reason::Retention),
            CursorCheck::Foreign => Found::Snapshot(Reason::Epoch),
            CursorCheck::Restored => Found::Restored,
        },
    };
    Ok(Looked { client, found, empty: empty(reading, caller, ask)?, turns })
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

/// Prefetches what the pull will read according to its cursors. Cursors of other servers are
/// ignored, so that a forged cursor causes no log scan.
fn expect(
    reading: &dyn Reading,
    caller: &Caller,
    client_id: &str,
    ask: &PullAsk,
    limit: usize,
) -> Result<(), Fault> {
    let Some(key) = reading.cursor_key() else { return Ok(()) };
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
        entries: read_on.map(|cursor| (cursor.position, buckets.as_slice(), limit)),
    })
}

fn empty(reading: &dyn Reading, caller: &Caller, ask: &PullAsk) -> Result<PullResponse, Fault> {
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
            held: held(reading, &caller.user)?,
            ..PullAnswer::default()
        }),
    })
}

fn snapshot_required(empty: PullResponse, reason: Reason) -> PullResponse {
    PullResponse { snapshot_required: true, snapshot_reason: Some(word(reason)), ..empty }
}

fn page(
    reading: &dyn Reading,
    caller: &Caller,
    ask: &PullAsk,
    cursor: &Cursor,
    room: PageLimit,
) -> Result<Option<Found>, Fault> {
    let schema = reading.schema();
    let held = held(reading, &caller.user)?;
    let Some(cursor) = cursor.clone().opened(&held) else {
        return Ok(Some(Found::Snapshot(Reason::Retention)));
    };
    let scope = ReadScope::of(&held);
    let mut names = Names::default();
    // The device asks again for those that are left out.
    for row in ask.recheck.iter().take(room.rows) {
        if let Some(table) = schema.table(&row.table_name) {
            names.add(table, row.id.clone());
        }
    }
    let mut next = turned(&cursor, &held, reading.log_state()?.head);
    next.carry(&ask.witness, &reading.log_state()?.key);
    let walking = next.walk.is_some();
    let wait = if walking {
        // The walk names rows of former buckets.
        let former = next.walk.as_ref().map(walked).unwrap_or_default();
        reading.act_for(&caller.user, &former)?;
        walk(reading, &mut next, room, &mut names)?;
        reading.act_for(&caller.user, &[])?;
        Some((next.position, next.read_buckets()))
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
    next.ahead = reading.log_state()?.unnumbered && (count > 0 || walking);
    let Some(sealed) = next.seal(&reading.log_state()?.key)? else {
        return Ok(Some(Found::Snapshot(Reason::Retention)));
    };
    let mut response = empty(reading, caller, ask)?;
    observe::pulled(gone.rows);
    // Rows are read in their current state and may show a commit whose entries have no position
    // yet. A device must not apply such a page alone: the next page has the other rows of that
    // transaction.
    let is_ahead = next.ahead && count > 0 && next.position > cursor.position;
    response.has_more = walking || remaining > 0 || is_ahead;
    response.checkpoint = next.position;
    if let Some(answer) = &mut response.rejoin {
        answer.sets = sets.end()?;
        answer.remaining = remaining;
        answer.cursor = sealed;
    }
    response.deletes = gone.names;
    Ok(Some(Found::Page(Box::new(response), cursor.position, count)))
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
    fn read_buckets(&self) -> Vec<String> {
        let mut buckets = self.held.clone();
        buckets.extend(self.extra.iter().filter(|extra| !self.held.contains(extra)).cloned());
        buckets
    }
}

/// The cursor, with a walk started or restarted if the user's buckets have changed.
fn turned(cursor: &Cursor, held: &[String], log_end: i64) -> Cursor {
    let mut next = cursor.clone();
    let target = cursor.walk.as_ref().map_or(&cursor.held, |walk| &walk.target);
    if !same_buckets(target, held) && !mutant::on(Mutant::BucketsUnwalked) {
        let mut buckets = difference(&cursor.held, held);
        // An unfinished walk has already sent some rows of its buckets, or has yet to remove some.
        for bucket in cursor.walk.iter().flat_map(|walk| &walk.buckets) {
            if !buckets.contains(bucket) {
                buckets.push(bucket.clone());
            }
        }
        next.walk =
            Some(AccessWalk { buckets, target: held.to_vec(), table: String::new(), after: None });
    }
    if cursor.ahead && next.walk.is_none() {
        // The walk had read rows whose entries have a position only now.
        next.until = next.until.max(log_end);
    }
    next
}

/// Whether two lists name the same buckets, in any order.
pub(super) fn same_buckets(left: &[String], right: &[String]) -> bool {
    difference(left, right).is_empty()
}

/// The elements that are in exactly one of the two lists.
fn difference(left: &[String], right: &[String]) -> Vec<String> {
    let only = |of: &[String], not: &[String]| -> Vec<String> {
        of.iter().filter(|name| !not.contains(name)).cloned().collect()
    };
    let mut found = only(left, right);
    found.extend(only(right, left));
    found
}

/// The buckets in which a walk looks for rows, including those that may no longer have any.
fn walked(walk: &AccessWalk) -> Vec<String> {
    let mut buckets = walk.buckets.clone();
    buckets.push(String::from(WAITING));
    buckets
}

/// Reads one page of the walk: every live row of the added and removed buckets, with its current
/// membership.
fn walk(
    reading: &dyn Reading,
    next: &mut Cursor,
    room: PageLimit,
    names: &mut Names,
) -> Result<(), Fault> {
    let Some(mut walk) = next.walk.take() else { return Ok(()) };
    let scope = ReadScope::of(&walked(&walk));
    let schema = reading.schema();
    let mut moves = false;
    for table in &schema.tables {
        if table.name < walk.table {
            continue;
        }
        if table.name != walk.table {
            walk.table.clone_from(&table.name);
            walk.after = None;
        }
        let left = PageLimit { rows: room.rows.saturating_sub(names.len()).max(1), ..room };
        let after = walk.after.as_deref().and_then(|after| table.key_of(after));
        let page = reading.page(table, after.as_ref(), left, &scope)?;
        for row in &page.rows {
            names.add(table, row.id(table));
        }
        moves |= !page.rows.is_empty();
        // Rows that the device asked for by name may have filled the page. The walk goes on until it
        // has a row of its own: otherwise it would stay at the end of a table.
        if !page.ends || moves && names.len() >= room.rows {
            walk.after = page.rows.last().map(|row| row.id(table)).or(walk.after);
            next.walk = Some(walk);
            return Ok(());
        }
    }
    // Entries of former buckets still report rows that left them during this walk, or during an
    // earlier one whose entries were not read yet.
    for bucket in walk.buckets.into_iter().chain(next.held.drain(..)) {
        if !next.extra.contains(&bucket) {
            next.extra.push(bucket);
        }
    }
    next.until = reading.log_state()?.head;
    next.held = walk.target;
    Ok(())
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
    Ok((found >= limit).then_some((last, buckets)))
}

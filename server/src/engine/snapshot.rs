//! Snapshot: all rows visible to the user, in pages ordered by table name and key.
//!
//! The first page fixes the position where the following pull starts, and the row count. Both are
//! in the opaque part of the cursor, so the server keeps no state.

pub(crate) mod shared;

use rejoin_protocol::mutant::{self, Mutant};
use rejoin_protocol::wire::snapshot::{
    KeyRange, SnapshotAnswer, SnapshotCursor, SnapshotRequest, SnapshotResponse,
};
use serde::{Deserialize, Serialize};

use super::cursor::{self, Cursor, CursorCheck};
use super::pull::begin_epoch;
use super::subscriptions::Held;
use super::walk::same_buckets;
use super::{Caller, Engine, encode, window};
use crate::error::Fault;
use crate::hooks::SnapshotReason;
use crate::model::{Client, Page, PageLimit, ReadScope, Row, Table};
use crate::observe;
use crate::store::{ReadHint, Reading, read};

/// The end of a page; sealed inside `after_id`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    /// The table by name, in which the next page continues.
    table: String,
    /// The last key sent of that table.
    after: Option<String>,
    /// The pull cursor issued with the first page.
    cursor: Cursor,
    /// Rows counted at the first page.
    total: i64,
    /// The end of the log when the last page was read, and its tag.
    #[serde(default)]
    seen: (i64, i64),
    /// The tables with shared pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shared: Vec<String>,
}

impl Place {
    fn first(reading: &dyn Reading, held: &[String], ask: &Ask<'_>) -> Result<Self, Fault> {
        let scope = ReadScope::of(held);
        let (mut total, mut shared) = (0, Vec::new());
        for table in &reading.schema().tables {
            let count = reading.count(table, &scope)?;
            total += count;
            if ask.shared && shared::is_shared(table) && count > ask.rows {
                shared.push(table.name.clone());
            }
        }
        let mut cursor = cursor::at_head(reading, held)?;
        if !shared.is_empty() {
            (cursor.position, cursor.tag) = shared::beginning(reading)?;
        }
        cursor.carry(ask.witness, &reading.log_state()?.key);
        let seen = (cursor.seen, cursor.seen_tag);
        Ok(Self { table: String::new(), after: None, cursor, total, seen, shared })
    }

    /// Whether the next rows of this table are in shared pages: only from its first row on.
    fn shares(&self, table: &Table) -> bool {
        self.after.is_none() && self.shared.contains(&table.name)
    }
}

/// What a request asks for besides its place.
struct Ask<'a> {
    witness: &'a str,
    /// Whether the device takes shared pages.
    shared: bool,
    /// Maximum number of rows.
    rows: i64,
}

impl<'a> Ask<'a> {
    fn of(request: &'a SnapshotRequest, rows: usize) -> Self {
        Self {
            witness: witness_of(request),
            shared: request.rejoin.as_ref().is_some_and(|ask| ask.shared),
            rows: i64::try_from(rows).unwrap_or(i64::MAX),
        }
    }
}

/// Handles the request of one page.
pub(crate) fn snapshot(
    engine: &Engine,
    caller: &Caller,
    request: &SnapshotRequest,
) -> Result<SnapshotResponse, Fault> {
    let is_ours = request.rejoin.is_some() || caller.extended;
    let rows = if is_ours {
        engine.page_size(request.limit)
    } else {
        engine.plain_page_size(request.limit)
    };
    let room = PageLimit { rows, bytes: engine.limits.page_bytes };
    let ask = Ask::of(request, rows);
    let (mut response, client, position, restarts) = read(&*engine.store, |reading| {
        let older =
            window::admit(engine, reading, is_ours, request.schema_version, &request.schema_hash)?;
        expect(reading, caller, request)?;
        let client = engine.registered(reading, caller, &request.client_id)?;
        let rights = Held::read(reading, caller)?;
        let found = resume_point(reading, caller, request)?;
        let held = match &found {
            Found::Place(place) => rights.since(&place.cursor.held),
            _ => rights.rights.reads.clone(),
        };
        let begin = || Place::first(reading, &held, &ask);
        let found = found.require_buckets(&held);
        let restarts = found.reason();
        let place = match found {
            Found::Place(place) => Some(*place),
            Found::First => Some(begin()?),
            Found::Gone | Found::Restored => None,
        };
        let (mut response, position) = match place {
            Some(place) => {
                let position = place.cursor.position;
                (page(reading, request, place, &held, room)?, position)
            }
            None if caller.extended => (answer(reading, request, None)?, position_of(&client)),
            // Plain peers have no restart signal; they overwrite the rows they get again.
            None => {
                let place = begin()?;
                let position = place.cursor.position;
                (page(reading, request, place, &held, room)?, position)
            }
        };
        if let Some(older) = older {
            older.records(&mut response.records)?;
            (response.schema_version, response.schema_hash) = older.name();
        }
        Ok((response, client, position, restarts))
    })?;
    if let Some(reason) = restarts {
        engine.tell_snapshot(caller, &request.client_id, client.position, reason);
    }
    if let (Some(SnapshotReason::Epoch), Some(answer)) = (restarts, &mut response.rejoin) {
        answer.epoch = begin_epoch(engine, |reading| {
            Ok(matches!(resume_point(reading, caller, request)?, Found::Restored))
        })?;
    }
    engine.remember(&caller.user, &request.client_id, &client, position)?;
    Ok(response)
}

/// Where a request continues.
enum Found {
    /// At the start.
    First,
    Place(Box<Place>),
    /// At a place that can no longer be served.
    Gone,
    /// At a place that proves that this server was restored to an earlier state.
    Restored,
}

impl Found {
    /// Restarts the snapshot if the user's buckets are not those of the first page. The pull cursor
    /// records only those. Pulls would not correct pages read with a bucket that was granted or
    /// revoked in between.
    fn require_buckets(self, held: &[String]) -> Self {
        match self {
            Self::Place(place) if !same_buckets(&place.cursor.held, held) => Self::Gone,
            found => found,
        }
    }

    /// Why the snapshot restarts, if it does.
    fn reason(&self) -> Option<SnapshotReason> {
        match self {
            Self::First | Self::Place(_) => None,
            Self::Gone => Some(SnapshotReason::Restart),
            Self::Restored => Some(SnapshotReason::Epoch),
        }
    }
}

/// The log tip of a request; plain peers send none.
fn witness_of(request: &SnapshotRequest) -> &str {
    request.rejoin.as_ref().map_or("", |ask| ask.witness.as_str())
}

/// The address of the last shared page; plain peers take none.
fn address_of(request: &SnapshotRequest) -> &str {
    request.rejoin.as_ref().map_or("", |ask| ask.page.as_str())
}

/// Prefetches what a page reads besides its rows.
fn expect(reading: &dyn Reading, caller: &Caller, request: &SnapshotRequest) -> Result<(), Fault> {
    let Some(key) = reading.cursor_key() else { return Ok(()) };
    let place = request.cursor.as_ref();
    let place = place.and_then(|cursor| cursor::open::<Place>(&cursor.after_id, key));
    let mut positions =
        place.map_or([0; 2], |place| [place.cursor.position, place.seen.0]).to_vec();
    let witness = cursor::open::<Cursor>(witness_of(request), key);
    positions.extend(witness.iter().flat_map(|witness| [witness.position, witness.seen]));
    positions.extend(shared::seen(address_of(request), key));
    reading.expect(&ReadHint {
        user: &caller.user,
        client_id: &request.client_id,
        positions: &positions,
        entries: None,
    })
}

fn position_of(client: &Client) -> i64 {
    client.position.unwrap_or(0)
}

/// Where the request continues. A Rejoin device also sends its log tip, which may be later than the
/// place.
fn resume_point(
    reading: &dyn Reading,
    caller: &Caller,
    request: &SnapshotRequest,
) -> Result<Found, Fault> {
    let is_ours = request.rejoin.is_some();
    if is_ours && cursor::shows_restore(reading, witness_of(request))? {
        return Ok(Found::Restored);
    }
    let cursor = request.cursor.as_ref().filter(|cursor| !cursor.after_id.is_empty());
    let Some(cursor) = cursor else { return Ok(Found::First) };
    let log = reading.log_state()?;
    let Some(mut place) = cursor::open::<Place>(&cursor.after_id, &log.key) else {
        return Ok(Found::Gone);
    };
    let address = address_of(request);
    if !address.is_empty() {
        let Some(read) = shared::pass(&mut place, address, &log.key) else {
            return Ok(Found::Gone);
        };
        // A cache may have a page of a state that this server has lost.
        let checked = cursor::check_position(reading, read)?;
        if matches!(checked, CursorCheck::Restored) && !mutant::on(Mutant::LostPageTaken) {
            return Ok(Found::Restored);
        }
    }
    let known_epoch = request.rejoin.as_ref().map_or("", |ask| ask.epoch.as_str());
    if !known_epoch.is_empty() && known_epoch != log.epoch {
        return Ok(Found::Gone);
    }
    let (seen, seen_tag) = place.seen;
    let read = Cursor { seen, seen_tag, ..place.cursor.clone() };
    Ok(match cursor::stand_of(&caller.user, reading, read)? {
        CursorCheck::Good(_) => Found::Place(Box::new(place)),
        CursorCheck::Restored if is_ours => Found::Restored,
        _ => Found::Gone,
    })
}

/// The response without rows; with `restart` if there is no place.
fn answer(
    reading: &dyn Reading,
    request: &SnapshotRequest,
    place: Option<&Place>,
) -> Result<SnapshotResponse, Fault> {
    let manifest = &reading.schema().manifest;
    let log = reading.log_state()?;
    let rejoin = match &request.rejoin {
        Some(ask) => Some(SnapshotAnswer {
            request: ask.request,
            epoch: log.epoch.clone(),
            pull_cursor: match place {
                Some(place) => place.cursor.seal(&log.key)?.unwrap_or_default(),
                None => String::new(),
            },
            total: place.map_or(0, |place| place.total),
            restart: place.is_none(),
            ..SnapshotAnswer::default()
        }),
        None => None,
    };
    Ok(SnapshotResponse {
        records: Vec::new(),
        cursor: None,
        checkpoint: place.map_or(0, |place| place.cursor.position),
        has_more: false,
        schema_version: manifest.schema_version,
        schema_hash: manifest.schema_hash.clone(),
        rejoin,
    })
}

fn page(
    reading: &dyn Reading,
    request: &SnapshotRequest,
    mut place: Place,
    held: &[String],
    room: PageLimit,
) -> Result<SnapshotResponse, Fault> {
    place.seen = cursor::end_of_log(reading)?;
    let mut response = answer(reading, request, Some(&place))?;
    let scope = ReadScope::of(held);
    let schema = reading.schema();
    let mut left = room;
    for (number, table) in schema.tables.iter().enumerate() {
        if table.name < place.table {
            continue;
        }
        if table.name != place.table {
            place.table.clone_from(&table.name);
            place.after = None;
        }
        let is_shared = place.shares(table) && Ask::of(request, room.rows).shared;
        if is_shared && let Some(answer) = response.rejoin.as_mut() {
            answer.page = shared::first(reading, &place.cursor, table)?;
        }
        let ends = !is_shared && left.rows > 0 && {
            let after = place.after.as_deref().and_then(|after| table.key_of(after));
            let Page { rows, ends } = reading.page(table, after.as_ref(), left, &scope)?;
            let held: usize = rows.iter().map(Row::weight).sum();
            left =
                PageLimit { rows: left.rows - rows.len(), bytes: left.bytes.saturating_sub(held) };
            let last = rows.last().map(|row| row.id(table));
            let through = if ends { None } else { last.clone() };
            add(&mut response, table, &rows, place.after.clone(), through)?;
            place.after = last.or(place.after);
            ends
        };
        if !ends {
            response.has_more = true;
            response.cursor = Some(SnapshotCursor {
                checkpoint: place.cursor.position,
                table_idx: i64::try_from(number).unwrap_or(i64::MAX),
                after_id: cursor::seal(&place, &reading.log_state()?.key)?,
            });
            break;
        }
    }
    if let Some(answer) = response.rejoin.as_mut() {
        answer.witness = witness(reading, &place, witness_of(request))?;
    }
    Ok(response)
}

/// The log tip when this page was read; empty if the pull cursor contains it. It replaces `before`,
/// the log tip of the request.
fn witness(reading: &dyn Reading, place: &Place, before: &str) -> Result<String, Fault> {
    let log = reading.log_state()?;
    let is_ahead = log.unnumbered && !place.cursor.has_later_rows;
    if place.seen == (place.cursor.seen, place.cursor.seen_tag) && !is_ahead {
        return Ok(String::new());
    }
    cursor::witness(place.seen, log.unnumbered, &log, None, before)
}

fn add(
    response: &mut SnapshotResponse,
    table: &Table,
    rows: &[Row],
    after: Option<String>,
    through: Option<String>,
) -> Result<(), Fault> {
    observe::snapshotted(rows.len());
    let Some(answer) = &mut response.rejoin else {
        for row in rows {
            response.records.push(encode::record(table, row)?);
        }
        return Ok(());
    };
    answer.ranges.push(KeyRange { table_name: table.name.clone(), after, through });
    if !rows.is_empty() {
        answer.sets.push(encode::set(table, rows)?);
    }
    Ok(())
}

//! Snapshot: every row the user may see, in pages by key, table after table by name (C5).
//!
//! The first page fixes where the tail pull will start and how many rows there were; both travel inside the opaque part of
//! the cursor (D19), so that the server remembers nothing.

use rejoin_protocol::wire::snapshot::{
    KeyRange, SnapshotAnswer, SnapshotCursor, SnapshotRequest, SnapshotResponse,
};
use serde::{Deserialize, Serialize};

use super::cursor::{self, Cursor, Standing};
use super::schema::{Row, Table};
use super::{Caller, Engine, encode, held, sight_of};
use crate::error::Fault;
use crate::hooks::SnapshotReason;
use crate::observe;
use crate::store::{Ahead, Client, Page, Reading, Room, read};

/// Where a page ended; sealed inside `after_id`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    /// The table by name: the next page goes on in it.
    table: String,
    /// The last key that was sent of it.
    after: Option<String>,
    /// The pull cursor of the first page.
    cursor: Cursor,
    /// Rows counted at the first page.
    total: i64,
    /// Where the log ended when the last page was read, and the tag of that end (O14).
    #[serde(default)]
    seen: (i64, i64),
}

impl Place {
    fn first(reading: &dyn Reading, held: &[String]) -> Result<Self, Fault> {
        let sight = sight_of(held);
        let mut total = 0;
        for table in &reading.schema().tables {
            total += reading.count(table, &sight)?;
        }
        let cursor = cursor::at_head(reading, held)?;
        let seen = (cursor.seen, cursor.seen_tag);
        Ok(Self { table: String::new(), after: None, cursor, total, seen })
    }
}

impl Engine {
    /// Answers one page.
    pub(crate) fn snapshot(
        &self,
        caller: &Caller,
        request: &SnapshotRequest,
    ) -> Result<SnapshotResponse, Fault> {
        let room = Room { rows: self.page_size(request.limit), bytes: self.limits.page_bytes };
        let (response, client, position, restarts) = read(&*self.store, |reading| {
            let is_ours = request.rejoin.is_some() || caller.extended;
            let older =
                self.admit(reading, is_ours, request.schema_version, &request.schema_hash)?;
            expect(reading, caller, request)?;
            let client = self.registered(reading, caller, &request.client_id)?;
            let held = held(reading, &caller.user)?;
            let place = match &request.cursor {
                Some(cursor) if !cursor.after_id.is_empty() => {
                    resume(reading, caller, request, cursor)?
                }
                _ => Some(Place::first(reading, &held)?),
            };
            let restarts = place.is_none();
            let (mut response, position) = match place {
                Some(place) => {
                    let position = place.cursor.position;
                    (page(reading, request, place, &held, room)?, position)
                }
                None if caller.extended => (answer(reading, request, None)?, position_of(&client)),
                // A plain peer cannot be told; what it gets again it writes again.
                None => {
                    let place = Place::first(reading, &held)?;
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
        if restarts {
            let reason = SnapshotReason::Restart;
            self.tell_snapshot(caller, &request.client_id, client.position, reason);
        }
        self.remember(&caller.user, &request.client_id, &client, position)?;
        Ok(response)
    }
}

/// Tells the store what a page is going to ask beside its rows.
fn expect(reading: &dyn Reading, caller: &Caller, request: &SnapshotRequest) -> Result<(), Fault> {
    let Some(key) = reading.cursor_key() else { return Ok(()) };
    let place = request.cursor.as_ref();
    let place = place.and_then(|cursor| cursor::open::<Place>(&cursor.after_id, key));
    let positions = place.map_or([0; 2], |place| [place.cursor.position, place.seen.0]);
    reading.expect(&Ahead {
        user: &caller.user,
        client_id: &request.client_id,
        positions: &positions,
        entries: None,
    })
}

fn position_of(client: &Client) -> i64 {
    client.position.unwrap_or(0)
}

/// The place that the cursor names, or `None` if it can no longer be served.
fn resume(
    reading: &dyn Reading,
    caller: &Caller,
    request: &SnapshotRequest,
    cursor: &SnapshotCursor,
) -> Result<Option<Place>, Fault> {
    let life = reading.life()?;
    let Some(place) = cursor::open::<Place>(&cursor.after_id, &life.key) else { return Ok(None) };
    let known_epoch = request.rejoin.as_ref().map_or("", |ask| ask.epoch.as_str());
    if !known_epoch.is_empty() && known_epoch != life.epoch {
        return Ok(None);
    }
    let (seen, seen_tag) = place.seen;
    let read = Cursor { seen, seen_tag, ..place.cursor.clone() };
    let standing = cursor::stand_of(&caller.user, reading, read)?;
    let good = matches!(standing, Standing::Good(_));
    Ok(good.then_some(place))
}

/// The frame of an answer; without a place it says `restart`.
fn answer(
    reading: &dyn Reading,
    request: &SnapshotRequest,
    place: Option<&Place>,
) -> Result<SnapshotResponse, Fault> {
    let manifest = &reading.schema().manifest;
    let life = reading.life()?;
    let rejoin = match &request.rejoin {
        Some(ask) => Some(SnapshotAnswer {
            request: ask.request,
            epoch: life.epoch.clone(),
            pull_cursor: match place {
                Some(place) => place.cursor.seal(&life.key)?.unwrap_or_default(),
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
    room: Room,
) -> Result<SnapshotResponse, Fault> {
    place.seen = cursor::end_of_log(reading)?;
    let mut response = answer(reading, request, Some(&place))?;
    let sight = sight_of(held);
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
        let ends = left.rows > 0 && {
            let after = place.after.as_deref().and_then(|after| table.key_of(after));
            let Page { rows, ends } = reading.page(table, after.as_ref(), left, &sight)?;
            let held: usize = rows.iter().map(Row::weight).sum();
            left = Room { rows: left.rows - rows.len(), bytes: left.bytes.saturating_sub(held) };
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
                after_id: cursor::seal(&place, &reading.life()?.key)?,
            });
            break;
        }
    }
    if let Some(answer) = response.rejoin.as_mut().filter(|_| !response.has_more) {
        answer.witness = witness(reading, &place)?;
    }
    Ok(response)
}

/// Where the log ended when this page was read; empty if the pull cursor says so itself.
fn witness(reading: &dyn Reading, place: &Place) -> Result<String, Fault> {
    if place.seen == (place.cursor.seen, place.cursor.seen_tag) {
        return Ok(String::new());
    }
    cursor::seal(&cursor::at_head(reading, &[])?, &reading.life()?.key)
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

//! Shared pages: the pages of a table that every user may read, the same for all devices.
//!
//! A page has an address, under which caches may keep it. The address names the position from which the devices pull
//! afterwards, so a page is right whenever it was read after that position: the pull has all later changes. A page that is
//! read again, because a cache has lost it, may be a later one. Addresses are signed, and the server keeps no state about
//! them.

use rejoin_protocol::wire::code;
use rejoin_protocol::wire::snapshot::{KeyRange, SnapshotAnswer, SnapshotResponse};
use serde::{Deserialize, Serialize};

use super::Place;
use crate::engine::cursor::{self, Cursor, CursorCheck};
use crate::engine::{Caller, Engine, encode};
use crate::error::{Fault, Refusal};
use crate::model::{Access, GLOBAL, Page, PageLimit, ReadScope, Table};
use crate::observe;
use crate::store::{FurtherBuckets, Reading, read};

/// Entries of the log between two beginnings. Devices that begin a snapshot between the same two get the same pages,
/// and pull at most these entries again.
const BETWEEN: i64 = 1_000;

/// The rows of a page, up to the server's limit. Not chosen by the device, so that all get the same pages.
const ROWS: usize = 4_000;

/// The longest address: servers and proxies limit the request line.
const LONGEST: usize = 2_048;

/// The place of a shared page. Its sealed text is the page's address.
#[derive(Debug, Serialize, Deserialize)]
struct SharedPlace {
    /// Version and hash of the schema.
    schema: (i64, String),
    /// The position from which devices pull, and the end of the log when the page before was read.
    cursor: Cursor,
    /// The table by name.
    table: String,
    /// The last key of the page before.
    after: Option<String>,
    /// Whether the page before was the last one.
    ended: bool,
}

/// Whether all users read the same rows of this table.
pub(super) fn is_shared(table: &Table) -> bool {
    table.access == Access::Global
}

fn schema_of(reading: &dyn Reading) -> (i64, String) {
    let manifest = &reading.schema().manifest;
    (manifest.schema_version, manifest.schema_hash.clone())
}

/// The last beginning and its tag.
pub(super) fn beginning(reading: &dyn Reading) -> Result<(i64, i64), Fault> {
    let log = reading.log_state()?;
    let position = (log.head - log.head % BETWEEN).max(log.watermark);
    match reading.tag(position)? {
        Some(tag) => Ok((position, tag)),
        None => cursor::end_of_log(reading),
    }
}

/// The address of the table's first page, for devices that pull from this cursor's position.
pub(super) fn first(reading: &dyn Reading, from: &Cursor, table: &Table) -> Result<String, Fault> {
    let (epoch, position, tag) = (from.epoch.clone(), from.position, from.tag);
    let place = SharedPlace {
        schema: schema_of(reading),
        cursor: Cursor { epoch, position, tag, ..Cursor::default() },
        table: table.name.clone(),
        after: None,
        ended: false,
    };
    cursor::seal(&place, &reading.log_state()?.key)
}

/// Moves the place of a device past the shared page that names this address. Returns the position of the page, with the
/// end of the log when it was read; `None` if it is not of this snapshot.
pub(super) fn pass(place: &mut Place, address: &str, key: &str) -> Option<Cursor> {
    let page = cursor::open::<SharedPlace>(address, key)?;
    let began = |cursor: &Cursor| (cursor.epoch.clone(), cursor.position, cursor.tag);
    if began(&page.cursor) != began(&place.cursor) || page.table != place.table {
        return None;
    }
    if page.ended {
        place.table.push('\0'); // The first name after the table's.
    } else {
        // The device wants the rest of the table without shared pages.
        place.after = page.after;
        place.shared.retain(|name| *name != page.table);
    }
    Some(page.cursor)
}

/// The end of the log in an address, whose tag is read; `None` for the first page of a table.
pub(super) fn seen(address: &str, key: &str) -> Option<i64> {
    let page = cursor::open::<SharedPlace>(address, key)?;
    Some(page.cursor.seen).filter(|seen| *seen > 0)
}

/// Reads the page at an address.
pub(crate) fn page(
    engine: &Engine,
    caller: &Caller,
    address: &str,
) -> Result<SnapshotResponse, Fault> {
    let room = PageLimit { rows: ROWS.min(engine.limits.page), bytes: engine.limits.page_bytes };
    read(&*engine.store, |reading| {
        reading.act_for(&caller.user, &FurtherBuckets::default())?;
        let key = reading.log_state()?.key;
        let place = cursor::open::<SharedPlace>(address, &key).ok_or_else(gone)?;
        let (answer, ends) = rows(reading, room, place, &key)?;
        let manifest = &reading.schema().manifest;
        Ok(SnapshotResponse {
            records: Vec::new(),
            cursor: None,
            checkpoint: 0,
            has_more: !ends,
            schema_version: manifest.schema_version,
            schema_hash: manifest.schema_hash.clone(),
            rejoin: Some(answer),
        })
    })
}

/// The page after this place, and whether it is the last one.
fn rows(
    reading: &dyn Reading,
    room: PageLimit,
    mut place: SharedPlace,
    key: &str,
) -> Result<(SnapshotAnswer, bool), Fault> {
    let schema = reading.schema();
    let table = schema.table(&place.table).filter(|table| is_shared(table)).ok_or_else(gone)?;
    let checked = cursor::check_position(reading, place.cursor.clone())?;
    let is_served = place.schema == schema_of(reading) && !place.ended;
    if !is_served || !matches!(checked, CursorCheck::Good(_)) {
        return Err(gone());
    }
    let after = place.after.as_deref().and_then(|after| table.key_of(after));
    let scope = ReadScope::of(&[String::from(GLOBAL)]);
    let Page { rows, ends } = reading.page(table, after.as_ref(), room, &scope)?;
    observe::snapshotted(rows.len());
    let last = rows.last().map(|row| row.id(table));
    let through = if ends { None } else { last.clone() };
    let range = KeyRange { table_name: table.name.clone(), after: place.after, through };
    (place.after, place.ended) = (last, ends);
    (place.cursor.seen, place.cursor.seen_tag) = cursor::end_of_log(reading)?;
    let next = cursor::seal(&place, key)?;
    if next.len() > LONGEST {
        return Err(gone());
    }
    let answer = SnapshotAnswer {
        epoch: place.cursor.epoch,
        ranges: vec![range],
        sets: if rows.is_empty() { Vec::new() } else { vec![encode::set(table, &rows)?] },
        page: next,
        ..SnapshotAnswer::default()
    };
    Ok((answer, ends))
}

/// The refusal after which a device continues without shared pages. The next response of the snapshot says what has
/// happened to the log.
fn gone() -> Fault {
    let why = "this page is not served any more: continue with POST /sync/snapshot";
    Refusal::new(410, code::PAGE_GONE, why).into()
}

//! Plain v0.1.2 peers: pull by checkpoint, push by record. They use no extension, but the same rows,
//! access rules and log.
//!
//! `docs/protocol.md` lists the intended differences from v0.1.2. A replay of recorded exchanges
//! checks that there are no others.

use rejoin_protocol::wire::pull::{BucketUpdates, PullRequest, PullResponse};

use super::page::Names;
use super::{Caller, Engine, encode, held, window};
use crate::error::Fault;
use crate::hooks::SnapshotReason;
use crate::model::{ChangeEntry, PageLimit, ReadScope, Rights, Row, Table};
use crate::store::{ReadHint, Reading, read};

mod evaluate;
mod hook;
pub(crate) mod push;

pub(crate) use push::check_times;

/// Answers a pull of a plain peer.
pub(crate) fn pull_plain(
    engine: &Engine,
    caller: &Caller,
    request: &PullRequest,
) -> Result<PullResponse, Fault> {
    let room =
        PageLimit { rows: engine.plain_page_size(request.limit), bytes: engine.limits.page_bytes };
    let (response, client, never) = read(&*engine.store, |reading| {
        let older =
            window::admit(engine, reading, false, request.schema_version, &request.schema_hash)?;
        // Most users hold these two. Further buckets need a second query.
        let buckets = Rights::of(&caller.user, Vec::new()).reads;
        reading.expect(&ReadHint {
            user: &caller.user,
            client_id: &request.client_id,
            positions: &[],
            entries: Some((request.checkpoint, &buckets, room.rows + 1)),
        })?;
        let client = engine.registered(reading, caller, &request.client_id)?;
        let never = request.checkpoint == 0 && client.last_pull_at.is_none();
        let log = reading.log_state()?;
        let mut response = frame(reading, request.checkpoint);
        if never || request.checkpoint < log.watermark || request.checkpoint > log.head {
            let reason =
                if never { "initial_sync_required" } else { "checkpoint_before_retention" };
            response.snapshot_required = true;
            response.snapshot_reason = Some(String::from(reason));
        } else {
            changes(reading, caller, request, room, &mut response)?;
        }
        if let Some(older) = older {
            older.records(&mut response.changes)?;
            older.deletes(&mut response.deletes);
            (response.schema_version, response.schema_hash) = older.name();
        }
        Ok((response, client, never))
    })?;
    if response.snapshot_required {
        let reason = if never { SnapshotReason::Initial } else { SnapshotReason::Retention };
        engine.tell_snapshot(caller, &request.client_id, client.position, reason);
    } else {
        engine.remember(&caller.user, &request.client_id, &client, request.checkpoint)?;
        let rows = response.changes.len() + response.deletes.len();
        let read = (response.checkpoint, rows, response.has_more);
        engine.tell_pulled(caller, &request.client_id, read);
    }
    Ok(response)
}

fn frame(reading: &dyn Reading, checkpoint: i64) -> PullResponse {
    let manifest = &reading.schema().manifest;
    PullResponse {
        changes: Vec::new(),
        deletes: Vec::new(),
        checkpoint,
        has_more: false,
        snapshot_required: false,
        snapshot_reason: None,
        bucket_updates: None,
        schema_version: manifest.schema_version,
        schema_hash: manifest.schema_hash.clone(),
        rejoin: None,
    }
}

fn changes(
    reading: &dyn Reading,
    caller: &Caller,
    request: &PullRequest,
    room: PageLimit,
    response: &mut PullResponse,
) -> Result<(), Fault> {
    let held = held(reading, caller)?;
    let mut limit = room.rows;
    let rows = loop {
        response.changes.clear();
        let (entries, more) = entries(reading, request, &held, limit)?;
        let mut names = Names::default();
        for entry in &entries {
            if let Some(table) = table_of(reading, entry) {
                names.add(table, entry.id.clone());
            }
        }
        let last = entries.last().map(|entry| entry.position);
        response.has_more = more;
        response.checkpoint = match last {
            // Entries of tables that were not requested are skipped exactly as v0.1.2 does.
            Some(last) if more || request.tables.is_some() => last,
            None if request.tables.is_some() => request.checkpoint,
            _ => reading.log_state()?.head,
        };
        // Fewer rows if they are large; a single row is sent whatever its size.
        let bytes = if limit > 1 { room.bytes } else { usize::MAX };
        let mut sink = |table: &Table, row: Row| {
            response.changes.push(encode::record(table, &row)?);
            Ok(())
        };
        match names.read(reading, bytes, &ReadScope::of(&held), &mut sink)? {
            Some(rows) => break rows,
            None => limit /= 2,
        }
    };
    crate::observe::pulled(rows.rows);
    response.deletes = rows.names;
    response.bucket_updates = bucket_updates(request, &held);
    Ok(())
}

fn table_of<'a>(reading: &'a dyn Reading, entry: &ChangeEntry) -> Option<&'a Table> {
    reading.schema().tables.iter().find(|table| table.number == entry.table)
}

/// At most `limit` entries of the requested tables, and whether there are more. A plain page ends at
/// its limit, also within a transaction.
fn entries(
    reading: &dyn Reading,
    request: &PullRequest,
    held: &[String],
    limit: usize,
) -> Result<(Vec<ChangeEntry>, bool), Fault> {
    let asked = |entry: &ChangeEntry| match &request.tables {
        None => true,
        Some(asked) => table_of(reading, entry).is_some_and(|table| asked.contains(&table.name)),
    };
    let mut found: Vec<ChangeEntry> = Vec::new();
    let mut from = request.checkpoint;
    loop {
        let page = reading.entries(from, held, limit + 1)?;
        let ends = page.len() <= limit;
        from = page.last().map_or(from, |entry| entry.position);
        found.extend(page.into_iter().filter(asked));
        if ends || found.len() > limit {
            let more = found.len() > limit;
            found.truncate(limit);
            return Ok((found, more));
        }
    }
}

fn bucket_updates(request: &PullRequest, held: &[String]) -> Option<BucketUpdates> {
    let known = request.known_buckets.as_ref().filter(|known| !known.is_empty())?;
    let not_in = |of: &[String], other: &[String]| -> Vec<String> {
        of.iter().filter(|name| !other.contains(name)).cloned().collect()
    };
    let (added, removed) = (not_in(held, known), not_in(known, held));
    (!(added.is_empty() && removed.is_empty())).then_some(BucketUpdates { added, removed })
}

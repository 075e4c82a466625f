//! Entries and snapshots of the log that arrive at a device.

use std::path::Path;

use anyhow::{Result, ensure};
use rejoin_core::engine::Engine;
use rejoin_core::engine::entries::exchange;
use rejoin_log::effect::Effect;
use rejoin_log::ids::{AuthorId, Buckets, EntryId, Epoch};
use rejoin_log::key::Key;
use rejoin_log::message::snapshot::{
    SnapshotAnswer, SnapshotNext, SnapshotPage, SnapshotPlace, SnapshotPosition,
};
use rejoin_log::message::{self, Cursor, EpochStamp, Fetched, Item, Page, ViewedEntry};
use rejoin_log::row::{Columns, LogRow, RowName};
use rejoin_log::write_set::WriteSet;
use rejoin_protocol::manifest::SyncModel;
use uuid::Uuid;

use crate::measure::{Run, Sample, Variant, cpu};
use crate::{apply, ours, raw};

const PAGE: usize = 1_000;
const STAMP: EpochStamp = EpochStamp { epoch: Epoch(Uuid::from_u128(1)), membership: 1 };
/// The entries after a late one, and the rows that they update in turn.
const LATER: usize = 1_050;
const ROWS: usize = 50;

/// New entries of one row each, from page bytes to rows, against a plain sorted INSERT of the same
/// rows in one transaction.
pub(crate) const FETCH: Run = |variant, folder, count| {
    let path = folder.join("bench.db");
    if variant == Variant::Reference {
        return plain(&path, count);
    }
    let pages = inserts(count)?;
    let mut engine = started(&path, Vec::new())?;
    let (sample, ()) = cpu(count, || fetch(&mut engine, &pages))?;
    ensure!(found(&engine, "SELECT count(*) FROM item")? == i64::try_from(count)?, "rows");
    Ok(sample)
};

/// A file with this many accepted entries.
pub(crate) fn fill(path: &Path, count: usize) -> Result<()> {
    fetch(&mut started(path, Vec::new())?, &inserts(count)?)
}

/// Pages of entries that insert a row each.
fn inserts(count: usize) -> Result<Vec<Vec<u8>>> {
    let entries = (0..count).map(|number| {
        let Some((row, image)) = row(number) else { return entry(number, None) };
        entry(number, Some((row, Effect::Insert(image))))
    });
    pages(0, &entries.collect::<Vec<_>>())
}

/// One entry that was made before 1,050 others, which all meet its row or another of 50, against the
/// same 1,050 updates in one plain transaction.
pub(crate) const LATE: Run = |variant, folder, _| {
    let path = folder.join("bench.db");
    let count = |number: usize| i64::try_from(number).unwrap_or(0);
    if variant == Variant::Reference {
        let connection = raw::open(&path)?;
        raw::insert(&connection, &(0..ROWS).map(ours::row).collect::<Vec<_>>())?;
        let (sample, ()) = cpu(LATER, || {
            connection.execute_batch("BEGIN")?;
            for number in 0..LATER {
                let sql = "UPDATE item SET count = ? WHERE id = ?";
                raw::run(&connection, sql, &[&count(number), &raw::key(number % ROWS)])?;
            }
            Ok(connection.execute_batch("COMMIT")?)
        })?;
        return Ok(sample);
    }
    let update = |number: usize, at: usize, value: i64| {
        let (row, _) = row(at)?;
        let columns: Columns = [("count".into(), value.into())].into_iter().collect();
        Some((number, row, Effect::Update(columns)))
    };
    let made = |update: Option<(usize, RowName, Effect)>| {
        update.map(|(number, row, effect)| entry(number, Some((row, effect))))
    };
    let base = (0..ROWS).filter_map(row).collect();
    let mut engine = started(&path, base)?;
    let others =
        (0..LATER).filter_map(|number| made(update(number + 1, number % ROWS, count(number))));
    fetch(&mut engine, &pages(0, &others.collect::<Vec<_>>())?)?;
    let late = made(update(0, 0, -1));
    let late = pages(LATER, late.as_slice())?;
    let (sample, ()) = cpu(LATER, || fetch(&mut engine, &late))?;
    let kept = found(&engine, "SELECT count(*) FROM item WHERE count = -1")?;
    ensure!(kept == 0, "the later entries stay");
    Ok(sample)
};

/// The rows of a snapshot, from its pages' bytes, against those of the row model.
pub(crate) const SNAPSHOT: Run = |variant, folder, count| {
    if variant == Variant::Reference {
        return apply::FIRST_SYNC(Variant::Ours, folder, count);
    }
    snapshot(folder, count, |_, _| Ok(()))
};

/// The same rows once more, as a snapshot that replaces them, against the first one.
pub(crate) const LATER_SNAPSHOT: Run = |variant, folder, count| {
    if variant == Variant::Reference {
        return SNAPSHOT(Variant::Ours, folder, count);
    }
    snapshot(folder, count, |engine, pages| {
        take_pages(engine, pages)?;
        exchange::take_fetched(engine, &Fetched::Resync)?;
        Ok(())
    })
};

/// Takes a snapshot of so many rows, after `before`.
fn snapshot(
    folder: &Path,
    count: usize,
    before: impl FnOnce(&mut Engine, &[Vec<u8>]) -> Result<()>,
) -> Result<Sample> {
    let pages = snapshot_pages(count)?;
    let path = folder.join("bench.db");
    let mut engine = ours::open_in(&path, SyncModel::Log)?;
    before(&mut engine, &pages)?;
    let (sample, ()) = cpu(count, || take_pages(&mut engine, &pages))?;
    ensure!(found(&engine, "SELECT count(*) FROM item")? == i64::try_from(count)?, "rows");
    Ok(sample)
}

fn take_pages(engine: &mut Engine, pages: &[Vec<u8>]) -> Result<()> {
    for bytes in pages {
        exchange::take_snapshot_page(engine, &message::read(bytes)?)?;
    }
    Ok(())
}

/// The pages of a snapshot of so many rows.
fn snapshot_pages(count: usize) -> Result<Vec<Vec<u8>>> {
    let rows: Vec<_> = (0..count).filter_map(row).collect();
    let chunks: Vec<_> = rows.chunks(PAGE).collect();
    let after = |at: Option<usize>| {
        let (last, _) = chunks.get(at?)?.last()?;
        let at = SnapshotPlace::Row(last.clone());
        Some(SnapshotPosition { stamp: STAMP, horizon: Key::FIRST, at })
    };
    let pages = chunks.iter().enumerate().map(|(at, rows)| {
        let is_last = at + 1 == chunks.len();
        let next = after(Some(at)).filter(|_| !is_last);
        let page = SnapshotPage {
            stamp: STAMP,
            after: after(at.checked_sub(1)),
            buckets: WriteSet::default(),
            horizon: Key::FIRST,
            base: rows.to_vec(),
            items: Vec::new(),
            next: next.map_or(SnapshotNext::Cursor(Cursor(0)), SnapshotNext::Next),
        };
        Ok(serde_json::to_vec(&SnapshotAnswer::Page(Box::new(page)))?)
    });
    pages.collect()
}

fn plain(path: &Path, count: usize) -> Result<Sample> {
    let connection = raw::open(path)?;
    let rows: Vec<_> = (0..count).map(ours::row).collect();
    Ok(cpu(count, || raw::insert(&connection, &rows))?.0)
}

/// An engine after a snapshot with these rows.
fn started(path: &Path, base: Vec<(RowName, LogRow)>) -> Result<Engine> {
    let mut engine = ours::open_in(path, SyncModel::Log)?;
    take(&mut engine, last_page(base))?;
    Ok(engine)
}

/// The same with the first rows, which are in the user's buckets.
pub(crate) fn started_in_buckets(path: &Path, rows: usize) -> Result<Engine> {
    let mut engine = ours::open_in_buckets(path)?;
    let base = (0..rows).filter_map(row).collect();
    let buckets = Buckets::from_iter(ours::BUCKETS).into();
    take(&mut engine, SnapshotPage { buckets, ..last_page(base) })?;
    Ok(engine)
}

fn take(engine: &mut Engine, page: SnapshotPage) -> Result<()> {
    let page = SnapshotAnswer::Page(Box::new(page));
    exchange::take_snapshot_page(engine, &page)?;
    Ok(())
}

fn last_page(base: Vec<(RowName, LogRow)>) -> SnapshotPage {
    SnapshotPage {
        stamp: STAMP,
        after: None,
        buckets: WriteSet::default(),
        horizon: Key::FIRST,
        base,
        items: Vec::new(),
        next: SnapshotNext::Cursor(Cursor(0)),
    }
}

/// The bytes of the pages with these entries, after a cursor.
fn pages(after: usize, entries: &[Item]) -> Result<Vec<Vec<u8>>> {
    let mut from = after;
    let pages = entries.chunks(PAGE).map(|items| {
        let next = from + items.len();
        let page = Page {
            stamp: STAMP,
            from: Cursor(u64::try_from(from)?),
            items: items.to_vec(),
            next: Cursor(u64::try_from(next)?),
            more: next < after + entries.len(),
            horizon: None,
        };
        from = next;
        Ok(serde_json::to_vec(&Fetched::Page(page))?)
    });
    pages.collect()
}

/// Takes pages, one after the other.
fn fetch(engine: &mut Engine, pages: &[Vec<u8>]) -> Result<()> {
    for bytes in pages {
        exchange::take_fetched(engine, &message::read(bytes)?)?;
    }
    Ok(())
}

/// An entry of another author that changes at most one row.
fn entry(number: usize, effect: Option<(RowName, Effect)>) -> Item {
    let id = EntryId(Uuid::from_u128(number as u128 + 1));
    let millis = 1_000 + number as u64;
    let key = Key { millis, counter: number as u64, author: AuthorId(Uuid::from_u128(7)), id };
    let effects = effect.into_iter().collect();
    Item::Entry(Box::new(ViewedEntry { key, effects, own: None, whole: None }))
}

/// The row with this number in the form of the log.
fn row(number: usize) -> Option<(RowName, LogRow)> {
    let [id, cells @ ..] = ours::row(number);
    let columns = raw::COLUMNS.iter().skip(1).map(|name| (*name).into()).zip(cells);
    let name = RowName::new("item", id.as_text()?);
    Some((name, LogRow::from(columns.collect::<Columns>())))
}

pub(crate) fn found(engine: &Engine, sql: &str) -> Result<i64> {
    let found = engine.open_reader()?.query(sql, &[], |row| row.get::<_, i64>(0))?;
    Ok(found.first().copied().unwrap_or_default())
}

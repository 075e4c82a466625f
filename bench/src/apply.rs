//! Applying remote rows to the base: first sync, and a pull over existing rows.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rejoin_core::engine::Engine;
use rejoin_core::engine::rebase::Batch;
use rejoin_core::value::Value;
use rejoin_protocol::ColumnKind;
use rejoin_protocol::codec::encode;
use rejoin_protocol::wire::RowSet;
use rejoin_protocol::wire::snapshot::{KeyRange, SnapshotAnswer, SnapshotResponse};

use crate::measure::{Run, Variant, cpu};
use crate::{ours, raw};

const PAGE: usize = 1_000;

/// What a device asks for on a good network, unless the server has another limit.
const LARGEST_PAGE: usize = 10_000;

const KINDS: [ColumnKind; 8] = [
    ColumnKind::String,
    ColumnKind::String,
    ColumnKind::String,
    ColumnKind::Int64,
    ColumnKind::Float,
    ColumnKind::Boolean,
    ColumnKind::String,
    ColumnKind::Datetime,
];

/// Rows in the server's form.
pub(crate) fn set(rows: impl Iterator<Item = [Value; 8]>) -> Result<RowSet> {
    let mut text = String::from("[");
    for row in rows {
        text.push_str(if text.len() > 1 { ",[" } else { "[" });
        for (at, (value, kind)) in row.iter().zip(KINDS).enumerate() {
            if at > 0 {
                text.push(',');
            }
            encode(value, kind, &mut text)?;
        }
        text.push(']');
    }
    text.push(']');
    Ok(RowSet {
        table_name: "item".to_owned(),
        columns: raw::COLUMNS.map(str::to_owned).into(),
        rows: serde_json::value::RawValue::from_string(text)?,
    })
}

/// The bytes of a snapshot page in the server's form.
pub(crate) fn page(first: usize, count: usize) -> Result<Vec<u8>> {
    let set = set((first..first + count).map(ours::row))?;
    let range = KeyRange {
        table_name: "item".to_owned(),
        after: first.checked_sub(1).map(raw::key),
        through: Some(raw::key(first + count - 1)),
    };
    Ok(serde_json::to_vec(&SnapshotResponse {
        records: Vec::new(),
        cursor: None,
        checkpoint: 0,
        has_more: true,
        schema_version: 1,
        schema_hash: String::new(),
        rejoin: Some(SnapshotAnswer {
            ranges: vec![range],
            sets: vec![set],
            ..SnapshotAnswer::default()
        }),
    })?)
}

/// Decodes a page's bytes into a batch, as the session does.
pub(crate) fn batch(bytes: &[u8]) -> Result<Batch> {
    let page: SnapshotResponse = serde_json::from_slice(bytes)?;
    let answer = page.rejoin.context("a page of ours")?;
    Ok(Batch { sets: answer.sets, ranges: answer.ranges, bulk: true, ..Batch::default() })
}

/// First sync: from page bytes to rows, one transaction per page, against a plain sorted INSERT of
/// all rows in one transaction.
pub(crate) const FIRST_SYNC: Run = |variant, folder, count| {
    let path = folder.join("bench.db");
    if variant == Variant::Reference {
        let connection = raw::open(&path)?;
        let rows: Vec<_> = (0..count).map(ours::row).collect();
        return Ok(cpu(count, || raw::insert(&connection, &rows))?.0);
    }
    let pages: Vec<_> = (0..count)
        .step_by(PAGE)
        .map(|first| page(first, PAGE.min(count - first)))
        .collect::<Result<_>>()?;
    let mut engine = ours::open(&path)?;
    let (sample, ()) = cpu(count, || {
        for bytes in &pages {
            engine.apply(batch(bytes)?)?;
        }
        Ok(())
    })?;
    let found = engine
        .open_reader()?
        .query("SELECT count(*) FROM item", &[], |row| row.get::<_, i64>(0))?;
    ensure!(found == [i64::try_from(count)?], "{found:?} rows arrived");
    Ok(sample)
};

/// Applies this many rows, page by page, as a first sync does.
pub(crate) fn pages(engine: &mut Engine, count: usize) -> Result<()> {
    for first in (0..count).step_by(PAGE) {
        engine.apply(batch(&page(first, PAGE.min(count - first))?)?)?;
    }
    Ok(())
}

/// The longest time the writer was held while `count` rows arrived in the largest pages.
pub(crate) fn longest_hold(folder: &Path, count: usize) -> Result<Duration> {
    let mut engine = ours::open(&folder.join("bench.db"))?;
    let mut longest = Duration::ZERO;
    for first in (0..count).step_by(LARGEST_PAGE) {
        let batch = batch(&page(first, LARGEST_PAGE.min(count - first))?)?;
        let before = Instant::now();
        engine.apply(batch)?;
        longest = longest.max(before.elapsed());
    }
    Ok(longest)
}

/// A remote batch of these rows with new titles.
pub(crate) fn changed(rows: impl Iterator<Item = usize>) -> Result<Batch> {
    let rows = rows.map(|number| {
        let mut row = ours::row(number);
        row[1] = Value::Text(format!("item {number}, changed by another"));
        row
    });
    Ok(Batch { sets: vec![set(rows)?], detect_conflicts: true, ..Batch::default() })
}

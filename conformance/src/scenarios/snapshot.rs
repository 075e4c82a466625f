//! Snapshots: every live row once, in pages. The next pull returns concurrent writes.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Scenario, fixed, wire};
use crate::bench::Bench;
use crate::expect::{self, ScenarioResult, equal, hold};
use crate::news::{Awaited, News};

pub(crate) const ALL: &[Scenario] = &[
    wire("snapshot/pages", pages),
    wire("snapshot/no-deleted-rows", no_deleted_rows),
    wire("snapshot/pull-behind-it", pull_behind_it),
    wire("snapshot/one-checkpoint", one_checkpoint),
    wire("snapshot/record", record),
    fixed("snapshot/cursor-that-is-none", "the connection is dropped", cursor_that_is_none),
];

fn ids_of(records: &[serde_json::Value]) -> ScenarioResult<BTreeSet<(String, String)>> {
    let names = records.iter().map(|record| {
        Ok((expect::text(record, "table_name")?.to_owned(), expect::text(record, "id")?.to_owned()))
    });
    names.collect()
}

fn pages(bench: &mut Bench) -> ScenarioResult {
    let rows = [bench.create(0, "1")?, bench.create(0, "2")?, bench.create(0, "3")?];
    let client_id = bench.device(0)?;
    let (whole, checkpoint) = bench.snapshot(0, &client_id, 1_000)?;
    hold(checkpoint > 0, "the checkpoint of a snapshot is not positive")?;
    let ids = ids_of(&whole)?;
    equal("duplicate rows", whole.len() - ids.len(), 0)?;
    let name = bench.place.name.clone();
    hold(
        rows.iter().all(|row| ids.contains(&(name.clone(), row.id.clone()))),
        "a row is missing in the snapshot",
    )?;
    let limit = if whole.len() < 100 { 2 } else { 100 };
    let (paged, _) = bench.snapshot(0, &client_id, limit)?;
    equal("rows in small pages", ids_of(&paged)? == ids && paged.len() == whole.len(), true)
}

fn no_deleted_rows(bench: &mut Bench) -> ScenarioResult {
    let row = bench.create(0, "a")?;
    bench.remove(&row)?;
    let client_id = bench.device(0)?;
    let (records, _) = bench.snapshot(0, &client_id, 1_000)?;
    hold(
        records.iter().all(|record| record["id"] != row.id.as_str()),
        "the snapshot contains a deleted row",
    )
}

/// Rows written between two pages of a snapshot are returned by the next pull.
fn pull_behind_it(bench: &mut Bench) -> ScenarioResult {
    let mut old = bench.create(0, "old")?;
    bench.pull_row(0, &old.id)?;
    let client_id = bench.device(0)?;
    let body = bench.framed(&client_id, json!({"limit": 1}));
    let page = bench.good(0, "/sync/snapshot", &body)?;
    let checkpoint = expect::number(&page, "checkpoint")?;
    let new = bench.create(0, "new")?;
    let data = json!({bench.place.text.clone(): "changed"});
    bench.edit(&mut old, &data)?;
    bench.pull_until(0, &[Awaited::Row(&new.id), Awaited::Text(&old.id, "changed")])?;
    let mut cursor = page["cursor"].clone();
    while cursor.is_object() {
        let body = bench.framed(&client_id, json!({"limit": 1_000, "cursor": cursor}));
        cursor = bench.good(0, "/sync/snapshot", &body)?["cursor"].clone();
    }
    let mut news = News::default();
    let page = bench.page(0, &client_id, json!({"checkpoint": checkpoint, "limit": 1_000}))?;
    news.take(&page)?;
    expect::is(news.row(&new.id)?, &bench.place.text, "new")?;
    expect::is(news.row(&old.id)?, &bench.place.text, "changed")
}

fn one_checkpoint(bench: &mut Bench) -> ScenarioResult {
    for text in ["1", "2"] {
        let row = bench.create(0, text)?;
        bench.pull_row(0, &row.id)?;
    }
    let client_id = bench.device(0)?;
    let body = bench.framed(&client_id, json!({"limit": 1}));
    let first = bench.good(0, "/sync/snapshot", &body)?;
    expect::is(&first, "has_more", true)?;
    bench.create(0, "between")?;
    let body = bench.framed(&client_id, json!({"limit": 1, "cursor": first["cursor"]}));
    let second = bench.good(0, "/sync/snapshot", &body)?;
    expect::is(&second, "checkpoint", first["checkpoint"].clone())
}

fn record(bench: &mut Bench) -> ScenarioResult {
    let row = bench.create(0, "whole")?;
    let client_id = bench.device(0)?;
    let (records, _) = bench.snapshot(0, &client_id, 1_000)?;
    let Some(record) = records.iter().find(|record| record["id"] == row.id.as_str()) else {
        return expect::fail("a row is missing in the snapshot");
    };
    expect::instant(record, "updated_at")?;
    hold(record.get("deleted_at").is_none(), "the record of a live row has a member `deleted_at`")?;
    let columns = record["data"].as_object();
    let named = |name: &str| columns.is_some_and(|columns| columns.contains_key(name));
    hold(bench.place.columns.iter().all(|column| named(&column.name)), "a column is missing")
}

fn cursor_that_is_none(bench: &mut Bench) -> ScenarioResult {
    let client_id = bench.device(0)?;
    let cursors = [
        json!({"checkpoint": 1, "table_idx": -1, "after_id": ""}),
        json!({"checkpoint": 1, "table_idx": 99, "after_id": "x"}),
        json!({"checkpoint": -7, "table_idx": 0, "after_id": "\u{0}"}),
    ];
    for cursor in cursors {
        let body = bench.framed(&client_id, json!({"cursor": cursor}));
        let answer = bench.post(0, "/sync/snapshot", &body)?;
        hold(
            [200, 400].contains(&answer.status),
            "an invalid cursor is neither ignored nor rejected",
        )?;
    }
    Ok(())
}

//! Pulls: first pull, pages and checkpoints, one entry per row, empty pulls.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Scenario, fixed, wire};
use crate::bench::Bench;
use crate::expect::{self, ScenarioResult, equal, hold, is};
use crate::news::{Awaited, News};

pub(crate) const ALL: &[Scenario] = &[
    wire("pull/first", first),
    wire("pull/nothing-new", nothing_new),
    wire("pull/pages", pages),
    wire("pull/usual-page", usual_page),
    wire("pull/one-word-per-row", one_word_per_row),
    wire("pull/made-and-deleted", made_and_deleted),
    wire("pull/again-from-the-same-place", again_from_the_same_place),
    wire("pull/two-devices", two_devices),
    wire("pull/tables", tables),
    wire("pull/known-buckets", known_buckets),
    fixed("pull/ahead-of-the-log", "the checkpoint is echoed", ahead_of_the_log),
    fixed(
        "pull/quiet-device-goes-on",
        "its checkpoint stays and blocks log compaction",
        quiet_device_goes_on,
    ),
];

fn is_empty(page: &Value) -> ScenarioResult {
    hold(expect::list(page, "changes")?.is_empty(), "there are changes")?;
    hold(expect::list(page, "deletes")?.is_empty(), "there are deletes")
}

fn first(bench: &mut Bench) -> ScenarioResult {
    let client_id = bench.device(0)?;
    let page = bench.page(0, &client_id, json!({"checkpoint": 0}))?;
    is(&page, "snapshot_required", true)?;
    is(&page, "snapshot_reason", "initial_sync_required")?;
    is(&page, "checkpoint", 0)?;
    is(&page, "has_more", false)?;
    is_empty(&page)
}

fn nothing_new(bench: &mut Bench) -> ScenarioResult {
    let checkpoint = bench.catch_up(0)?;
    let client_id = bench.reader(0)?.client_id;
    let page = bench.page(0, &client_id, json!({"checkpoint": checkpoint}))?;
    is_empty(&page)?;
    is(&page, "has_more", false)?;
    is(&page, "schema_version", bench.version)?;
    is(&page, "schema_hash", bench.hash.as_str())?;
    hold(page["snapshot_required"] != true, "a snapshot is required")?;
    hold(expect::number(&page, "checkpoint")? >= checkpoint, "the checkpoint decreases")
}

/// Creates rows after the returned checkpoint and waits until they can be pulled.
fn rows_after(bench: &mut Bench, count: usize) -> ScenarioResult<(i64, Vec<String>)> {
    let from = bench.catch_up(0)?;
    let ids: Vec<String> = (0..count).map(|_| bench.new_id(0)).collect();
    let data = bench.data("row");
    let records: Vec<Value> = ids.iter().map(|id| bench.record("create", id, &data)).collect();
    let pushed = bench.push(0, &records)?;
    equal("accepted records", expect::list(&pushed.0, "accepted")?.len(), count)?;
    bench.pull_rows(0, &ids)?;
    Ok((from, ids))
}

fn pages(bench: &mut Bench) -> ScenarioResult {
    let (from, ids) = rows_after(bench, 5)?;
    let (pages, _) = bench.pull_from(0, from, 2)?;
    hold(pages.len() >= 3, "five rows fit into fewer than three pages of two")?;
    let mut news = News::default();
    for page in &pages {
        hold(expect::list(page, "changes")?.len() <= 2, "a page has more rows than the limit")?;
        news.take(page)?;
    }
    let unique: BTreeSet<&str> = news.received.iter().map(String::as_str).collect();
    equal("rows returned twice", news.received.len() - unique.len(), 0)?;
    hold(ids.iter().all(|id| unique.contains(id.as_str())), "a row is on no page")
}

fn usual_page(bench: &mut Bench) -> ScenarioResult {
    let (from, _) = rows_after(bench, 120)?;
    let client_id = bench.reader(0)?.client_id;
    for limit in [json!(0), json!(-1), Value::Null] {
        let page = bench.page(0, &client_id, json!({"checkpoint": from, "limit": limit}))?;
        equal("rows of a page without a limit", expect::list(&page, "changes")?.len(), 100)?;
        is(&page, "has_more", true)?;
    }
    Ok(())
}

fn one_word_per_row(bench: &mut Bench) -> ScenarioResult {
    let from = bench.catch_up(0)?;
    let mut row = bench.create(0, "1")?;
    for text in ["2", "3"] {
        let data = json!({bench.place.text.clone(): text});
        bench.edit(&mut row, &data)?;
    }
    bench.pull_until(0, &[Awaited::Text(&row.id, "3")])?;
    let (pages, _) = bench.pull_from(0, from, 100)?;
    let mut news = News::default();
    for page in &pages {
        news.take(page)?;
    }
    equal("entries for the row", news.received.iter().filter(|id| **id == row.id).count(), 1)?;
    is(news.row(&row.id)?, &bench.place.text, "3")
}

fn made_and_deleted(bench: &mut Bench) -> ScenarioResult {
    let from = bench.catch_up(0)?;
    let row = bench.create(0, "a")?;
    bench.remove(&row)?;
    let news = bench.pull_until(0, &[Awaited::Deleted(&row.id)])?;
    hold(news.deletes.contains(&row.id), "the pull does not list the row as deleted")?;
    let (pages, _) = bench.pull_from(0, from, 100)?;
    let mut news = News::default();
    for page in &pages {
        news.take(page)?;
    }
    equal("entries for the row", news.received.iter().filter(|id| **id == row.id).count(), 1)?;
    hold(news.deletes.contains(&row.id), "a deleted row is returned as a change")
}

fn again_from_the_same_place(bench: &mut Bench) -> ScenarioResult {
    let (from, _) = rows_after(bench, 3)?;
    let client_id = bench.reader(0)?.client_id;
    let first = bench.page(0, &client_id, json!({"checkpoint": from, "limit": 3}))?;
    let second = bench.page(0, &client_id, json!({"checkpoint": from, "limit": 3}))?;
    for member in ["changes", "deletes", "checkpoint", "has_more"] {
        is(&second, member, first[member].clone())?;
    }
    Ok(())
}

/// Each device has its own checkpoint.
fn two_devices(bench: &mut Bench) -> ScenarioResult {
    let other = bench.device(0)?;
    let (_, checkpoint) = bench.snapshot(0, &other, 1_000)?;
    let row = bench.create(0, "for both")?;
    bench.pull_row(0, &row.id)?;
    let page = bench.page(0, &other, json!({"checkpoint": checkpoint, "limit": 1_000}))?;
    let mut news = News::default();
    news.take(&page)?;
    is(news.row(&row.id)?, &bench.place.text, "for both")
}

fn tables(bench: &mut Bench) -> ScenarioResult {
    let (from, ids) = rows_after(bench, 2)?;
    let client_id = bench.reader(0)?.client_id;
    let name = bench.place.name.clone();
    let page = bench.page(0, &client_id, json!({"checkpoint": from, "tables": [name]}))?;
    let mut news = News::default();
    news.take(&page)?;
    hold(ids.iter().all(|id| news.changes.contains_key(id)), "a row of the table is missing")?;
    let page = bench.page(
        0,
        &client_id,
        json!({"checkpoint": from, "tables": ["no_table_of_this_name"]}),
    )?;
    is_empty(&page)
}

fn known_buckets(bench: &mut Bench) -> ScenarioResult {
    let checkpoint = bench.catch_up(0)?;
    let client_id = bench.reader(0)?.client_id;
    let ask = json!({"checkpoint": checkpoint, "known_buckets": ["no-such-bucket"]});
    let page = bench.page(0, &client_id, ask)?;
    let updates = &page["bucket_updates"];
    is(updates, "removed", json!(["no-such-bucket"]))?;
    hold(!expect::list(updates, "added")?.is_empty(), "the user has no bucket")?;
    let ask = json!({"checkpoint": checkpoint, "known_buckets": updates["added"]});
    let page = bench.page(0, &client_id, ask)?;
    hold(page.get("bucket_updates").is_none(), "there are bucket updates although nothing changed")
}

/// After a server restore, the device's checkpoint is ahead of the log.
fn ahead_of_the_log(bench: &mut Bench) -> ScenarioResult {
    let checkpoint = bench.catch_up(0)? + 1_000_000_000;
    let client_id = bench.reader(0)?.client_id;
    let page = bench.page(0, &client_id, json!({"checkpoint": checkpoint}))?;
    is(&page, "snapshot_required", true)
}

fn quiet_device_goes_on(bench: &mut Bench) -> ScenarioResult {
    let other = bench.other()?;
    let before = bench.catch_up(other)?;
    let row = bench.create(0, "not for the other")?;
    bench.pull_row(0, &row.id)?;
    let (_, after) = bench.pull(other)?;
    hold(after > before, "the checkpoint does not advance although others have written")
}

//! Isolation: a user cannot read, change, delete, take over or detect another user's rows.

use serde_json::{Value, json};

use super::{Scenario, fixed, wire};
use crate::bench::{Bench, Row};
use crate::expect::{self, ScenarioResult, fail, hold, is, skip};

const OPEN: &str = "without policies in the database everybody may";

pub(crate) const ALL: &[Scenario] = &[
    wire("users/devices", devices),
    wire("users/pull", pull),
    fixed("users/snapshot", OPEN, snapshot),
    fixed("users/update", OPEN, update),
    fixed("users/delete", OPEN, delete),
    fixed("users/create-upon", OPEN, create_upon),
    fixed("users/child", OPEN, child),
    wire("users/owner", owner),
];

/// The same client id of two users registers two devices.
fn devices(bench: &mut Bench) -> ScenarioResult {
    let other = bench.other()?;
    let client_id = bench.new_client();
    let body = bench.framed(&client_id, json!({}));
    let first = bench.good(0, "/sync/register", &body)?;
    let second = bench.good(other, "/sync/register", &body)?;
    hold(first["id"] != second["id"], "two users share a device")
}

fn pull(bench: &mut Bench) -> ScenarioResult {
    let other = bench.other()?;
    let (mine, theirs) = (bench.create(0, "mine")?, bench.create(other, "theirs")?);
    bench.pull_row(0, &mine.id)?;
    let news = bench.pull_row(other, &theirs.id)?;
    hold(!news.received.contains(&mine.id), "the pull returns another user's row")
}

fn snapshot(bench: &mut Bench) -> ScenarioResult {
    let other = bench.other()?;
    let row = bench.create(0, "mine")?;
    let client_id = bench.device(other)?;
    let (records, _) = bench.snapshot(other, &client_id, 1_000)?;
    hold(records.iter().all(|record| record["id"] != row.id.as_str()), "the other's row is in it")
}

/// The row's columns in a snapshot of its owner.
fn current_data(bench: &mut Bench, row: &Row) -> ScenarioResult<Value> {
    let client_id = bench.reader(row.user)?.client_id;
    let (records, _) = bench.snapshot(row.user, &client_id, 1_000)?;
    match records.iter().find(|record| record["id"] == row.id.as_str()) {
        Some(record) => Ok(record["data"].clone()),
        None => fail("the row is gone"),
    }
}

fn write_others_row(bench: &mut Bench, operation: &str) -> ScenarioResult {
    let other = bench.other()?;
    let row = bench.create(0, "mine")?;
    let mut record = bench.record(operation, &row.id, &bench.data("stolen"));
    record["base_updated_at"] = json!(row.version);
    record["client_updated_at"] = json!("2099-01-01T00:00:00Z");
    let pushed = bench.push(other, &[record])?;
    let result = pushed.of(&row.id)?.clone();
    let data = current_data(bench, &row)?;
    is(&data, &bench.place.text, "mine")?;
    is(&result, "status", "rejected_terminal")?;
    is(&result, "reason_code", "record_not_found")?;
    hold(result.get("server_version").is_none(), "the response contains another user's row")
}

fn update(bench: &mut Bench) -> ScenarioResult {
    write_others_row(bench, "update")
}

fn delete(bench: &mut Bench) -> ScenarioResult {
    write_others_row(bench, "delete")
}

fn create_upon(bench: &mut Bench) -> ScenarioResult {
    write_others_row(bench, "create")
}

fn child(bench: &mut Bench) -> ScenarioResult {
    let other = bench.other()?;
    let Some(child) = bench.child.clone() else {
        return skip("no table is a child of this one");
    };
    let row = bench.create(0, "mine")?;
    let id = bench.new_id_in(other, &child.table.name);
    let mut record = bench.record("create", &id, &child.data(&row.id));
    record["table_name"] = json!(child.table.name);
    let pushed = bench.push(other, &[record])?;
    hold(pushed.of(&id)?["status"] != "applied", "a child of another user's row was accepted")?;
    let client_id = bench.reader(0)?.client_id;
    let (records, _) = bench.snapshot(0, &client_id, 1_000)?;
    hold(
        records.iter().all(|record| record["id"] != id.as_str()),
        "the snapshot contains another user's child row",
    )
}

/// The row belongs to the pushing user, whatever owner the record contains.
fn owner(bench: &mut Bench) -> ScenarioResult {
    let other = bench.other()?;
    let Some(column) = bench.place.owner.clone() else {
        return skip("the schema has no owner column");
    };
    let theirs = bench.create(other, "theirs")?;
    let user = current_data(bench, &theirs)?[&column].clone();
    let mut data = bench.data("mine");
    data[&column] = user.clone();
    let row = bench.create_with(0, &data)?;
    let news = bench.pull_row(0, &row.id)?;
    hold(news.row(&row.id)?[&column] != user, "a device assigned its row to another user")?;
    let client_id = bench.reader(other)?.client_id;
    let (records, _) = bench.snapshot(other, &client_id, 1_000)?;
    let found = records.iter().find(|record| record["id"] == row.id.as_str());
    // Without row isolation the other user sees the row, but must not own it.
    let given = found.is_some_and(|record| record["data"][&column] == user);
    hold(!given, "a device assigned its row to another user")?;
    expect::text(&news.changes[&row.id], "id").map(drop)
}

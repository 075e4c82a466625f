//! Two users: neither reads, changes, deletes, takes or finds out the other's rows.

use serde_json::{Value, json};

use super::{Scenario, mended, wire};
use crate::bench::{Bench, Row};
use crate::expect::{self, Told, fail, hold, is, skip};

const OPEN: &str = "without policies in the database everybody may";

pub(crate) const ALL: &[Scenario] = &[
    wire("users/devices", devices),
    wire("users/pull", pull),
    mended("users/snapshot", OPEN, snapshot),
    mended("users/update", OPEN, update),
    mended("users/delete", OPEN, delete),
    mended("users/create-upon", OPEN, create_upon),
    mended("users/child", OPEN, child),
    wire("users/owner", owner),
];

/// One device id of two users is two devices.
fn devices(bench: &mut Bench) -> Told {
    let other = bench.other()?;
    let client_id = bench.new_client();
    let body = bench.framed(&client_id, json!({}));
    let first = bench.good(0, "/sync/register", &body)?;
    let second = bench.good(other, "/sync/register", &body)?;
    hold(first["id"] != second["id"], "two users have one device")
}

fn pull(bench: &mut Bench) -> Told {
    let other = bench.other()?;
    let (his, theirs) = (bench.create(0, "mine")?, bench.create(other, "theirs")?);
    bench.hear(0, &[&his.id])?;
    let news = bench.hear(other, &[&theirs.id])?;
    hold(!news.told.contains(&his.id), "the other's row is told")
}

fn snapshot(bench: &mut Bench) -> Told {
    let other = bench.other()?;
    let row = bench.create(0, "mine")?;
    let client_id = bench.device(other)?;
    let (records, _) = bench.snapshot(other, &client_id, 1_000)?;
    hold(records.iter().all(|record| record["id"] != row.id.as_str()), "the other's row is in it")
}

/// What the row's own user has of it, by a snapshot.
fn stands(bench: &mut Bench, row: &Row) -> Told<Value> {
    let client_id = bench.reader(row.user)?.client_id;
    let (records, _) = bench.snapshot(row.user, &client_id, 1_000)?;
    match records.iter().find(|record| record["id"] == row.id.as_str()) {
        Some(record) => Ok(record["data"].clone()),
        None => fail("the row is gone"),
    }
}

fn trespass(bench: &mut Bench, operation: &str) -> Told {
    let other = bench.other()?;
    let row = bench.create(0, "mine")?;
    let mut record = bench.record(operation, &row.id, &bench.data("stolen"));
    record["base_updated_at"] = json!(row.version);
    record["client_updated_at"] = json!("2099-01-01T00:00:00Z");
    let pushed = bench.push(other, &[record])?;
    let result = pushed.of(&row.id)?.clone();
    let stands = stands(bench, &row)?;
    is(&stands, &bench.place.text, "mine")?;
    is(&result, "status", "rejected_terminal")?;
    is(&result, "reason_code", "record_not_found")?;
    hold(result.get("server_version").is_none(), "the other's row is told")
}

fn update(bench: &mut Bench) -> Told {
    trespass(bench, "update")
}

fn delete(bench: &mut Bench) -> Told {
    trespass(bench, "delete")
}

fn create_upon(bench: &mut Bench) -> Told {
    trespass(bench, "create")
}

fn child(bench: &mut Bench) -> Told {
    let other = bench.other()?;
    let Some(child) = bench.child.clone() else {
        return skip("no table has this one for its parent");
    };
    let row = bench.create(0, "mine")?;
    let id = bench.new_id_in(other, &child.table.name);
    let mut record = bench.record("create", &id, &child.data(&row.id));
    record["table_name"] = json!(child.table.name);
    let pushed = bench.push(other, &[record])?;
    hold(pushed.of(&id)?["status"] != "applied", "the other put a child under the row")?;
    let client_id = bench.reader(0)?.client_id;
    let (records, _) = bench.snapshot(0, &client_id, 1_000)?;
    hold(records.iter().all(|record| record["id"] != id.as_str()), "the other's child is there")
}

/// Whoever a device names as the owner, the row is its user's.
fn owner(bench: &mut Bench) -> Told {
    let other = bench.other()?;
    let Some(column) = bench.place.owner.clone() else {
        return skip("the schema names no owner");
    };
    let theirs = bench.create(other, "theirs")?;
    let user = stands(bench, &theirs)?[&column].clone();
    let mut data = bench.data("mine");
    data[&column] = user.clone();
    let row = bench.create_with(0, &data)?;
    let news = bench.hear(0, &[&row.id])?;
    hold(news.row(&row.id)?[&column] != user, "a device gave its row to the other")?;
    let client_id = bench.reader(other)?.client_id;
    let (records, _) = bench.snapshot(other, &client_id, 1_000)?;
    let found = records.iter().find(|record| record["id"] == row.id.as_str());
    // Where nothing keeps users apart, the other sees the row; it must not be hers.
    let given = found.is_some_and(|record| record["data"][&column] == user);
    hold(!given, "a device gave its row to the other")?;
    expect::text(&news.changes[&row.id], "id").map(drop)
}

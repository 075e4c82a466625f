//! Pushes of single records: create, update, delete, resurrection, rejection, retry.

use serde_json::{Value, json};

use super::{Scenario, fixed, wire};
use crate::bench::{Bench, Row};
use crate::expect::{self, ScenarioResult, equal, fail, hold, is, skip};
use crate::news::Awaited;

pub(crate) const ALL: &[Scenario] = &[
    wire("push/create", create),
    wire("push/update", update),
    fixed("push/version-rises", "the version stays if the app has no trigger", version_rises),
    wire("push/other-columns-stay", other_columns_stay),
    wire("push/delete", delete),
    wire("push/delete-again", delete_again),
    wire("push/create-of-a-live-row", create_of_a_live_row),
    wire("push/update-of-a-deleted-row", update_of_a_deleted_row),
    wire("push/create-of-a-deleted-row", create_of_a_deleted_row),
    wire("push/no-such-row", no_such_row),
    wire("push/no-such-table", no_such_table),
    wire("push/read-only-table", read_only_table),
    wire("push/no-such-operation", no_such_operation),
    wire("push/data-are-no-object", data_are_no_object),
    fixed("push/data-are-null", "the connection is dropped", data_are_null),
    wire("push/time-of-another-form", time_of_another_form),
    fixed("push/base-of-sqlite", "400 for the whole push, forever", base_of_sqlite),
    wire("push/protected-columns", protected_columns),
    wire("push/only-protected-columns", only_protected_columns),
    wire("retry/create", retry_create),
    wire("retry/update", retry_update),
    wire("retry/delete", retry_delete),
];

fn create(bench: &mut Bench) -> ScenarioResult {
    let row = bench.create(0, "made")?;
    let news = bench.pull_row(0, &row.id)?;
    let Some(record) = news.changes.get(&row.id) else {
        return fail("the pull does not return the row");
    };
    is(record, "table_name", bench.place.name.as_str())?;
    expect::instant(record, "updated_at")?;
    is(&record["data"], &bench.place.text, "made")
}

fn update(bench: &mut Bench) -> ScenarioResult {
    let mut row = bench.create(0, "before")?;
    bench.pull_row(0, &row.id)?;
    let data = json!({bench.place.text.clone(): "after"});
    bench.edit(&mut row, &data)?;
    let news = bench.pull_until(0, &[Awaited::Text(&row.id, "after")])?;
    is(news.row(&row.id)?, &bench.place.text, "after")
}

fn version_rises(bench: &mut Bench) -> ScenarioResult {
    let mut row = bench.create(0, "a")?;
    let first = row.version.clone();
    let data = json!({bench.place.text.clone(): "b"});
    bench.edit(&mut row, &data)?;
    let (was, is) =
        (rejoin_protocol::time::parse(&first), rejoin_protocol::time::parse(&row.version));
    hold(is > was, "the version of an update is not later than the version before it")
}

fn other_columns_stay(bench: &mut Bench) -> ScenarioResult {
    let text = bench.place.text.clone();
    let column = bench.place.column("boolean, integer or date type", |column| {
        column.name != text
            && ["int", "int64", "boolean", "date"].contains(&column.logical.as_str())
    })?;
    let value = match column.logical.as_str() {
        "boolean" => json!(true),
        "date" => json!("2026-01-31"),
        _ => json!(41),
    };
    let mut data = bench.data("a");
    data[&column.name] = value.clone();
    let mut row = bench.create_with(0, &data)?;
    bench.edit(&mut row, &json!({text: "b"}))?;
    let news = bench.pull_until(0, &[Awaited::Text(&row.id, "b")])?;
    is(news.row(&row.id)?, &column.name, value)
}

fn require_soft_delete(bench: &Bench) -> ScenarioResult {
    if bench.place.deleted_at.is_empty() { skip("the table has no soft delete") } else { Ok(()) }
}

fn delete(bench: &mut Bench) -> ScenarioResult {
    let row = bench.create(0, "a")?;
    bench.pull_row(0, &row.id)?;
    let result = bench.remove(&row)?;
    if !bench.place.deleted_at.is_empty() {
        expect::instant(&result, "server_deleted_at")?;
    }
    let news = bench.pull_until(0, &[Awaited::Deleted(&row.id)])?;
    hold(news.deletes.contains(&row.id), "the pull does not list the row as deleted")
}

fn delete_again(bench: &mut Bench) -> ScenarioResult {
    require_soft_delete(bench)?;
    let row = bench.create(0, "a")?;
    bench.remove(&row)?;
    let record = bench.record("delete", &row.id, &Value::Null);
    let pushed = bench.push(0, &[record])?;
    let result = pushed.ended(&row.id, "applied", Some("already_deleted"))?;
    hold(result.get("server_deleted_at").is_none(), "the second delete returned a deletion time")
}

fn create_of_a_live_row(bench: &mut Bench) -> ScenarioResult {
    let row = bench.create(0, "first")?;
    let record = bench.record("create", &row.id, &bench.data("second"));
    let pushed = bench.push(0, &[record])?;
    let result = pushed.ended(&row.id, "conflict", Some("record_exists"))?;
    let server = &result["server_version"];
    is(server, "id", row.id.as_str())?;
    is(&server["data"], &bench.place.text, "first")
}

fn update_of_a_deleted_row(bench: &mut Bench) -> ScenarioResult {
    require_soft_delete(bench)?;
    let row = bench.create(0, "a")?;
    bench.remove(&row)?;
    let record = bench.record("update", &row.id, &json!({bench.place.text.clone(): "b"}));
    let pushed = bench.push(0, &[record])?;
    let result = pushed.ended(&row.id, "conflict", Some("record_deleted"))?;
    expect::instant(&result["server_version"], "deleted_at").map(drop)
}

fn create_of_a_deleted_row(bench: &mut Bench) -> ScenarioResult {
    require_soft_delete(bench)?;
    let row = bench.create(0, "a")?;
    let gone = bench.remove(&row)?;
    let mut record = bench.record("create", &row.id, &bench.data("back"));
    // Later than the deletion, for the server's clock and the client's.
    let at = expect::instant(&gone, "server_deleted_at")? + 1_000_000;
    record["client_updated_at"] = json!(rejoin_protocol::time::format(at));
    let pushed = bench.push(0, &[record])?;
    pushed.ended(&row.id, "applied", None)?;
    let news = bench.pull_until(0, &[Awaited::Text(&row.id, "back")])?;
    let back = news.row(&row.id)?;
    is(back, &bench.place.text, "back")?;
    is(back, &bench.place.deleted_at, Value::Null)
}

fn no_such_row(bench: &mut Bench) -> ScenarioResult {
    for operation in ["update", "delete"] {
        let id = bench.new_id(0);
        let record = bench.record(operation, &id, &json!({bench.place.text.clone(): "x"}));
        let pushed = bench.push(0, &[record])?;
        pushed.ended(&id, "rejected_terminal", Some("record_not_found"))?;
    }
    Ok(())
}

fn no_such_table(bench: &mut Bench) -> ScenarioResult {
    let mut record = bench.record("create", "x", &json!({}));
    record["table_name"] = json!("no_table_of_this_name");
    let pushed = bench.push(0, &[record])?;
    let result = pushed.ended("x", "rejected_terminal", Some("table_not_registered"))?;
    is(result, "table_name", "no_table_of_this_name")?;
    is(result, "operation", "create")
}

fn read_only_table(bench: &mut Bench) -> ScenarioResult {
    let Some(table) = bench.read_only.clone() else {
        return skip("every table is writable");
    };
    let id = uuid::Uuid::new_v4().to_string();
    for operation in ["create", "update", "delete"] {
        let mut record = bench.record(operation, &id, &json!({}));
        record["table_name"] = json!(table);
        let pushed = bench.push(0, &[record])?;
        pushed.ended(&id, "rejected_terminal", Some("table_read_only"))?;
    }
    Ok(())
}

fn no_such_operation(bench: &mut Bench) -> ScenarioResult {
    let id = bench.new_id(0);
    let record = bench.record("upsert", &id, &bench.data("x"));
    let pushed = bench.push(0, &[record])?;
    let result = pushed.ended(&id, "rejected_terminal", Some("invalid_operation"))?;
    is(result, "operation", "upsert")
}

fn invalid(bench: &mut Bench, record: Value) -> ScenarioResult {
    let id = expect::text(&record, "id")?.to_owned();
    let pushed = bench.push(0, &[record])?;
    pushed.ended(&id, "rejected_terminal", Some("invalid_data")).map(drop)
}

fn data_are_no_object(bench: &mut Bench) -> ScenarioResult {
    let id = bench.new_id(0);
    let record = bench.record("create", &id, &json!([1]));
    invalid(bench, record)?;
    let mut record = bench.record("create", &id, &json!({}));
    record.as_object_mut().and_then(|record| record.remove("data"));
    invalid(bench, record)
}

fn data_are_null(bench: &mut Bench) -> ScenarioResult {
    let id = bench.new_id(0);
    let record = bench.record("create", &id, &Value::Null);
    invalid(bench, record)
}

fn time_of_another_form(bench: &mut Bench) -> ScenarioResult {
    let id = bench.new_id(0);
    for time in ["2026-11-20 08:00:00", "yesterday"] {
        let mut record = bench.record("create", &id, &bench.data("x"));
        record["client_updated_at"] = json!(time);
        let body = bench.pushing(0, &[record]);
        let answer = bench.post(0, "/sync/push", &body)?;
        equal("the status", answer.status, 400)?;
        is(&answer.json(), "error", "invalid request body")?;
    }
    Ok(())
}

fn base_of_sqlite(bench: &mut Bench) -> ScenarioResult {
    let row = bench.create(0, "a")?;
    let mut record = bench.record("update", &row.id, &json!({bench.place.text.clone(): "b"}));
    let version = rejoin_protocol::time::parse(&row.version).unwrap_or_default();
    record["base_updated_at"] = json!("2020-01-01 08:00:00");
    record["client_updated_at"] = json!(rejoin_protocol::time::format(version + 1_000_000));
    let pushed = bench.push(0, &[record])?;
    pushed.ended(&row.id, "applied", None).map(drop)
}

fn protected(bench: &Bench, data: &mut Value) {
    let old = "2001-01-01T00:00:00.000000Z";
    data[&bench.place.updated_at] = json!(old);
    if !bench.place.deleted_at.is_empty() {
        data[&bench.place.deleted_at] = json!(old);
    }
}

fn protected_columns(bench: &mut Bench) -> ScenarioResult {
    let mut data = bench.data("a");
    protected(bench, &mut data);
    if let Some(owner) = &bench.place.owner {
        data[owner] = json!("6f1f3f0e-6d0c-4c33-9a0e-0b9f6d4f2a11");
    }
    let row = bench.create_with(0, &data)?;
    let news = bench.pull_row(0, &row.id)?;
    let made = news.row(&row.id)?;
    expect::instant(made, &bench.place.updated_at)?;
    hold(
        made[&bench.place.updated_at] != data[&bench.place.updated_at],
        "a device set the version",
    )?;
    if let Some(owner) = &bench.place.owner {
        hold(made[owner] != data[owner], "a device changed the row's owner")?;
    }
    if !bench.place.deleted_at.is_empty() {
        is(made, &bench.place.deleted_at, Value::Null)?;
    }
    Ok(())
}

fn only_protected_columns(bench: &mut Bench) -> ScenarioResult {
    let row = bench.create(0, "a")?;
    let mut data = json!({});
    protected(bench, &mut data);
    let mut record = bench.record("update", &row.id, &data);
    record["base_updated_at"] = json!(row.version);
    let pushed = bench.push(0, &[record])?;
    let result = pushed.ended(&row.id, "applied", None)?;
    hold(result.get("server_updated_at").is_none(), "a push without writes returned a version")
}

/// Sends the same bytes twice, as after a lost response. The second response may only report that
/// the row exists.
fn twice(bench: &mut Bench, row: &Row, record: &Value, reason: &str) -> ScenarioResult {
    let body = bench.pushing(0, std::slice::from_ref(record));
    bench.good(0, "/sync/push", &body)?;
    let answer = bench.good(0, "/sync/push", &body)?;
    let pushed = crate::bench::Pushed(answer);
    let result = pushed.of(&row.id)?;
    if result["status"] != "applied" {
        let result = pushed.ended(&row.id, "conflict", Some(reason))?;
        let text = &bench.place.text;
        is(&result["server_version"]["data"], text, record["data"][text].clone())?;
    }
    let news = bench.pull_until(0, &[Awaited::Text(&row.id, "once")])?;
    is(news.row(&row.id)?, &bench.place.text, "once")
}

fn retry_create(bench: &mut Bench) -> ScenarioResult {
    let id = bench.new_id(0);
    let record = bench.record("create", &id, &bench.data("once"));
    let row = Row { user: 0, id, version: String::new() };
    twice(bench, &row, &record, "record_exists")
}

fn retry_update(bench: &mut Bench) -> ScenarioResult {
    let row = bench.create(0, "a")?;
    let mut record = bench.record("update", &row.id, &json!({bench.place.text.clone(): "once"}));
    record["base_updated_at"] = json!(row.version);
    record["client_updated_at"] = json!("2020-01-01T00:00:00Z");
    twice(bench, &row, &record, "server_won_conflict")
}

fn retry_delete(bench: &mut Bench) -> ScenarioResult {
    require_soft_delete(bench)?;
    let row = bench.create(0, "a")?;
    let record = bench.record("delete", &row.id, &Value::Null);
    let body = bench.pushing(0, &[record]);
    let first = bench.good(0, "/sync/push", &body)?;
    let second = bench.good(0, "/sync/push", &body)?;
    for answer in [first, second] {
        is(crate::bench::Pushed(answer).of(&row.id)?, "status", "applied")?;
    }
    Ok(())
}

//! Pushes of several records: order, invalid records among valid ones, parents and children, large
//! batches.

use serde_json::{Value, json};

use super::{Scenario, fixed, wire};
use crate::bench::Bench;
use crate::expect::{self, ScenarioResult, equal, hold, is, skip};
use crate::news::Awaited;
use crate::tables::Child;

const POISON: &str = "500 for the whole push";

pub(crate) const ALL: &[Scenario] = &[
    wire("batch/empty", empty),
    wire("batch/order", order),
    wire("batch/refused-among-good", refused_among_good),
    fixed("batch/poison-column", POISON, poison_column),
    fixed("batch/poison-text", POISON, poison_text),
    wire("batch/many", many),
    wire("batch/at-once", at_once),
    wire("batch/parent-and-child", parent_and_child),
    fixed("batch/child-before-parent", POISON, child_before_parent),
    fixed("batch/child-without-parent", POISON, child_without_parent),
    wire("batch/parent-stays", parent_stays),
];

fn empty(bench: &mut Bench) -> ScenarioResult {
    let bodies = [json!({"changes": []}), json!({"changes": null}), json!({})];
    for body in bodies {
        let client_id = bench.reader(0)?.client_id;
        let body = bench.framed(&client_id, body);
        let answer = bench.good(0, "/sync/push", &body)?;
        hold(expect::list(&answer, "accepted")?.is_empty(), "something was accepted")?;
        hold(expect::list(&answer, "rejected")?.is_empty(), "something was rejected")?;
    }
    Ok(())
}

/// Each record builds on the result of the one before it.
fn order(bench: &mut Bench) -> ScenarioResult {
    let id = bench.new_id(0);
    let late = |mut record: Value| {
        record["client_updated_at"] = json!("2099-01-01T00:00:00Z");
        record
    };
    let text = bench.place.text.clone();
    let records = [
        late(bench.record("create", &id, &bench.data("1"))),
        late(bench.record("update", &id, &json!({text.clone(): "2"}))),
        late(bench.record("update", &id, &json!({text.clone(): "3"}))),
    ];
    let pushed = bench.push(0, &records)?;
    equal("accepted records", expect::list(&pushed.0, "accepted")?.len(), 3)?;
    let news = bench.pull_until(0, &[Awaited::Text(&id, "3")])?;
    is(news.row(&id)?, &text, "3")
}

/// Pushes two valid rows with an invalid record between them; both rows must be created.
fn between(bench: &mut Bench, bad: Value) -> ScenarioResult<Value> {
    let (first, last) = (bench.new_id(0), bench.new_id(0));
    let id = expect::text(&bad, "id")?.to_owned();
    let records = [
        bench.record("create", &first, &bench.data("good")),
        bad,
        bench.record("create", &last, &bench.data("good")),
    ];
    let pushed = bench.push(0, &records)?;
    pushed.ended(&first, "applied", None)?;
    pushed.ended(&last, "applied", None)?;
    bench.pull_until(0, &[Awaited::Row(&first), Awaited::Row(&last)])?;
    Ok(pushed.of(&id)?.clone())
}

fn refused_among_good(bench: &mut Bench) -> ScenarioResult {
    let mut bad = bench.record("create", "x", &json!({}));
    bad["table_name"] = json!("no_table_of_this_name");
    is(&between(bench, bad)?, "status", "rejected_terminal")
}

fn poison_column(bench: &mut Bench) -> ScenarioResult {
    let mut data = bench.data("x");
    data["no_column_of_this_name"] = json!(1);
    let id = bench.new_id(0);
    let bad = bench.record("create", &id, &data);
    is(&between(bench, bad)?, "status", "rejected_terminal")
}

/// PostgreSQL cannot store this character; another database may accept the row.
fn poison_text(bench: &mut Bench) -> ScenarioResult {
    let id = bench.new_id(0);
    let bad = bench.record("create", &id, &bench.data("a\u{0}b"));
    let result = between(bench, bad)?;
    hold(result["status"] != "rejected_retryable", "the device would retry it forever")
}

fn many(bench: &mut Bench) -> ScenarioResult {
    let ids: Vec<String> = (0..250).map(|_| bench.new_id(0)).collect();
    let data = bench.data("many");
    let records: Vec<Value> = ids.iter().map(|id| bench.record("create", id, &data)).collect();
    let pushed = bench.push(0, &records)?;
    equal("accepted records", expect::list(&pushed.0, "accepted")?.len(), ids.len())?;
    bench.pull_rows(0, &ids).map(drop)
}

fn at_once(bench: &mut Bench) -> ScenarioResult {
    let ids: Vec<String> = (0..8).map(|_| bench.new_id(0)).collect();
    let mut asks = Vec::new();
    for id in &ids {
        let client_id = bench.device(0)?;
        let record = bench.record("create", id, &bench.data("at once"));
        let body = bench.framed(&client_id, json!({"changes": [record]}));
        asks.push(bench.asking(0, "/sync/push", &body));
    }
    for answer in bench.send(&asks) {
        equal("the status", answer.status, 200)?;
        equal("accepted records", expect::list(&answer.json(), "accepted")?.len(), 1)?;
    }
    bench.pull_rows(0, &ids).map(drop)
}

fn child(bench: &Bench) -> ScenarioResult<Child> {
    bench.child.clone().map_or_else(|| skip("no table is a child of this one"), Ok)
}

/// A new id and the record that creates a child of this row.
fn child_record(bench: &mut Bench, child: &Child, parent: &str) -> (String, Value) {
    let id = bench.new_id_in(0, &child.table.name);
    let mut record = bench.record("create", &id, &child.data(parent));
    record["table_name"] = json!(child.table.name);
    (id, record)
}

fn parent_and_child(bench: &mut Bench) -> ScenarioResult {
    let child = child(bench)?;
    let parent = bench.new_id(0);
    let (id, record) = child_record(bench, &child, &parent);
    let records = [bench.record("create", &parent, &bench.data("parent")), record];
    let pushed = bench.push(0, &records)?;
    pushed.ended(&parent, "applied", None)?;
    pushed.ended(&id, "applied", None)?;
    let news = bench.pull_until(0, &[Awaited::Row(&parent), Awaited::Row(&id)])?;
    is(news.row(&id)?, &child.parent_column, parent)
}

fn child_before_parent(bench: &mut Bench) -> ScenarioResult {
    let child = child(bench)?;
    let parent = bench.new_id(0);
    let (id, record) = child_record(bench, &child, &parent);
    let records = [record, bench.record("create", &parent, &bench.data("parent"))];
    let pushed = bench.push(0, &records)?;
    pushed.ended(&parent, "applied", None)?;
    pushed.ended(&id, "applied", None)?;
    bench.pull_until(0, &[Awaited::Row(&parent), Awaited::Row(&id)]).map(drop)
}

fn child_without_parent(bench: &mut Bench) -> ScenarioResult {
    let child = child(bench)?;
    let missing_parent = uuid::Uuid::new_v4().to_string();
    let (_, record) = child_record(bench, &child, &missing_parent);
    let result = between(bench, record)?;
    hold(result["status"] != "applied", "a child without a parent was accepted")
}

fn parent_stays(bench: &mut Bench) -> ScenarioResult {
    let child = child(bench)?;
    let (first, second) = (bench.create(0, "first")?, bench.create(0, "second")?);
    let (id, record) = child_record(bench, &child, &first.id);
    bench.push(0, &[record])?.ended(&id, "applied", None)?;
    bench.pull_row(0, &id)?;
    let mut data = json!({child.parent_column.clone(): second.id});
    if !child.table.text.is_empty() {
        data[&child.table.text] = json!("moved");
    }
    let mut record = bench.record("update", &id, &data);
    record["table_name"] = json!(child.table.name);
    record["client_updated_at"] = json!("2099-01-01T00:00:00Z");
    bench.push(0, &[record])?.of(&id)?;
    let client_id = bench.reader(0)?.client_id;
    let (records, _) = bench.snapshot(0, &client_id, 1_000)?;
    let found = records.iter().find(|record| record["id"] == id.as_str());
    let found = found.map_or(Value::Null, |record| record["data"].clone());
    is(&found, &child.parent_column, first.id)
}

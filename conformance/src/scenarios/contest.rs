//! Conflict resolution: by base version, or by client clock if the update has no base.

use serde_json::{Value, json};

use super::{Scenario, wire};
use crate::bench::{Bench, Row};
use crate::expect::{self, ScenarioResult, hold, is};
use crate::news::Awaited;

pub(crate) const ALL: &[Scenario] = &[
    wire("contest/base-is-current", base_is_current),
    wire("contest/base-is-old-and-the-clock-later", base_is_old_and_the_clock_later),
    wire("contest/base-is-old-and-the-clock-earlier", base_is_old_and_the_clock_earlier),
    wire("contest/base-is-ahead", base_is_ahead),
    wire("contest/no-base-and-the-clock-later", no_base_and_the_clock_later),
    wire("contest/no-base-and-the-clock-earlier", no_base_and_the_clock_earlier),
    wire("contest/delete-wins", delete_wins),
];

/// One day: exceeds any clock tolerance.
const LONG: i64 = 86_400_000_000;

/// An update of `row` whose base and clock differ from the row's version by these amounts.
fn update(bench: &Bench, row: &Row, base: Option<i64>, clock: i64) -> ScenarioResult<Value> {
    let version = expect::instant(&json!({"version": row.version}), "version")?;
    let at = |distance: i64| json!(rejoin_protocol::time::format(version + distance));
    let mut record = bench.record("update", &row.id, &json!({bench.place.text.clone(): "mine"}));
    record["client_updated_at"] = at(clock);
    if let Some(base) = base {
        record["base_updated_at"] = at(base);
    }
    Ok(record)
}

fn wins(bench: &mut Bench, base: Option<i64>, clock: i64) -> ScenarioResult {
    let row = bench.create(0, "theirs")?;
    let record = update(bench, &row, base, clock)?;
    bench.push(0, &[record])?.ended(&row.id, "applied", None)?;
    let news = bench.pull_until(0, &[Awaited::Text(&row.id, "mine")])?;
    is(news.row(&row.id)?, &bench.place.text, "mine")
}

fn loses(bench: &mut Bench, base: Option<i64>, clock: i64) -> ScenarioResult {
    let row = bench.create(0, "theirs")?;
    let record = update(bench, &row, base, clock)?;
    let pushed = bench.push(0, &[record])?;
    let result = pushed.ended(&row.id, "conflict", Some("server_won_conflict"))?;
    let server = &result["server_version"];
    is(server, "id", row.id.as_str())?;
    is(server, "table_name", bench.place.name.as_str())?;
    let version = expect::instant(server, "updated_at")?;
    hold(
        Some(version) == rejoin_protocol::time::parse(&row.version),
        "the row's version differs from the push response",
    )?;
    is(&server["data"], &bench.place.text, "theirs")?;
    let news = bench.pull_row(0, &row.id)?;
    is(news.row(&row.id)?, &bench.place.text, "theirs")
}

/// No other write intervened, so the client clock is ignored.
fn base_is_current(bench: &mut Bench) -> ScenarioResult {
    wins(bench, Some(0), -LONG)
}

fn base_is_old_and_the_clock_later(bench: &mut Bench) -> ScenarioResult {
    wins(bench, Some(-LONG), 1_000_000)
}

fn base_is_old_and_the_clock_earlier(bench: &mut Bench) -> ScenarioResult {
    loses(bench, Some(-LONG), -LONG)
}

fn base_is_ahead(bench: &mut Bench) -> ScenarioResult {
    loses(bench, Some(LONG), 2 * LONG)
}

fn no_base_and_the_clock_later(bench: &mut Bench) -> ScenarioResult {
    wins(bench, None, 1_000_000)
}

fn no_base_and_the_clock_earlier(bench: &mut Bench) -> ScenarioResult {
    loses(bench, None, -LONG)
}

fn delete_wins(bench: &mut Bench) -> ScenarioResult {
    let row = bench.create(0, "a")?;
    let mut record = bench.record("delete", &row.id, &Value::Null);
    record["client_updated_at"] = json!("2001-01-01T00:00:00Z");
    record["base_updated_at"] = json!("2001-01-01T00:00:00Z");
    bench.push(0, &[record])?.ended(&row.id, "applied", None)?;
    let news = bench.pull_until(0, &[Awaited::Deleted(&row.id)])?;
    hold(news.deletes.contains(&row.id), "the pull does not list the row as deleted")
}

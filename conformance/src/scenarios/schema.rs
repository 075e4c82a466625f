//! Registration, schema and table list.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Scenario, wire};
use crate::bench::Bench;
use crate::expect::{self, ScenarioResult, equal, fail, hold, is};

pub(crate) const ALL: &[Scenario] = &[
    wire("register/answer", register),
    wire("register/again", again),
    wire("register/at-once", at_once),
    wire("schema/members", members),
    wire("schema/hash", hash),
    wire("schema/tables", tables),
];

fn register(bench: &mut Bench) -> ScenarioResult {
    let client_id = bench.new_client();
    let body = json!({"client_name": "A phone", "platform": "ios", "app_version": "99.0.0"});
    let body = bench.framed(&client_id, body);
    let answer = bench.good(0, "/sync/register", &body)?;
    let id = expect::text(&answer, "id")?;
    hold(Uuid::parse_str(id).is_ok(), "`id` is not a UUID")?;
    expect::instant(&answer, "server_time")?;
    expect::number(&answer, "checkpoint")?;
    is(&answer, "schema_version", bench.version)?;
    is(&answer, "schema_hash", bench.hash.as_str())?;
    hold(answer.get("last_sync_at").is_none(), "a new device has a last sync time")
}

fn again(bench: &mut Bench) -> ScenarioResult {
    let client_id = bench.new_client();
    let body = bench.framed(&client_id, json!({}));
    let first = bench.good(0, "/sync/register", &body)?;
    let second = bench.good(0, "/sync/register", &body)?;
    is(&second, "id", first["id"].clone())
}

/// Concurrent registrations all return the same schema.
fn at_once(bench: &mut Bench) -> ScenarioResult {
    let mut asks = Vec::new();
    for _ in 0..8 {
        let client_id = bench.new_client();
        let body = bench.framed(&client_id, json!({"schema_version": 0, "schema_hash": ""}));
        asks.push(bench.asking(0, "/sync/register", &body));
    }
    for answer in bench.send(&asks) {
        equal("the status", answer.status, 200)?;
        is(&answer.json(), "schema_version", bench.version)?;
        is(&answer.json(), "schema_hash", bench.hash.as_str())?;
    }
    Ok(())
}

/// The types that a plain client supports.
const LOGICAL: &[&str] =
    &["string", "int", "int64", "float", "boolean", "datetime", "date", "time", "json", "bytes"];

fn members(bench: &mut Bench) -> ScenarioResult {
    let schema = bench.get("/sync/schema")?.json();
    expect::instant(&schema, "server_time")?;
    hold(schema.get("rejoin").is_none(), "the schema has an unrequested extension")?;
    let tables = expect::list(&schema, "tables")?;
    sorted(tables)?;
    for table in tables {
        hold(table.get("rejoin").is_none(), "a table has an unrequested extension")?;
        let policy = expect::text(table, "push_policy")?;
        hold(["owner_only", "disabled"].contains(&policy), "an unknown push policy")?;
        expect::text(table, "updated_at_column")?;
        let keys = expect::list(table, "primary_key")?;
        equal("columns of the primary key", keys.len(), 1)?;
        for column in expect::list(table, "columns")? {
            column_of(column)?;
            is(column, "is_primary_key", keys[0] == column["name"])?;
        }
    }
    Ok(())
}

fn column_of(column: &Value) -> ScenarioResult {
    let name = expect::text(column, "name")?;
    expect::text(column, "db_type")?;
    let logical = expect::text(column, "logical_type")?;
    if !LOGICAL.contains(&logical) {
        return fail(format!("column {name}: a plain client has no type {logical}"));
    }
    hold(column["nullable"].is_boolean(), "`nullable` is not a boolean")?;
    let kind = expect::text(column, "default_kind")?;
    hold(["none", "portable", "server_only"].contains(&kind), "an unknown kind of default")?;
    if kind == "portable" {
        expect::text(column, "sqlite_default_sql")?;
    }
    Ok(())
}

fn sorted(tables: &[Value]) -> ScenarioResult {
    let names: Vec<_> = tables.iter().filter_map(|table| table["table_name"].as_str()).collect();
    hold(names.len() == tables.len() && names.is_sorted(), "the tables are not sorted by name")
}

/// SHA-256 of the tables as received, with the same characters escaped as in Go.
fn hash(bench: &mut Bench) -> ScenarioResult {
    #[derive(serde::Deserialize)]
    struct Schema<'a> {
        #[serde(borrow)]
        tables: &'a serde_json::value::RawValue,
    }
    let answer = bench.get("/sync/schema")?;
    let Ok(schema) = serde_json::from_str::<Schema<'_>>(&answer.received) else {
        return fail("the schema has no tables");
    };
    let mut text = format!("{{\"tables\":{}}}", schema.tables.get());
    let escaped =
        [("<", "003c"), (">", "003e"), ("&", "0026"), ("\u{2028}", "2028"), ("\u{2029}", "2029")];
    for (character, number) in escaped {
        text = text.replace(character, &format!("\\u{number}"));
    }
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    equal("the hash of the tables", bench.hash.clone(), hex)
}

fn tables(bench: &mut Bench) -> ScenarioResult {
    let schema = bench.get("/sync/schema")?.json();
    let answer = bench.get("/sync/tables")?;
    equal("the status", answer.status, 200)?;
    let answer = answer.json();
    is(&answer, "schema_version", bench.version)?;
    is(&answer, "schema_hash", bench.hash.as_str())?;
    let (found, expected) = (expect::list(&answer, "tables")?, expect::list(&schema, "tables")?);
    equal("tables", found.len(), expected.len())?;
    sorted(found)?;
    for (table, of_schema) in found.iter().zip(expected) {
        expect::list(table, "dependencies")?;
        for member in ["table_name", "push_policy", "parent_table", "parent_fk_col"] {
            is(table, member, of_schema[member].clone())?;
        }
    }
    Ok(())
}

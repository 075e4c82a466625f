//! Groups whose rows exchange values that must be unique: the final state decides.

use macro_rules_attribute::apply;
use rejoin_server::{Config, TableConfig};
use serde_json::{Value, json};

use crate::world::{Backend, World, create, delete, ended, update};

/// Every kind of rule over several rows that PostgreSQL has.
const TABLES: &str = "
    CREATE TABLE item(
      id TEXT PRIMARY KEY, owner_id TEXT, list TEXT, pos INTEGER NOT NULL CHECK (pos BETWEEN 0 AND 2147483647),
      code TEXT UNIQUE, slug VARCHAR(8) NOT NULL DEFAULT '', updated_at TIMESTAMPTZ, UNIQUE (list, pos));
    CREATE UNIQUE INDEX item_slug ON item(lower(slug)) WHERE slug <> '';
    CREATE TABLE late(
      id TEXT PRIMARY KEY, owner_id TEXT, pos INTEGER NOT NULL CHECK (pos BETWEEN 1 AND 3),
      updated_at TIMESTAMPTZ, UNIQUE (pos) DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE soft(
      id TEXT PRIMARY KEY, owner_id TEXT, name TEXT, is_first BOOLEAN NOT NULL DEFAULT false,
      updated_at TIMESTAMPTZ, deleted_at TIMESTAMPTZ);
    CREATE UNIQUE INDEX soft_name ON soft(name) WHERE deleted_at IS NULL;
    CREATE UNIQUE INDEX soft_first ON soft(owner_id) WHERE is_first;
    CREATE TABLE booking(
      id TEXT PRIMARY KEY, owner_id TEXT, begins TIMESTAMPTZ NOT NULL, ends TIMESTAMPTZ NOT NULL,
      updated_at TIMESTAMPTZ, CHECK (ends > begins),
      CONSTRAINT no_overlap EXCLUDE USING gist (tstzrange(begins, ends) WITH &&));
";

fn configured(config: Config) -> Config {
    ["item", "late", "soft", "booking"]
        .into_iter()
        .fold(config, |config, name| config.with_table(TableConfig::owned(name, "owner_id")))
}

/// A server over these tables.
struct Unique(World);

impl From<Backend> for Unique {
    fn from(backend: Backend) -> Self {
        Self(World::with(backend, TABLES, configured))
    }
}

fn change(
    table: &str,
    id: &str,
    column: &str,
    old: impl Into<Value>,
    new: impl Into<Value>,
) -> Value {
    let cell = |value: Value| Value::Object([(column.to_owned(), value)].into_iter().collect());
    update(table, id, &cell(old.into()), &cell(new.into()))
}

/// The cells of a column in the order of their rows.
fn cells(world: &World, table: &str, column: &str) -> String {
    world.one(&format!("SELECT string_agg(id || {column}, ' ' ORDER BY id) FROM {table}"))
}

#[apply(postgres_stores!)]
async fn unique_values_are_swapped_and_rotated(world: Unique) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let item = |id: &str, pos: i64| {
        create("item", id, &json!({"list": "l", "pos": pos, "code": id, "slug": id}))
    };
    anna.accept("m1", json!([item("a", 0), item("b", 1), item("c", 2)])).await;
    let code = |id, old: &str, new: &str| change("item", id, "code", old, new);
    anna.accept("m2", json!([code("a", "a", "b"), code("b", "b", "a")])).await;
    assert_eq!(cells(&world, "item", "code"), "ab ba cc");
    anna.accept("m3", json!([code("a", "b", "a"), code("b", "a", "c"), code("c", "c", "b")])).await;
    assert_eq!(cells(&world, "item", "code"), "aa bc cb");
    let pos = |id, old: i64, new: i64| change("item", id, "pos", old, new);
    anna.accept("m4", json!([pos("a", 0, 1), pos("b", 1, 2), pos("c", 2, 0)])).await;
    assert_eq!(cells(&world, "item", "pos"), "a1 b2 c0");
    let slug = |id, old: &str, new: &str| change("item", id, "slug", old, new);
    anna.accept("m5", json!([slug("a", "a", "C"), slug("b", "b", "A"), slug("c", "c", "B")])).await;
    assert_eq!(cells(&world, "item", "slug"), "aC bA cB");
    // A shift, and a new row at the free place.
    anna.accept("m6", json!([item("d", 0), pos("c", 0, 1), pos("a", 1, 2), pos("b", 2, 3)])).await;
    assert_eq!(cells(&world, "item", "pos"), "a2 b3 c1 d0");
    anna.accept("m7", json!([pos("a", 2, 1), pos("b", 3, 2), pos("c", 1, 0), pos("d", 0, 9)]))
        .await;
    assert_eq!(cells(&world, "item", "pos"), "a1 b2 c0 d9");
    // Another device reads the final rows, once each.
    let mut two = world.device("anna", "a2").await;
    assert_eq!(two.snapshot(10).await, ["item/a", "item/b", "item/c", "item/d"]);
}

#[apply(postgres_stores!)]
async fn shift_of_many_positions_is_accepted(world: Unique) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let count = 60;
    let id = |pos: i64| format!("{:02}", pos * 37 % count);
    let item = |pos| create("item", &id(pos), &json!({"list": "l", "pos": pos}));
    anna.accept("m1", json!((0..count).map(item).collect::<Vec<_>>())).await;
    for (name, by) in [("m2", 1), ("m3", -1)] {
        let from = i64::from(by <= 0);
        let shift = |pos: i64| change("item", &id(pos), "pos", pos + from, pos + from + by);
        let mut changes: Vec<Value> = (0..count).map(shift).collect();
        changes.sort_by_key(|change| change["id"].as_str().map(str::to_owned));
        anna.accept(name, json!(changes)).await;
    }
    assert_eq!(world.one("SELECT sum(pos)::text FROM item"), "1770");
}

#[apply(postgres_stores!)]
async fn value_of_a_deleted_row_is_free_in_its_group(world: Unique) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let item = |id: &str| create("item", id, &json!({"list": "l", "pos": 0, "code": "x"}));
    let gone =
        |id: &str| delete("item", id, &json!({"list": "l", "pos": 0, "code": "x", "slug": ""}));
    anna.accept("m1", json!([item("a")])).await;
    anna.accept("m2", json!([item("b"), gone("a")])).await;
    assert_eq!(cells(&world, "item", "code"), "bx");
    let soft = |id: &str| create("soft", id, &json!({"name": "x", "is_first": true}));
    anna.accept("m3", json!([soft("a")])).await;
    let first = change("soft", "b", "is_first", false, true);
    let off = change("soft", "a", "is_first", true, false);
    anna.accept("m4", json!([create("soft", "b", &json!({"name": "y"}))])).await;
    anna.accept("m5", json!([first, off])).await;
    let gone = delete("soft", "a", &json!({"name": "x", "is_first": false}));
    anna.accept("m6", json!([create("soft", "c", &json!({"name": "x"})), gone])).await;
    assert_eq!(world.one("SELECT count(*) FROM soft WHERE deleted_at IS NULL"), "2");
    // A row that comes back takes the name of one that goes.
    let gone = delete("soft", "c", &json!({"name": "x", "is_first": false}));
    anna.accept("m7", json!([create("soft", "a", &json!({"name": "x"})), gone])).await;
    assert_eq!(world.one("SELECT id FROM soft WHERE name = 'x' AND deleted_at IS NULL"), "a");
}

#[apply(postgres_stores!)]
async fn deferrable_rule_is_checked_at_the_end(world: Unique) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let late = |id: &str, pos: i64| create("late", id, &json!({"pos": pos}));
    anna.accept("m1", json!([late("a", 1), late("b", 2), late("c", 3)])).await;
    let pos = |id, old: i64, new: i64| change("late", id, "pos", old, new);
    anna.accept("m2", json!([pos("a", 1, 2), pos("b", 2, 3), pos("c", 3, 1)])).await;
    assert_eq!(cells(&world, "late", "pos"), "a2 b3 c1");
    let (verdict, _) = anna.push("m3", json!([pos("a", 2, 3), pos("c", 1, 2)])).await;
    assert_eq!(ended(&verdict), "rejected constraint.unique");
    assert!(verdict.message.unwrap().contains("late_pos_key"));
    assert_eq!(cells(&world, "late", "pos"), "a2 b3 c1");
    let (verdict, _) = anna.push("m4", json!([late("d", 1)])).await;
    assert_eq!(ended(&verdict), "rejected constraint.unique", "at once again");
}

#[apply(postgres_stores!)]
async fn excluded_periods_are_exchanged(world: Unique) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let hour = |hour: i64| format!("2026-11-20T{hour:02}:00:00.000000Z");
    let period = |from: i64| json!({"begins": hour(from), "ends": hour(from + 1)});
    let booking = |id: &str, from| create("booking", id, &period(from));
    anna.accept("m1", json!([booking("a", 8), booking("b", 9), booking("c", 10)])).await;
    let moved = |id: &str, old, new| update("booking", id, &period(old), &period(new));
    anna.accept("m2", json!([moved("a", 8, 9), moved("b", 9, 10), moved("c", 10, 8)])).await;
    let begins = "to_char(begins AT TIME ZONE 'UTC', 'HH24')";
    assert_eq!(cells(&world, "booking", begins), "a09 b10 c08");
    let (verdict, _) = anna.push("m3", json!([moved("a", 9, 8), moved("b", 10, 9)])).await;
    assert_eq!(ended(&verdict), "rejected constraint.check", "c stays");
    assert_eq!(verdict.record_id.as_deref(), Some("a"));
    assert!(verdict.message.unwrap().contains("no_overlap"));
    assert_eq!(cells(&world, "booking", begins), "a09 b10 c08");
}

#[apply(postgres_stores!)]
async fn taken_value_names_its_rule_and_row(world: Unique) {
    let world = world.0;
    let mut anna = world.device("anna", "a1").await;
    let item =
        |id: &str, pos: i64| create("item", id, &json!({"list": "l", "pos": pos, "code": id}));
    anna.accept("m1", json!([item("a", 0), item("b", 1), item("c", 2)])).await;
    let code = |id, old: &str, new: &str| change("item", id, "code", old, new);
    let swap = [
        code("a", "a", "b"),
        code("b", "b", "a"),
        create("item", "d", &json!({"list": "l", "pos": 7, "code": "c"})),
    ];
    let (verdict, rows) = anna.push("m2", json!(swap)).await;
    assert_eq!(ended(&verdict), "rejected constraint.unique");
    assert_eq!(
        (verdict.record_id.as_deref(), verdict.column.as_deref()),
        (Some("d"), Some("code"))
    );
    assert!(verdict.message.unwrap().contains("item_code_key"));
    assert!(rows.iter().any(|row| row.id == "d" && row.absent));
    assert_eq!(cells(&world, "item", "code"), "aa bb cc", "nothing of it");
    let (verdict, _) =
        anna.push("m3", json!([code("a", "a", "c"), change("item", "b", "pos", 1, -1)])).await;
    assert_eq!(ended(&verdict), "rejected constraint.check", "no order helps");
}

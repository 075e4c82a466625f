//! Another program writes the PostgreSQL database with its own SQL: exactly its changes reach
//! devices.

use rejoin_server::{Config, TableConfig};
use serde_json::json;

use crate::world::World;

const TABLES: &str = "
    CREATE TABLE places(
      id text PRIMARY KEY, owner_id text, name text, updated_at timestamptz, deleted_at timestamptz);
    CREATE TABLE visits(
      id uuid PRIMARY KEY, place_id text NOT NULL REFERENCES places ON DELETE CASCADE ON UPDATE CASCADE,
      note text, updated_at timestamptz);
    CREATE TABLE tags(id integer PRIMARY KEY, visit_id uuid NOT NULL, label text, updated_at text);
    CREATE TABLE countries(code varchar(2) PRIMARY KEY, name text, updated_at timestamp);
    CREATE TABLE secrets(id text PRIMARY KEY, body text, updated_at timestamptz);
";

const SEED: &str = "
    INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'Quay'), ('p2', 'ben', 'Pier');
    INSERT INTO visits(id, place_id, note) VALUES
      ('00000000-0000-4000-8000-000000000001', 'p1', 'x'), ('00000000-0000-4000-8000-000000000002', 'p2', 'y');
    INSERT INTO tags(id, visit_id, label) VALUES
      (1, '00000000-0000-4000-8000-000000000001', 'red'), (2, '00000000-0000-4000-8000-000000000002', 'blue');
";

fn configured(config: Config) -> Config {
    config
        .with_table(TableConfig::owned("places", "owner_id"))
        .with_table(TableConfig::child("visits", "places", "place_id"))
        .with_table(TableConfig::child("tags", "visits", "visit_id"))
        .with_table(TableConfig::global("countries"))
        .with_table(TableConfig::new("secrets"))
}

fn seeded() -> World {
    let world = World::postgres(TABLES, configured);
    world.write(SEED);
    world
}

/// `v1` instead of the long key.
fn short(names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| name.replace("00000000-0000-4000-8000-00000000000", "v")).collect()
}

const MOVED: &[&str] = &["places/p1", "tags/1", "visits/v1"];
const GONE: &[&str] = &["-places/p1", "-tags/1", "-visits/v1"];
/// A statement of another program, and what Anna and Ben receive.
const WRITES: &[(&str, &[&str], &[&str])] = &[
    ("INSERT INTO places(id, owner_id) VALUES('p3', 'anna')", &["places/p3"], &[]),
    ("UPDATE places SET name = 'Wharf' WHERE id = 'p1'", &["places/p1"], &[]),
    ("UPDATE places SET updated_at = '1970-01-01' WHERE id = 'p1'", &["places/p1"], &[]),
    ("UPDATE places SET deleted_at = now() WHERE id = 'p1'", &["-places/p1"], &[]),
    ("DELETE FROM places WHERE id = 'p1'", GONE, &[]),
    (
        "INSERT INTO places(id, owner_id) VALUES('p1', 'ben')
         ON CONFLICT(id) DO UPDATE SET owner_id = excluded.owner_id",
        GONE,
        MOVED,
    ),
    ("INSERT INTO places(id) VALUES('p1') ON CONFLICT DO NOTHING", &[], &[]),
    (
        "UPDATE places SET owner_id = 'ben'",
        GONE,
        &["places/p1", "places/p2", "tags/1", "visits/v1"],
    ),
    ("UPDATE places SET owner_id = NULL WHERE id = 'p1'", GONE, &[]),
    (
        "UPDATE places SET id = 'p9' WHERE id = 'p1'",
        &["places/p9", "visits/v1", "tags/1", "-places/p1"],
        &[],
    ),
    (
        "UPDATE visits SET place_id = 'p2' WHERE place_id = 'p1'",
        &["-tags/1", "-visits/v1"],
        &["tags/1", "visits/v1"],
    ),
    ("UPDATE tags SET label = 'green' WHERE id = 1", &["tags/1"], &[]),
    ("UPDATE tags SET id = 7 WHERE id = 1", &["tags/7", "-tags/1"], &[]),
    ("INSERT INTO secrets VALUES('s1', 'x', NULL)", &[], &[]),
    ("INSERT INTO countries VALUES('NO', 'Norway')", &["countries/NO"], &["countries/NO"]),
    ("TRUNCATE tags", &["-tags/1"], &["-tags/2"]),
    ("TRUNCATE visits", &["-tags/1", "-visits/v1"], &["-tags/2", "-visits/v2"]),
    ("TRUNCATE places CASCADE", GONE, &["-places/p2", "-tags/2", "-visits/v2"]),
    (
        "WITH gone AS (DELETE FROM tags WHERE id = 1 RETURNING visit_id)
         INSERT INTO tags SELECT 3, visit_id FROM gone",
        &["tags/3", "-tags/1"],
        &[],
    ),
    // A replication session, in which ordinary triggers do not fire.
    (
        "SET session_replication_role = replica; UPDATE places SET name = 'x' WHERE id = 'p1'",
        &["places/p1"],
        &[],
    ),
    // Children may exist first: without a foreign key, or in such a session.
    (
        "INSERT INTO tags(id, visit_id) VALUES(3, '00000000-0000-4000-8000-000000000003');
         INSERT INTO visits(id, place_id) VALUES('00000000-0000-4000-8000-000000000003', 'p1')",
        &["tags/3", "visits/v3"],
        &[],
    ),
    (
        "SET session_replication_role = replica;
         INSERT INTO tags(id, visit_id) VALUES(3, '00000000-0000-4000-8000-000000000003');
         INSERT INTO visits(id, place_id) VALUES('00000000-0000-4000-8000-000000000003', 'p3');
         INSERT INTO places(id, owner_id) VALUES('p3', 'anna')",
        &["places/p3", "tags/3", "visits/v3"],
        &[],
    ),
    ("BEGIN; UPDATE places SET name = 'y'; ROLLBACK", &[], &[]),
    (
        "BEGIN; SAVEPOINT s; DELETE FROM tags; ROLLBACK TO s; UPDATE tags SET label = 'z' WHERE id = 2; COMMIT",
        &[],
        &["tags/2"],
    ),
];

#[tokio::test]
async fn every_kind_of_write_reaches_affected_devices() {
    for (statement, for_anna, for_ben) in WRITES {
        let world = seeded();
        let mut anna = world.device("anna", "a1").await;
        let mut ben = world.device("ben", "b1").await;
        anna.snapshot(100).await;
        ben.snapshot(100).await;
        world.write(statement);
        let sorted = |names: &[&str]| {
            let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            names.sort();
            names
        };
        for (device, expected) in [(&mut anna, for_anna), (&mut ben, for_ben)] {
            let mut found = short(device.pull().await);
            found.sort();
            assert_eq!(found, sorted(expected), "{}: {statement}", device.user);
        }
    }
}

#[tokio::test]
async fn versions_rise_despite_the_writers_triggers() {
    let world = seeded();
    let session = world.database.as_ref().unwrap().session();
    session.run(
        "CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$;
         CREATE TRIGGER update_updated_at BEFORE UPDATE ON places FOR EACH ROW EXECUTE FUNCTION public.touch()",
    );
    for table in ["places", "countries", "tags"] {
        session.run("INSERT INTO countries VALUES('NO', 'Norway') ON CONFLICT DO NOTHING");
        let version = || session.one(&format!("SELECT updated_at FROM {table} LIMIT 1"));
        session.run("BEGIN");
        let mut last = version();
        for statement in [
            "SET updated_at = updated_at",
            "SET updated_at = NULL",
            "SET updated_at = '2001-01-01'",
            "SET updated_at = updated_at",
        ] {
            session.run(&format!("UPDATE {table} {statement}"));
            let next = version();
            assert!(next > last, "{table} {statement}: {next} after {last}");
            last = next;
        }
        session.run("COMMIT");
    }
}

#[tokio::test]
async fn writes_during_a_disabled_trigger_are_detected() {
    let world = seeded();
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(100).await;
    world.write(
        "ALTER TABLE places DISABLE TRIGGER ALL; UPDATE places SET name = 'unseen' WHERE id = 'p1'",
    );
    let page = anna.pull_page(100).await;
    assert_eq!(page.snapshot_reason.as_deref(), Some("checkpoint_before_retention"));
    anna.snapshot(100).await;
    world.write("UPDATE places SET name = 'seen' WHERE id = 'p1'");
    assert_eq!(anna.pull().await, ["places/p1"]);
}

const EVERY_TYPE: &str = "
    CREATE EXTENSION IF NOT EXISTS citext;
    CREATE TYPE mood AS ENUM ('calm', 'wild');
    CREATE DOMAIN share AS numeric(12, 4) CHECK (VALUE >= 0);
    CREATE TABLE things(
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(), owner_id text NOT NULL,
      a_varchar varchar(5), a_char char(4), a_citext citext, a_smallint smallint, an_int integer, a_bigint bigint,
      a_numeric numeric, a_real real, a_double double precision, a_boolean boolean,
      a_timestamptz timestamptz, a_short_timestamptz timestamptz(3), a_timestamp timestamp, a_date date, a_time time,
      a_json json, a_jsonb jsonb, a_bytea bytea, some_ints integer[], some_texts text[], a_mood mood, a_share share,
      an_interval interval, a_sum bigint GENERATED ALWAYS AS (an_int::bigint + 1) STORED,
      created_at timestamptz, updated_at timestamptz NOT NULL DEFAULT now(), deleted_at timestamptz);
";

#[tokio::test]
async fn each_database_error_maps_to_its_code() {
    let tables = format!(
        "{EVERY_TYPE} ALTER TABLE things ADD CONSTRAINT small CHECK (an_int < 10), ADD UNIQUE (a_bigint);
         ALTER TABLE things ADD COLUMN other uuid REFERENCES things;
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN IF NEW.a_date = '2000-01-01' THEN RAISE 'not that day'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER no BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION no()"
    );
    let owned = |config: Config| config.with_table(TableConfig::owned("things", "owner_id"));
    let world = World::postgres(&tables, owned);
    world.write("INSERT INTO things(owner_id, a_bigint) VALUES('anna', 7)");
    let mut anna = world.device("anna", "a1").await;
    let table = [
        ("a_varchar", json!("too long"), "value.invalid", Some("a_varchar")),
        ("a_smallint", json!(40000), "value.invalid", Some("a_smallint")),
        ("a_numeric", json!("twelve"), "value.invalid", Some("a_numeric")),
        ("a_date", json!("2026-02-30"), "value.invalid", Some("a_date")),
        ("a_jsonb", json!("{"), "value.invalid", Some("a_jsonb")),
        ("a_mood", json!("sad"), "value.invalid", Some("a_mood")),
        ("a_share", json!("-1"), "constraint.check", None),
        ("an_int", json!(11), "constraint.check", Some("an_int")),
        ("a_bigint", json!(7), "constraint.unique", Some("a_bigint")),
        (
            "other",
            json!("0190a000-0000-7000-8000-00000000ffff"),
            "constraint.references",
            Some("other"),
        ),
        ("a_date", json!("2000-01-01"), "constraint.trigger", None),
        ("a_sum", json!(1), "column.protected", Some("a_sum")),
    ];
    for (number, (column, value, code, named)) in table.into_iter().enumerate() {
        let id = format!("0190a000-0000-7000-8000-0000000001{number:02}");
        let create = json!([{"operation": "create", "table_name": "things", "id": id, "data": {column: value}}]);
        let (verdict, _) = anna.push(&format!("m{number}"), create).await;
        assert_eq!(verdict.code.as_deref(), Some(code), "{column}: {verdict:?}");
        assert_eq!(verdict.column.as_deref(), named, "{column}: {verdict:?}");
        let message = verdict.message.unwrap_or_default();
        assert!(!message.contains("sad") && !message.contains("twelve"), "{message}");
    }
    for id in ["no-uuid", "0190A000-0000-7000-8000-000000000001"] {
        let create = json!([{"operation": "create", "table_name": "things", "id": id, "data": {}}]);
        let (verdict, _) = anna.push(&format!("bad {id}"), create).await;
        assert_eq!(verdict.code.as_deref(), Some("value.invalid"), "{id}");
    }
}

#[test]
fn unsyncable_tables_are_all_refused_by_name() {
    let tables = "
        CREATE EXTENSION IF NOT EXISTS citext;
        CREATE TABLE a(id text, other text, updated_at timestamptz, PRIMARY KEY(id, other));
        CREATE TABLE b(id citext PRIMARY KEY, place point, updated_at timestamptz(3));
        CREATE TABLE c(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, words tsvector, updated_at date);
        CREATE VIEW d AS SELECT 1 AS id;
        CREATE TABLE e(id uuid PRIMARY KEY, owner_id text, updated_at timestamptz);
        CREATE TABLE f(id uuid PRIMARY KEY, e_id text, updated_at timestamptz);
    ";
    let database = rejoin_postgres::Database::new();
    database.session().run(tables);
    let mut config = Config::postgres(database.url.as_str());
    for name in ["a", "b", "c", "d", "missing"] {
        config = config.with_table(TableConfig::global(name));
    }
    config = config
        .with_table(TableConfig::owned("e", "owner_id"))
        .with_table(TableConfig::child("f", "e", "e_id"));
    let message = rejoin_server::Server::open(config).unwrap_err().to_string();
    for line in [
        "a: the table has a composite primary key",
        "b.id: a key is text, a UUID or an integer",
        "b.place: the type 'point' is not synced",
        "b.updated_at: a version rises by microseconds",
        "c.id: devices give keys",
        "c.words: the type 'tsvector' is not synced",
        "c.updated_at: a version is timestamptz",
        "d: only an ordinary table is synced",
        "missing: the database has no such table",
        "f.e_id: the type 'text' does not compare with the key of 'e'",
    ] {
        assert!(message.contains(line), "{line} is not in {message}");
    }
    assert!(!message.contains("  e"), "{message}");
}

#[tokio::test]
async fn renamed_column_keeps_its_identity_recreated_one_does_not() {
    let world = seeded();
    let identity = |world: &World, name: &str| {
        world.one(&format!(
            "SELECT c.id FROM rejoin_column_identity AS c JOIN rejoin_table_number AS t ON t.number = c.table_number
             WHERE t.name = 'places' AND c.name = '{name}' AND c.attnum IS NOT NULL"
        ))
    };
    let before = identity(&world, "name");
    world.write("ALTER TABLE places RENAME COLUMN name TO title");
    world.device("anna", "a1").await;
    assert_eq!(identity(&world, "title"), before);
    world.write("ALTER TABLE places DROP COLUMN title; ALTER TABLE places ADD COLUMN title text");
    world.device("anna", "a2").await;
    assert_ne!(identity(&world, "title"), before);
}

//! Bucket functions of the database (PostgreSQL): called when a row is written, limited, and
//! failing closed.

use std::collections::BTreeMap;

use rejoin_server::{Config, ProblemKind, Server, ServerError, TableConfig};
use serde_json::Value;

use crate::world::World;

/// Documents are in one bucket per word of `readers`; the word `fail` breaks the function. Its
/// tables are found whatever the writer's search path. Notes are in the buckets of their document.
const TABLES: &str = "
    CREATE SCHEMA app;
    CREATE TABLE closed(word text PRIMARY KEY);
    CREATE TABLE documents(id uuid PRIMARY KEY, readers text, hidden text, updated_at timestamptz, deleted_at timestamptz);
    CREATE TABLE notes(id bigint PRIMARY KEY, document uuid, body text, updated_at timestamptz);
    CREATE FUNCTION app.readers(table_name text, operation text, new_row jsonb, old_row jsonb) RETURNS SETOF text
    LANGUAGE plpgsql STABLE AS $$
    BEGIN
      IF EXISTS (SELECT FROM closed WHERE word = 'fixed') THEN
        RETURN QUERY SELECT 'doc:x';
        RETURN;
      END IF;
      IF new_row->>'readers' LIKE '%fail%' THEN
        RAISE EXCEPTION 'no such reader in %', table_name;
      END IF;
      IF new_row->>'hidden' = 'was' THEN
        RETURN QUERY SELECT operation || ':' || coalesce(old_row->>'readers', 'nothing');
        RETURN;
      END IF;
      RETURN QUERY SELECT 'doc:' || w FROM unnest(string_to_array(new_row->>'readers', ' ')) AS w
        WHERE w NOT IN (SELECT word FROM closed) UNION ALL SELECT '' UNION ALL SELECT NULL;
    END $$;
";

const A: &str = "00000000-0000-0000-0000-00000000000a";

fn configure(config: Config) -> Config {
    let documents = TableConfig::new("documents").with_bucket_function("app.readers");
    let documents = TableConfig { max_buckets_per_event: Some(3), ..documents };
    config.with_table(documents).with_table(TableConfig::new("notes").with_bucket("body", "body:"))
}

fn world() -> World {
    World::postgres(TABLES, configure)
}

fn put(world: &World, readers: &str) {
    world.write(&format!(
        "SET search_path = pg_catalog; INSERT INTO public.documents(id, readers) VALUES ('{A}', '{readers}')
         ON CONFLICT(id) DO UPDATE SET readers = excluded.readers"
    ));
}

async fn readers(world: &World) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for user in ["x", "y", "z", "w"] {
        world.server.grant(user, &format!("doc:{user}")).unwrap();
        if !world.device(user, "look").await.snapshot(5).await.is_empty() {
            seen.push(user);
        }
    }
    seen
}

#[tokio::test]
async fn function_names_the_buckets_of_a_row() {
    let world = world();
    put(&world, "x y x");
    assert_eq!(readers(&world).await, ["x", "y"]);
    let mut devices: Vec<(_, BTreeMap<String, Option<Value>>)> = Vec::new();
    for user in ["x", "y", "z"] {
        let mut device = world.device(user, "d").await;
        let base = device.snapshot_rows().await;
        devices.push((device, base));
    }
    let key = format!("documents/{A}");
    for (statement, expected) in [
        ("UPDATE documents SET readers = 'y z'", [false, true, true]),
        (
            "INSERT INTO closed VALUES ('y'); UPDATE documents SET hidden = 'x'",
            [false, false, true],
        ),
        ("UPDATE documents SET readers = NULL", [false, false, false]),
        ("UPDATE documents SET readers = 'x'", [true, false, false]),
        ("UPDATE documents SET deleted_at = now()", [false, false, false]),
        ("UPDATE documents SET deleted_at = NULL, readers = 'x z'", [true, false, true]),
        ("TRUNCATE documents", [false, false, false]),
    ] {
        world.write(statement);
        for ((device, base), expected) in devices.iter_mut().zip(expected) {
            base.extend(device.pull_rows().await);
            base.retain(|_, row| row.is_some());
            assert_eq!(base.contains_key(&key), expected, "{statement} for {}", device.user);
        }
    }
    assert_eq!(world.one("SELECT count(*) FROM rejoin_member"), "0");
    world.write(&format!("INSERT INTO documents VALUES ('{A}', 'x')"));
    world.write("DELETE FROM documents");
    assert_eq!(world.one("SELECT count(*) FROM rejoin_member"), "0");
}

/// It receives the operation and the old row.
#[tokio::test]
async fn function_receives_the_old_row() {
    let world = world();
    put(&world, "x");
    let buckets = "SELECT string_agg(bucket, ',') FROM rejoin_member";
    world.write("UPDATE documents SET hidden = 'was', readers = 'y'");
    assert_eq!(world.one(buckets), "update:x");
    world.write(
        "DELETE FROM documents; INSERT INTO documents(id, hidden) SELECT gen_random_uuid(), 'was'",
    );
    assert_eq!(world.one(buckets), "create:nothing");
    world.write("UPDATE documents SET id = gen_random_uuid()");
    assert_eq!(world.one("SELECT count(*) FROM rejoin_member AS m JOIN documents AS d ON m.record_id = d.id::text"), "1");
    assert_eq!(world.one("SELECT count(*) FROM rejoin_member"), "1");
}

/// Existing rows are processed at start, also after the function was replaced.
#[tokio::test]
async fn existing_rows_get_their_buckets_at_start() {
    let mut world = world();
    put(&world, "x y");
    world.write("CREATE FUNCTION app.other(text, text, jsonb, jsonb) RETURNS SETOF text LANGUAGE sql AS 'SELECT ''doc:w'''");
    world.config.tables[0].bucket_function = Some(String::from("app.other"));
    world.restart();
    assert_eq!(readers(&world).await, ["w"]);
    world.config.tables[0].bucket_function = None;
    world.restart();
    assert_eq!(readers(&world).await, [""; 0]);
}

/// A row for which the function fails is in no bucket, the writer is not affected, and a replay
/// fixes it.
#[tokio::test]
async fn failing_function_fails_closed_and_is_replayed() {
    let world = world();
    put(&world, "x");
    world.server.grant("x", "doc:x").unwrap();
    let mut x = world.device("x", "d").await;
    let name = format!("documents/{A}");
    assert_eq!(x.snapshot(5).await, [name.as_str()]);
    for (readers, why) in [
        ("x fail", "P0001: no such reader in documents"),
        ("x y z w", "21000: 4 buckets, at most 3"),
    ] {
        put(&world, readers);
        assert_eq!(world.one("SELECT readers FROM documents"), readers, "the row is written");
        assert_eq!(x.pull().await, [format!("-{name}")]);
        let failures = world.server.bucket_failures().unwrap();
        assert_eq!(
            (failures[0].table.as_str(), failures[0].id.as_str(), failures[0].why.as_str()),
            ("documents", A, why)
        );
        let replayed = world.server.replay_buckets().unwrap();
        assert_eq!((replayed.tried, replayed.failed), (1, 1), "still failing");
        world.write("INSERT INTO closed VALUES ('fixed')");
        let replayed = world.server.replay_buckets().unwrap();
        assert_eq!((replayed.tried, replayed.failed), (1, 0));
        assert_eq!(x.pull().await, [name.as_str()]);
        world.write("DELETE FROM closed");
    }
    // A dropped function fails too.
    world.write("DROP FUNCTION app.readers");
    put(&world, "x y");
    assert_eq!(x.pull().await, [format!("-{name}")]);
    assert!(world.server.bucket_failures().unwrap()[0].why.starts_with("42883"));
}

/// Each row is in the bucket `table:id`, and `b/1` and `b/2` are below `a/1`.
pub(super) async fn serves_all_tables(world: &World) {
    assert_eq!(world.device("anna", "d").await.snapshot(9).await, ["a/1", "b/1", "b/2", "c/1"]);
    let mut ben = world.device("ben", "d").await;
    assert_eq!(ben.snapshot(9).await, ["c/1"]);
    world.server.grant("ben", "b:2").unwrap();
    assert_eq!(ben.pull().await, ["b/2"]);
    world.server.grant("ben", "a:1").unwrap();
    assert_eq!(ben.pull().await, ["a/1", "b/1", "b/2"], "children of readable rows are readable");
    world.write("UPDATE a SET id = '9'");
    super::feeder::fed(&world.server);
    assert_eq!(ben.pull().await, ["b/2", "-a/1", "-b/1"]);
}

/// One function for all tables without their own. Public tables stay public, and owners keep
/// access.
#[tokio::test]
async fn one_function_serves_all_tables() {
    let tables = "
        CREATE TABLE a(id text PRIMARY KEY, owner text, updated_at text);
        CREATE TABLE b(id text PRIMARY KEY, a_id text, updated_at text);
        CREATE TABLE c(id text PRIMARY KEY, updated_at text);
        CREATE FUNCTION all_tables(t text, o text, n jsonb, w jsonb) RETURNS SETOF text LANGUAGE sql AS $$
          SELECT t || ':' || (n->>'id') $$;
        INSERT INTO a VALUES ('1', 'anna'); INSERT INTO b VALUES ('1', '1'), ('2', '1'); INSERT INTO c VALUES ('1');";
    let world = World::postgres(tables, |config| Config {
        bucket_function: Some(String::from("all_tables")),
        ..config
            .with_table(TableConfig::owned("a", "owner"))
            .with_table(TableConfig::child("b", "a", "a_id"))
            .with_table(TableConfig::global("c"))
    });
    serves_all_tables(&world).await;
}

#[test]
fn unusable_bucket_function_is_reported_at_start() {
    let with = |config: Config, name: &str| {
        Server::open(config.with_table(TableConfig::new("t").with_bucket_function(name)))
    };
    let Err(ServerError::Config(problems)) = with(Config::new("never-made.db"), "f") else {
        panic!("it opened")
    };
    assert_eq!(problems[0].kind, ProblemKind::InvalidBucketConfig);
    let database = rejoin_postgres::Database::new();
    database.session().run(
        "CREATE TABLE t(id text PRIMARY KEY, updated_at text); CREATE FUNCTION f(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
         CREATE FUNCTION g(text, text, jsonb, jsonb) RETURNS text LANGUAGE sql AS 'SELECT $1'",
    );
    let config = || Config::postgres(database.url.as_str());
    for name in ["f", "g", "nowhere.f", "h"] {
        let Err(ServerError::Schema(problems)) = with(config(), name) else { panic!("{name}") };
        assert!(problems[0].why.contains("SETOF text"), "{name}: {problems:?}");
    }
    for name in ["f(", "a.b.c", "f; DROP TABLE t", "\"f\"", ""] {
        let Err(ServerError::Config(problems)) = with(config(), name) else { panic!("{name}") };
        assert_eq!(problems[0].kind, ProblemKind::InvalidBucketConfig, "{name}");
    }
}

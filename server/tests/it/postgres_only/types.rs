//! The schema of PostgreSQL's tables: every type and default of the contract, its hash, and the
//! cost of reading it.

use std::sync::Barrier;

use rejoin_server::{Config, Server, TableConfig};
use serde_json::{Map, Value, json};

use crate::world::{TABLES, World, standard};
use rejoin_postgres::Database;

const MADE: &str = "
    CREATE EXTENSION IF NOT EXISTS citext;
    CREATE SCHEMA other;
    CREATE TYPE mood AS ENUM ('calm', 'wild');
    CREATE TYPE \"Odd Mood\" AS ENUM ('so', 'so ''so''');
    CREATE TYPE other.mood AS ENUM ('here', 'there');
    CREATE DOMAIN share AS numeric(12, 4) CHECK (VALUE >= 0);
    CREATE DOMAIN part AS share;
    CREATE DOMAIN temper AS mood;
    CREATE DOMAIN mail AS citext;
";

/// A declared type, its manifest name, a value on the wire, and PostgreSQL's text of it.
type Of = (&'static str, &'static str, &'static str, &'static str);

/// The types of the contract in its order, followed by common types it leaves out.
const TYPES: &[Of] = &[
    ("bool", "boolean", "true", "true"),
    ("boolean", "boolean", "false", "false"),
    ("smallint", "int", "-32768", "-32768"),
    ("integer", "int", "2147483647", "2147483647"),
    ("int", "int", "-1", "-1"),
    ("serial", "int", "7", "7"),
    ("smallserial", "int", "7", "7"),
    ("bigint", "int64", "9007199254740993", "9007199254740993"),
    ("bigserial", "int64", "-9223372036854775808", "-9223372036854775808"),
    ("real", "float", "0.1", "0.1"),
    ("double precision", "float", "1e300", "1e+300"),
    ("double precision", "float", "0.30000000000000004", "0.30000000000000004"),
    (
        "numeric",
        "float",
        r#""123456789012345678901234567890.000""#,
        "123456789012345678901234567890.000",
    ),
    ("numeric(10,2)", "float", r#""12345678.90""#, "12345678.90"),
    ("decimal", "float", r#""-0.1""#, "-0.1"),
    ("text", "string", r#""h\u00e9llo \ud83d\ude00\n""#, "h\u{e9}llo \u{1f600}\n"),
    ("varchar", "string", r#""x""#, "x"),
    ("varchar(5)", "string", r#""h\u00e9llo""#, "h\u{e9}llo"),
    ("char(4)", "string", r#""ab""#, "ab"),
    (
        "uuid",
        "string",
        r#""0190a000-0000-7000-8000-00000000000a""#,
        "0190a000-0000-7000-8000-00000000000a",
    ),
    (
        "interval",
        "string",
        r#""1 year 2 mons 3 days 04:05:06.789""#,
        "1 year 2 mons 3 days 04:05:06.789",
    ),
    ("json", "json", r#""{\"b\": 1.50, \"a\": [null]}""#, r#"{"b": 1.50, "a": [null]}"#),
    ("jsonb", "json", r#""{\"a\": [1.50, null]}""#, r#"{"a": [1.50, null]}"#),
    (
        "text[]",
        "json",
        r#""[\"a\",\"NULL\",null,\"\",\"x\\\"y\"]""#,
        r#"{a,"NULL",NULL,"","x\"y"}"#,
    ),
    ("integer[][]", "json", r#""[[1,2],[3,4]]""#, "{{1,2},{3,4}}"),
    ("bytea", "bytes", r#""AP8Q""#, "\\x00ff10"),
    ("date", "date", r#""2024-02-29""#, "2024-02-29"),
    ("time", "time", r#""23:59:59.999999""#, "23:59:59.999999"),
    ("time(3)", "time", r#""09:30:00.125""#, "09:30:00.125"),
    ("time with time zone", "time", r#""09:30:00+02""#, "09:30:00+02"),
    ("timestamp", "datetime", r#""2026-11-20T06:41:50.896045Z""#, "2026-11-20 06:41:50.896045"),
    (
        "timestamp with time zone",
        "datetime",
        r#""2026-11-20T06:41:50.896045Z""#,
        "2026-11-20 06:41:50.896045+00",
    ),
    ("mood", "string", r#""wild""#, "wild"),
    ("share", "float", r#""0.2500""#, "0.2500"),
    // Not supported by v0.1.2.
    ("timestamp(3)", "datetime", r#""2026-11-20T06:41:50.896000Z""#, "2026-11-20 06:41:50.896"),
    (
        "timestamp(0) with time zone",
        "datetime",
        r#""2026-11-20T06:41:50.000000Z""#,
        "2026-11-20 06:41:50+00",
    ),
    ("citext", "string", r#""MiXed""#, "MiXed"),
    ("\"Odd Mood\"", "string", r#""so 'so'""#, "so 'so'"),
    ("other.mood", "string", r#""there""#, "there"),
    ("part", "float", r#""7.0000""#, "7.0000"),
    ("temper", "string", r#""calm""#, "calm"),
    ("mail", "string", r#""A@b.example""#, "A@b.example"),
    ("other.mood[]", "json", r#""[\"here\"]""#, "{here}"),
    ("numeric[]", "json", r#""[1.50,2]""#, "{1.50,2}"),
    ("jsonb[]", "json", r#""[{\"a\": 1}]""#, r#"{"{\"a\": 1}"}"#),
];

fn column(at: usize) -> String {
    format!("c{at}")
}

fn every_type() -> World {
    let columns: Vec<String> =
        TYPES.iter().enumerate().map(|(at, (declared, ..))| format!("c{at} {declared}")).collect();
    let tables = format!(
        "{MADE} CREATE TABLE things(id text PRIMARY KEY, owner_id text, updated_at timestamptz, {})",
        columns.join(", ")
    );
    World::postgres(&tables, |config| config.with_table(TableConfig::owned("things", "owner_id")))
}

async fn manifest(world: &World) -> (Value, String) {
    let headers = [(String::from("X-User-ID"), String::from("anna"))];
    let (status, _, body) = world.server.handle("GET", "/sync/schema", &headers, "").await;
    assert_eq!(status, 200);
    (serde_json::from_slice(&body).unwrap(), String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn every_type_is_mapped_and_its_values_round_trip() {
    let world = every_type();
    let (manifest, _) = manifest(&world).await;
    let columns = manifest["tables"][0]["columns"].as_array().unwrap();
    for (at, (declared, logical, ..)) in TYPES.iter().enumerate() {
        let found = columns.iter().find(|found| found["name"] == column(at)).unwrap();
        assert_eq!(found["logical_type"], *logical, "{declared}");
    }
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    let sent: Map<String, Value> = TYPES
        .iter()
        .enumerate()
        .map(|(at, (.., value, _))| (column(at), serde_json::from_str(value).unwrap()))
        .collect();
    let create = json!([{"operation": "create", "table_name": "things", "id": "t1", "data": sent}]);
    anna.accept("m1", create).await;
    let row = anna.pull_rows().await["things/t1"].clone().unwrap();
    let session = world.database.as_ref().unwrap().session();
    session.run("SET TimeZone = 'UTC'");
    for (at, (declared, _, _, stored)) in TYPES.iter().enumerate() {
        let has = session.cells(&format!("SELECT {}::text FROM things", column(at))).unwrap();
        assert_eq!(has[0][0].as_deref(), Some(*stored), "{declared}");
        assert_eq!(row[column(at)], sent[&column(at)], "{declared}");
    }
    // The returned value equals the stored one: an edit based on it has no conflict.
    let same = json!([{"operation": "update", "table_name": "things", "id": "t1", "data": sent, "old": row_of(&row, &sent)}]);
    anna.accept("m2", same).await;
}

fn row_of(row: &Value, sent: &Map<String, Value>) -> Value {
    sent.keys().map(|name| (name.clone(), row[name].clone())).collect::<Map<_, _>>().into()
}

/// A declared type, its default, the manifest's form, and SQLite's.
const DEFAULTS: &[(&str, &str, &str, Option<&str>)] = &[
    ("text", "", "none", None),
    ("text", "DEFAULT NULL", "none", None),
    ("boolean", "DEFAULT true", "portable", Some("1")),
    ("boolean", "DEFAULT false", "portable", Some("0")),
    ("integer", "DEFAULT 7", "portable", Some("7")),
    ("integer", "DEFAULT -7", "portable", Some("-7")),
    ("bigint", "DEFAULT 9007199254740993", "portable", Some("9007199254740993")),
    ("numeric(10,2)", "DEFAULT 1.50", "portable", Some("1.50")),
    ("double precision", "DEFAULT 0.5", "portable", Some("0.5")),
    ("text", "DEFAULT 'it''s'", "portable", Some("'it''s'")),
    ("varchar(9)", "DEFAULT ('x'::text)", "portable", Some("'x'")),
    ("mood", "DEFAULT 'calm'", "portable", Some("'calm'")),
    ("jsonb", "DEFAULT '{\"a\": 1}'", "portable", Some("'{\"a\": 1}'")),
    ("json", "DEFAULT '[]'", "portable", Some("'[]'")),
    ("text[]", "DEFAULT '{}'", "portable", Some("'[]'")),
    ("timestamptz", "DEFAULT now()", "portable", Some("CURRENT_TIMESTAMP")),
    ("timestamptz", "DEFAULT CURRENT_TIMESTAMP", "portable", Some("CURRENT_TIMESTAMP")),
    ("timestamptz", "DEFAULT transaction_timestamp()", "portable", Some("CURRENT_TIMESTAMP")),
    ("timestamptz", "DEFAULT statement_timestamp()", "portable", Some("CURRENT_TIMESTAMP")),
    ("date", "DEFAULT CURRENT_DATE", "portable", Some("CURRENT_DATE")),
    ("uuid", "DEFAULT gen_random_uuid()", "server_only", None),
    ("integer", "GENERATED BY DEFAULT AS IDENTITY", "server_only", None),
    ("bigserial", "", "server_only", None),
    ("text", "DEFAULT ('a' || 'b')", "server_only", None),
    ("text", "DEFAULT CURRENT_USER", "server_only", None),
    ("text[]", "DEFAULT ARRAY['a']", "server_only", None),
    ("bytea", "DEFAULT '\\x00'", "server_only", None),
];

#[tokio::test]
async fn defaults_are_mapped_or_left_to_the_server() {
    let columns: Vec<String> = DEFAULTS
        .iter()
        .enumerate()
        .map(|(at, (declared, default, ..))| format!("c{at} {declared} {default}"))
        .collect();
    let tables = format!(
        "{MADE} CREATE TABLE things(id text PRIMARY KEY, owner_id text, updated_at timestamptz, {})",
        columns.join(", ")
    );
    let world = World::postgres(&tables, |config| {
        config.with_table(TableConfig::owned("things", "owner_id"))
    });
    let (manifest, _) = manifest(&world).await;
    let columns = manifest["tables"][0]["columns"].as_array().unwrap();
    for (at, (declared, default, kind, sqlite)) in DEFAULTS.iter().enumerate() {
        let found = columns.iter().find(|found| found["name"] == column(at)).unwrap();
        let has = (found["default_kind"].as_str(), found["sqlite_default_sql"].as_str());
        assert_eq!(has, (Some(*kind), *sqlite), "{declared} {default}: {found}");
    }
    // v0.1.2 refuses such a table: NOT NULL with a default that devices cannot compute. Here the
    // server fills it in.
    let mut anna = world.device("anna", "a1").await;
    let create = json!([{"operation": "create", "table_name": "things", "id": "t1", "data": {}}]);
    anna.accept("m1", create).await;
    assert_eq!(world.one("SELECT (c22 IS NOT NULL AND c20 IS NOT NULL)::text FROM things"), "true");
}

/// v0.1.2 reads and hashes all tables and takes a server-wide lock for each request.
#[tokio::test]
async fn schema_is_cached_between_requests() {
    let world = World::postgres(TABLES, standard);
    let session = world.database.as_ref().unwrap().session();
    let looks = |tables: &str| -> i64 {
        let sum = "SELECT coalesce(sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)), 0) FROM pg_stat_user_tables";
        let sql = format!("{sum} WHERE schemaname = 'rejoin' AND relname IN ({tables})");
        session.one(&sql).parse().unwrap()
    };
    let at_devices = || looks("'client'");
    let at_schema = || looks("'schema_version', 'column_identity', 'table_number'");
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    // PostgreSQL publishes a session's statistics about once a second, with its next statement.
    for (pulls, most) in [(1, i64::MAX), (50, 0)] {
        let (devices, schema) = (at_devices(), at_schema());
        for _ in 0..pulls {
            anna.pull().await;
        }
        while at_devices() < devices + pulls {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            anna.pull().await;
        }
        assert!(at_schema() - schema <= most, "{} looks at the schema", at_schema() - schema);
    }
}

#[test]
fn twenty_concurrent_starts_create_one_schema() {
    let database = Database::new();
    database.session().run(TABLES);
    let config = standard(Config::postgres(database.url.as_str()));
    let (barrier, config) = (Barrier::new(20), &config);
    let versions: Vec<i64> = std::thread::scope(|scope| {
        let start = || {
            barrier.wait();
            let server = Server::open(config.clone()).unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let headers = [(String::from("X-User-ID"), String::from("anna"))];
            let (_, _, body) = runtime.block_on(server.handle("GET", "/sync/schema", &headers, ""));
            let manifest: Value = serde_json::from_slice(&body).unwrap();
            manifest["schema_version"].as_i64().unwrap()
        };
        let starts: Vec<_> = (0..20).map(|_| scope.spawn(start)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(versions, [1; 20]);
    assert_eq!(database.one("SELECT count(*) FROM rejoin.schema_version"), "1");
    assert_eq!(
        database.one("SELECT count(*) FROM rejoin.column_identity WHERE table_number = 1"),
        "3"
    );
}

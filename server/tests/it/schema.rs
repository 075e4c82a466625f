//! The schema that the server reads from the application's tables and sends to devices, and tables
//! it refuses.

use macro_rules_attribute::apply;
use rejoin_protocol::Manifest;
use rejoin_protocol::manifest::{ReferenceAction, Rule};
use rejoin_server::{Config, Server, ServerError, TableConfig};
use serde_json::json;

use crate::world::{Backend, World, ended, place, rename, update};

pub(crate) async fn manifest(world: &World, extended: bool) -> Manifest {
    let mut headers = vec![("X-User-ID", "anna")];
    if extended {
        headers.push(("Rejoin-Protocol", "1"));
    }
    let (status, _, body) = world.send("GET", "/sync/schema", &headers, "").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_value(body).unwrap()
}

pub(crate) const ALL_TYPES: &str = "CREATE TABLE things(
    id UUID PRIMARY KEY, a VARCHAR(20) DEFAULT 'it''s', b INT DEFAULT 7, c SMALLINT, d BOOLEAN DEFAULT TRUE,
    e DOUBLE PRECISION, f DECIMAL(10,2), g TIMESTAMP DEFAULT CURRENT_TIMESTAMP, h DATE, i TIME, j JSON, k BLOB,
    l TEXT DEFAULT (lower('X')), m TEXT GENERATED ALWAYS AS (upper(a)) STORED, owner TEXT NOT NULL,
    n TEXT NOT NULL, updated_at TEXT NOT NULL, created_at TEXT, deleted_at DATETIME);
    CREATE INDEX things_by_a ON things(a, b);
    CREATE INDEX things_some ON things(a) WHERE b > 3;
    CREATE INDEX things_lower ON things(lower(a));";

pub(crate) fn owned(config: Config) -> Config {
    config.with_table(TableConfig::owned("things", "owner"))
}

#[apply(stores!)]
async fn plain_manifest_has_no_extensions_and_a_matching_hash(backend: Backend) {
    let world = World::with(backend, ALL_TYPES, owned);
    let plain = manifest(&world, false).await;
    assert!(plain.rejoin.is_none() && plain.tables.iter().all(|table| table.rejoin.is_none()));
    assert_eq!(plain.schema_hash, plain.hash());
    let ours = manifest(&world, true).await;
    assert_eq!(ours.schema_hash, plain.schema_hash);
    assert_eq!(ours.rejoin.as_ref().unwrap().rules_hash, ours.rules_hash());
    let (_, _, tables) = world.send("GET", "/sync/tables", &[("X-User-ID", "anna")], "").await;
    assert_eq!(tables["tables"][0]["dependencies"], json!([]));
    assert_eq!(tables["tables"][0]["columns"], json!(null));
}

#[apply(stores!)]
async fn references_are_synced_and_checks_stay_on_the_server(backend: Backend) {
    let tables = "CREATE TABLE a(id TEXT PRIMARY KEY, owner TEXT, n INTEGER CHECK (n > 0), updated_at TEXT);
        CREATE TABLE elsewhere(id TEXT PRIMARY KEY);
        CREATE TABLE b(id TEXT PRIMARY KEY, a_id TEXT REFERENCES a(id) ON DELETE CASCADE, updated_at TEXT,
          z TEXT REFERENCES elsewhere(id));";
    let world = World::with(backend, tables, |config| {
        let declared =
            Rule::Check { name: String::from("small"), expression: String::from("n < 9") };
        let first = TableConfig { rules: vec![declared], ..TableConfig::owned("a", "owner") };
        config.with_table(first).with_table(TableConfig::child("b", "a", "a_id"))
    });
    let manifest = manifest(&world, true).await;
    let rules = |at: usize| manifest.tables[at].rejoin.clone().unwrap().rules;
    assert!(matches!(&rules(0)[..], [Rule::Check { name, .. }] if name == "small"));
    let expected = Rule::References {
        column: String::from("a_id"),
        table: String::from("a"),
        on_delete: ReferenceAction::Cascade,
        on_update: ReferenceAction::NoAction,
    };
    assert_eq!(rules(1), [expected]);
}

#[apply(stores!)]
async fn schema_change_is_detected_without_restart(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    let before = (anna.version, anna.hash.clone());
    world.write("ALTER TABLE places ADD COLUMN colour TEXT DEFAULT 'grey'");
    let (status, answer) =
        anna.post("/sync/pull", json!({"rejoin": {"cursor": anna.cursor}})).await;
    assert_eq!((status, &answer["code"]), (409, &json!("schema_mismatch")));
    anna.register().await;
    assert_ne!((anna.version, anna.hash.clone()), before);
    assert!(anna.pull().await.is_empty(), "an additive change asks for no rebuild");
    world.write("INSERT INTO places(id, owner_id, name, colour) VALUES('p1', 'anna', 'x', 'red')");
    let rows = anna.pull_rows().await;
    assert_eq!(rows["places/p1"].as_ref().unwrap()["colour"], "red");
    world.write("ALTER TABLE places DROP COLUMN colour");
    anna.register().await;
    assert_eq!(anna.hash, before.1, "the old hash");
    assert_eq!(anna.version, before.0, "and, with the same columns, the old version");
    world.write("ALTER TABLE places ADD COLUMN colour TEXT DEFAULT 'grey'");
    anna.register().await;
    assert_eq!(anna.version, before.0 + 2, "the name came back, the column is another");
}

/// v0.1.2 answers 500 to every request once any table has a column of unknown type.
#[apply(stores!)]
async fn added_column_of_unknown_type_is_ignored(world: World) {
    let mut anna = world.device("anna", "a1").await;
    anna.snapshot(10).await;
    let hash = anna.hash.clone();
    let (odd, message) = if world.database.is_some() {
        ("point", "places.shape: the type 'point' is not synced")
    } else {
        ("GEOMETRY", "places.shape: the type 'geometry' is not synced")
    };
    world.write(&format!("ALTER TABLE places ADD COLUMN shape {odd}"));
    world.write("INSERT INTO places(id, owner_id, name) VALUES('p1', 'anna', 'x')");
    let rows = anna.pull_rows().await;
    assert!(rows["places/p1"].as_ref().unwrap().get("shape").is_none());
    assert_eq!(manifest(&world, true).await.schema_hash, hash);
    let shaped = update("places", "p1", &json!({"shape": null}), &json!({"shape": "(1,2)"}));
    let (verdict, _) = anna.push("m1", json!([shaped])).await;
    assert_eq!(verdict.code.as_deref(), Some("column.unknown"));
    // A strict start names the column.
    let strict = Config { strict: true, ..world.config.clone() };
    let problems = Server::open(strict).unwrap_err().to_string();
    assert!(problems.contains(message), "{problems}");
    assert_eq!(world.server.left_out().unwrap().len(), 1);
}

#[apply(stores!)]
fn file_of_a_newer_server_is_not_changed(world: World) {
    world.write("UPDATE rejoin_meta SET value = '99' WHERE key = 'migration'");
    let found = Server::open(world.config.clone());
    assert!(matches!(found, Err(ServerError::TooNew { found: 99, .. })), "{found:?}");
}

#[apply(stores!)]
async fn names_with_quotes_spaces_and_unicode_work(backend: Backend) {
    let script = "\u{540d}\u{524d}";
    let tables = r#"CREATE TABLE "ta ""ble"("k ey" TEXT PRIMARY KEY, "b'esitzer" TEXT, "SCRIPT" TEXT,
             "select" INTEGER, updated_at TEXT, deleted_at TEXT) WITHOUT ROWID;
           CREATE TABLE "kind ]"(id TEXT PRIMARY KEY, "el tern" TEXT, updated_at TEXT);"#;
    let world = World::with(backend, &tables.replace("SCRIPT", script), |config| {
        config
            .with_table(TableConfig::owned("ta \"ble", "b'esitzer"))
            .with_table(TableConfig::child("kind ]", "ta \"ble", "el tern"))
    });
    let mut anna = world.device("anna", "a1").await;
    let create = json!([
        {"operation": "create", "table_name": "ta \"ble", "id": "x", "data": {script: "y", "select": 1}},
        {"operation": "create", "table_name": "kind ]", "id": "c", "data": {"el tern": "x"}}]);
    let rows = anna.accept("m1", create).await;
    assert!(rows.iter().all(|row| !row.absent));
    let mut ben = world.device("ben", "b").await;
    let page = ben.snapshot_page(None, 10).await.rejoin.unwrap();
    assert!(page.sets.is_empty());
    world.write(r#"UPDATE "ta ""ble" SET "b'esitzer" = 'ben'"#);
    assert_eq!(ben.snapshot_page(None, 10).await.rejoin.unwrap().sets.len(), 2);
}

/// Verdicts outlive schema changes: the verdict is looked up first.
#[apply(stores!)]
async fn verdict_is_repeated_to_a_device_of_an_unknown_schema(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let good = anna.group("m1", &json!([place("p1", "Quay")]));
    let bad = anna.group("m2", &json!([rename("p1", "Pier", "Dock")]));
    let new = anna.group("m3", &json!([place("p2", "Mole")]));
    let verdicts = [anna.push_group(good.clone()).await.0, anna.push_group(bad.clone()).await.0];
    assert_eq!(verdicts.each_ref().map(ended), ["accepted -", "conflict row.changed"]);
    (anna.version, anna.hash) = (anna.version + 7, String::from("of no schema"));
    for (group, verdict) in [good, bad].into_iter().zip(&verdicts) {
        assert_eq!(&anna.push_group(group).await.0, verdict);
    }
    let rejoin = json!({"epoch": anna.epoch, "groups": [new], "acked_below": 0});
    let (status, answer) = anna.post("/sync/push", json!({"changes": [], "rejoin": rejoin})).await;
    assert_eq!((status, &answer["code"]), (409, &json!("schema_mismatch")));
}

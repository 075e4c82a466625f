//! Tables that can no longer be synced are left out, and stop nothing else.

use macro_rules_attribute::apply;
use rejoin_server::{Config, Server, ServerError, TableConfig};
use serde_json::{Value, json};

use crate::schema::manifest;
use crate::world::{Backend, World};

const TABLES: &str = "
    CREATE TABLE good(id TEXT PRIMARY KEY, owner TEXT, name TEXT, updated_at TEXT);
    CREATE TABLE t(id TEXT PRIMARY KEY, owner TEXT, name TEXT, updated_at TEXT);
    CREATE TABLE below(id TEXT PRIMARY KEY, t_id TEXT, updated_at TEXT);";

fn three(config: Config) -> Config {
    config
        .with_table(TableConfig::owned("good", "owner"))
        .with_table(TableConfig::owned("t", "owner"))
        .with_table(TableConfig::child("below", "t", "t_id"))
}

async fn names(world: &World) -> Vec<String> {
    manifest(world, true).await.tables.into_iter().map(|table| table.table_name).collect()
}

async fn readiness(world: &World) -> (u16, Value) {
    let (status, _, body) = world.send("GET", "/readyz", &[], "").await;
    (status, body)
}

#[apply(stores!)]
async fn unsyncable_table_stops_no_other(backend: Backend) {
    let breaks = [
        ("ALTER TABLE t RENAME TO t2", "ALTER TABLE t2 RENAME TO t"),
        (
            "ALTER TABLE t RENAME COLUMN updated_at TO at",
            "ALTER TABLE t RENAME COLUMN at TO updated_at",
        ),
    ];
    for (bad, healed) in breaks {
        let world = World::with(backend, TABLES, three);
        let mut anna = world.device("anna", "a1").await;
        world.write(bad);
        anna.register().await;
        assert_eq!(names(&world).await, ["good"], "{bad}");
        let made = json!([{"operation": "create", "table_name": "good", "id": "g", "data": {"name": "x"}}]);
        anna.accept("m1", made).await;
        let lost =
            json!([{"operation": "create", "table_name": "t", "id": "x", "data": {"name": "x"}}]);
        let (verdict, _) = anna.push("m2", lost).await;
        assert_eq!(verdict.code.as_deref(), Some("table.unknown"), "{bad}");
        let (status, _, _) = world.send("GET", "/healthz", &[], "").await;
        assert_eq!(status, 200, "{bad}");
        let (status, body) = readiness(&world).await;
        assert_eq!((status, &body["status"]), (200, &json!("degraded")), "{body}");
        let left_out = body["left_out"].as_array().unwrap();
        let tables: Vec<&Value> = left_out.iter().map(|left_out| &left_out["table"]).collect();
        assert_eq!(tables, ["t", "below"], "{body}");
        // It starts with what works, unless it is strict.
        let again = Server::open(world.config.clone()).unwrap();
        assert_eq!(again.left_out().unwrap().len(), 2);
        let strict = Config { strict: true, ..world.config.clone() };
        assert!(matches!(Server::open(strict), Err(ServerError::Schema(_))), "{bad}");
        world.write(healed);
        assert_eq!(names(&world).await, ["below", "good", "t"], "{bad}");
        let (status, body) = readiness(&world).await;
        assert_eq!((status, &body["status"]), (200, &json!("ready")), "{body}");
    }
}

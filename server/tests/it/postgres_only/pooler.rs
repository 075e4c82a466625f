//! A PgBouncer that gives each transaction one of three sessions, between server and database.

use std::sync::Arc;

use futures_util::future::join_all;
use rejoin_postgres::{Database, Pooler, Session};
use rejoin_protocol::Value;
use rejoin_server::Server;
use rejoin_server::hooks::{AcceptedChanges, Hooks, Veto, Within};
use serde_json::json;

use crate::world::{Backend, TABLES, World, place, standard};

fn pooled() -> World {
    World::with(Backend::PostgresPooled, TABLES, standard)
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_two_nodes_share_three_sessions() {
    let world = pooled();
    let node = world.node();
    let (nodes, ids) = ([&world, &node], 0..12);
    join_all(ids.map(|number| async move {
        let mut device = nodes[number % 2].device("anna", &format!("d{number}")).await;
        device.snapshot(50).await;
        for turn in 0..10 {
            let row = place(&format!("p{number}-{turn}"), "x");
            device.accept(&format!("m{number}-{turn}"), json!([row])).await;
            device.pull().await;
        }
    }))
    .await;
    assert_eq!(world.one("SELECT count(*) FROM places"), "120");
    let mut last = node.device("anna", "last").await;
    assert_eq!(last.snapshot(50).await.len(), 120);
    let session = Session::to(&world.pooler.as_ref().unwrap().url);
    for _ in 0..20 {
        let left = session.one("SELECT count(*) FROM pg_prepared_statements");
        assert_eq!(left, "0", "a name that the next user of the session may want");
    }
}

/// Asks with a parameter and a column of a type for which the driver has to ask.
#[derive(Debug)]
struct Asking;

impl Hooks for Asking {
    fn accepted(&self, _: &AcceptedChanges<'_>, within: &Within<'_>) -> Result<(), Veto> {
        let mood = Value::Text(String::from("glad"));
        let found = within.query("SELECT mood FROM moods WHERE mood = :mood", &[("mood", mood)])?;
        assert_eq!(found, [[Value::Text(String::from("glad"))]]);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_use_types_that_the_database_defines() {
    let moods = "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TABLE moods(mood mood);
        INSERT INTO moods VALUES('glad');";
    let configure = |config| standard(config).with_hooks(Arc::new(Asking));
    let tables = format!("{TABLES}{moods}");
    let world = World::with(Backend::PostgresPooled, &tables, configure);
    let node = world.node();
    let nodes = [&world, &node];
    join_all((0..6).map(|number| async move {
        let mut device = nodes[number % 2].device("anna", &format!("d{number}")).await;
        for turn in 0..10 {
            let row = place(&format!("p{number}-{turn}"), "x");
            device.accept(&format!("m{number}-{turn}"), json!([row])).await;
        }
    }))
    .await;
}

/// The pooler's sessions have the settings of the database, which may be any.
#[tokio::test]
async fn rows_are_read_with_the_servers_settings() {
    let mut world = pooled();
    let name = world.one("SELECT current_database()");
    for setting in ["DateStyle = 'German'", "TimeZone = 'Asia/Tokyo'", "bytea_output = 'escape'"] {
        world.database().run(&format!("ALTER DATABASE {name} SET {setting}"));
    }
    let pooler = Pooler::to(&world.database().url, 3);
    world.config.pooler = Some(pooler.url.as_str().into());
    world.restart();
    let mut device = world.device("anna", "a1").await;
    device.accept("m1", json!([place("p1", "x")])).await;
    let rows = device.snapshot_rows().await;
    world.config.pooler = None;
    world.restart();
    let mut device = world.device("anna", "a2").await;
    assert_eq!(device.snapshot_rows().await, rows);
    assert_eq!(rows.len(), 1);
}

#[test]
fn pooler_of_another_database_is_refused() {
    let world = pooled();
    let other = Database::new();
    let pooler = Pooler::to(&other.url, 3);
    let mut config = world.config.clone();
    config.pooler = Some(pooler.url.as_str().into());
    let error = Server::open(config.clone()).unwrap_err().to_string();
    assert!(error.contains("the pooler leads to another database than store"), "{error}");
    drop(pooler);
    let error = Server::open(config).unwrap_err().to_string();
    assert!(error.contains("the pooler cannot be used"), "{error}");
}

//! A PgBouncer that gives each transaction one of three sessions, between server and database.

use std::sync::Arc;

use futures_util::future::join_all;
use rejoin_postgres::{Database, Pooler, Session};
use rejoin_protocol::Value;
use rejoin_server::hooks::{AcceptedChanges, Hooks, Veto, Within};
use rejoin_server::{Server, TableConfig};
use serde_json::json;

use crate::world::{Backend, TABLES, World, place, standard};

fn pooled() -> World {
    World::with(Backend::PostgresPooled, TABLES, standard)
}

/// The pooler uses its sessions in turn.
fn assert_sessions_have_no_names(world: &World) {
    let session = Session::to(&world.pooler.as_ref().unwrap().url);
    for _ in 0..6 {
        let left = session.one("SELECT count(*) FROM pg_prepared_statements");
        assert_eq!(left, "0", "a name that the next user of the session may want");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_two_nodes_share_three_sessions() {
    let mut world = pooled();
    let node = world.node();
    let nodes = [&world, &node];
    join_all((0..12).map(|number| async move {
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
    assert_sessions_have_no_names(&world);
    let mut last = node.device("anna", "last").await;
    assert_eq!(last.snapshot(50).await.len(), 120);
    drop(world.pooler.take());
    let (status, answer) = last.post("/sync/pull", json!({"limit": 10})).await;
    assert_eq!(status, 503, "requests use the pooler: {answer}");
}

/// Asks with a parameter and a column of a type that the driver does not know.
#[derive(Debug)]
struct Asking;

impl Hooks for Asking {
    fn accepted(&self, _: &AcceptedChanges<'_>, within: &Within<'_>) -> Result<(), Veto> {
        let mood = Value::Text(String::from("glad"));
        let found = within.query("SELECT mood FROM moods WHERE mood = :mood", &[("mood", mood)])?;
        assert_eq!(found, [[Value::Text(String::from("glad"))]]);
        assert!(within.query("SELECT mood FROM moods WHERE false", &[])?.is_empty());
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
    assert_sessions_have_no_names(&world);
}

/// The pooler's sessions have the settings of the database, which may be any.
#[tokio::test]
async fn requests_do_not_depend_on_the_settings_of_the_sessions() {
    let table = "CREATE TABLE kinds(id TEXT PRIMARY KEY, owner_id TEXT, at TIMESTAMPTZ, day DATE,
        span INTERVAL, number FLOAT8, bytes BYTEA, updated_at TIMESTAMPTZ)";
    let serve = |config: rejoin_server::Config| {
        standard(config).with_table(TableConfig::owned("kinds", "owner_id"))
    };
    let mut world = World::with(Backend::PostgresPooled, &format!("{TABLES}{table};"), serve);
    world.database().run(
        "INSERT INTO kinds VALUES('k1', 'anna', '2026-11-28 12:00Z', '2026-11-28', '1 day 2 hours', 0.1, '\\x0001', now())",
    );
    let name = world.one("SELECT current_database()");
    for setting in [
        "DateStyle = 'German'",
        "IntervalStyle = 'iso_8601'",
        "TimeZone = 'Asia/Tokyo'",
        "bytea_output = 'escape'",
        "extra_float_digits = -3",
        "default_transaction_isolation = 'repeatable read'",
        "default_transaction_read_only = on",
    ] {
        world.database().run(&format!("ALTER DATABASE {name} SET {setting}"));
    }
    let pooler = Pooler::to(&world.database().url, 3);
    world.config.pooler = Some(pooler.url.as_str().into());
    world.restart();
    let mut device = world.device("anna", "a1").await;
    device.accept("m1", json!([place("p1", "x")])).await;
    let rows = device.snapshot_rows().await;
    assert_eq!(rows.len(), 2);
    device.pull().await;
    world.config.pooler = None;
    world.restart();
    let mut device = world.device("anna", "a2").await;
    assert_eq!(device.snapshot_rows().await, rows);
}

/// Otherwise it would end with a request that waits no longer, and start over with the next one.
#[tokio::test]
async fn numbering_goes_on_when_its_connection_is_closed() {
    let mut world = pooled();
    let name = world.one("SELECT current_database()");
    world.database().run(&format!(
        "ALTER DATABASE {name} SET client_connection_check_interval = '10s';
         CREATE TABLE seen(value TEXT);
         ALTER FUNCTION rejoin.sequence() RENAME TO numbers;
         CREATE FUNCTION rejoin.sequence() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
           INSERT INTO public.seen VALUES (current_setting('client_connection_check_interval'));
           RETURN rejoin.numbers(); END $$;"
    ));
    let pooler = Pooler::to(&world.database().url, 3);
    world.config.pooler = Some(pooler.url.as_str().into());
    world.restart();
    let mut device = world.device("anna", "a1").await;
    device.accept("m1", json!([place("p1", "x")])).await;
    assert_eq!(device.snapshot_rows().await.len(), 1);
    assert_eq!(world.one("SELECT string_agg(DISTINCT value, ' ') FROM seen"), "0");
}

#[test]
fn pooler_that_does_not_lead_to_the_store_is_refused() {
    let world = pooled();
    let role = format!("{}_pooled", world.one("SELECT current_database()"));
    world.database().run(&format!("CREATE ROLE {role} LOGIN SUPERUSER"));
    let as_other_role = world.database().url.replace("//postgres@", &format!("//{role}@"));
    assert_ne!(as_other_role, world.database().url);
    let elsewhere = super::cluster();
    let name = world.one("SELECT current_database()");
    Session::to(&elsewhere.url("postgres")).run(&format!("CREATE DATABASE {name}"));
    let mut config = world.config.clone();
    for url in [Database::new().url.clone(), as_other_role, elsewhere.url(&name)] {
        let pooler = Pooler::to(&url, 3);
        config.pooler = Some(pooler.url.as_str().into());
        let error = Server::open(config.clone()).unwrap_err().to_string();
        assert!(error.contains("the pooler leads to another database, role or"), "{url}: {error}");
    }
    let error = Server::open(config).unwrap_err().to_string();
    assert!(error.contains("the pooler cannot be used"), "{error}");
    world.database().run(&format!("DROP ROLE {role}"));
}

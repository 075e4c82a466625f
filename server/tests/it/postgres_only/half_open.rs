//! A network between server and database that silently drops packets, and statements that do not
//! end.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rejoin_postgres::Database;
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::store::{NodeNotice, Store as _};
use rejoin_server::{ActionConfig, Config};
use serde_json::json;

use super::proxy::Proxy;
use crate::world::{TABLES, World, ended, place, rename, standard};

/// Time within which a request on a dead connection is answered: the statement timeout, its margin,
/// a failed connection attempt, and reserve for a slow machine.
const ANSWERED: Duration = Duration::from_secs(20);

/// A server behind a proxy, with a statement timeout of one second set in the URL.
fn behind_a_proxy() -> (World, Proxy) {
    let database = Database::new();
    database.session().run(TABLES);
    let proxy = Proxy::to(&database.url);
    let mut world = World::over(database, standard);
    let parameters = "connect_timeout=1&keepalives_idle=1&options=-c%20statement_timeout%3D1s";
    world.config.store = Some(format!("{}?{parameters}", proxy.url).into());
    world.restart();
    (world, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_packets_end_requests_with_503_until_the_network_is_back() {
    let (world, proxy) = behind_a_proxy();
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    let group = anna.group("m2", &json!([rename("p1", "Quay", "Pier")]));
    let rejoin = json!({"epoch": anna.epoch, "groups": [group], "acked_below": 0});
    let push = json!({"changes": [], "rejoin": rejoin});
    let pull = json!({"rejoin": {"cursor": anna.cursor}});
    proxy.drop_packets(true);
    for (path, body) in [("/sync/push", push), ("/sync/pull", pull)] {
        let since = Instant::now();
        let (status, answer) = anna.post(path, body).await;
        assert_eq!((status, &answer["retryable"]), (503, &json!(true)), "{path}: {answer}");
        assert!(since.elapsed() < ANSWERED, "{path}: {:?}", since.elapsed());
    }
    proxy.drop_packets(false);
    tokio::time::sleep(Duration::from_millis(500)).await; // The pause after a failed connection.
    assert_eq!(ended(&anna.push_group(group).await.0), "accepted -");
    assert_eq!(world.one("SELECT name FROM places"), "Pier");
}

#[tokio::test]
async fn silent_listener_reconnects() {
    let (world, proxy) = behind_a_proxy();
    let (sender, heads) = channel();
    let url = world.config.store.clone().unwrap();
    let wait = Duration::from_secs(1);
    let now = "2026-11-20T08:00:00.000000Z";
    let store = PostgresStore::open(&url, &world.config.tables, wait, now).unwrap();
    store.listen(Arc::new(move |head| sender.send(head).is_ok()));
    let mut position = 0;
    let mut is_notified = |most: u64| {
        let since = Instant::now();
        let first = position + 1;
        while since.elapsed() < Duration::from_secs(most) {
            position += 1;
            world.database().run(&format!("NOTIFY rejoin, '{position}'"));
            // The notice of missed entries may come first, and heads may come late.
            let is_new = |found| matches!(found, NodeNotice::Head(head) if head >= first);
            if heads.recv_timeout(Duration::from_millis(300)).is_ok_and(is_new) {
                return true;
            }
        }
        false
    };
    assert!(is_notified(10), "it listens");
    proxy.drop_packets(true);
    assert!(!is_notified(2), "nothing comes through");
    proxy.drop_packets(false);
    assert!(is_notified(20), "it has connected again");
}

/// Notices of other nodes may have come before.
#[tokio::test]
async fn listener_that_connects_late_wakes_every_device() {
    let (world, proxy) = behind_a_proxy();
    let (sender, notices) = channel();
    let url = world.config.store.clone().unwrap();
    let now = "2026-11-20T08:00:00.000000Z";
    let wait = Duration::from_secs(1);
    let store = PostgresStore::open(&url, &world.config.tables, wait, now).unwrap();
    proxy.drop_packets(true);
    store.listen(Arc::new(move |notice| sender.send(notice).is_ok()));
    assert!(notices.recv_timeout(Duration::from_secs(3)).is_err(), "it is not connected");
    proxy.drop_packets(false);
    let notice = notices.recv_timeout(ANSWERED).expect("it has connected");
    let NodeNotice::Log(touched) = notice else { panic!("{notice:?}") };
    assert_eq!(touched[0].bucket, "");
}

/// A waiting trigger of the application is cancelled; the sequencer is not, since it would have to
/// start over each time.
#[tokio::test(flavor = "multi_thread")]
async fn statement_of_a_push_is_limited_and_the_sequencer_is_not() {
    let (world, _proxy) = behind_a_proxy();
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    anna.snapshot(100).await;
    world.database().session().run(
        "CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
         CREATE TRIGGER waits BEFORE UPDATE ON places FOR EACH ROW WHEN (NEW.name = 'wait') EXECUTE FUNCTION waits();
         ALTER FUNCTION rejoin.sequence() RENAME TO numbers;
         CREATE FUNCTION rejoin.sequence() RETURNS bigint LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_sleep(1.5); RETURN rejoin.numbers(); END $$;",
    );
    let since = Instant::now();
    let (verdict, _) = anna.push("m2", json!([rename("p1", "Quay", "wait")])).await;
    assert_eq!(ended(&verdict), "retry transient");
    assert!(since.elapsed() < ANSWERED, "{:?}", since.elapsed());
    anna.accept("m3", json!([rename("p1", "Quay", "Pier")])).await;
    assert_eq!(anna.pull().await, ["places/p1"]);
}

/// The server's sessions have all these timeouts if the URL sets none; an action check reads them.
#[tokio::test]
async fn sessions_have_default_timeouts() {
    let expected = [
        ("statement_timeout", "30s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("tcp_keepalives_idle", "15"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
        // Or the sequencer would end with a request that waits no longer.
        ("client_connection_check_interval", "0"),
    ];
    let check = |(name, value)| ("current_setting('", name, "') = '", value);
    let action = expected.map(check).into_iter().fold(
        ActionConfig::new("look"),
        |action, (before, name, between, value)| {
            action.with_check(format!("SELECT {before}{name}{between}{value}'"), name)
        },
    );
    let database = Database::new();
    database.session().run(TABLES);
    let checks = "ALTER DATABASE %I SET client_connection_check_interval = ''10s''";
    let sql = format!("DO $$ BEGIN EXECUTE format('{checks}', current_database()); END $$");
    database.session().run(&sql);
    let world =
        World::over(database, |config: Config| standard(config).with_action(action.clone()));
    let mut anna = world.device("anna", "a1").await;
    let mut group = anna.group("m1", &json!([place("p1", "Quay")]));
    group["action"] = json!({"name": "look", "version": 1, "arguments": {}});
    let (verdict, _) = anna.push_group(group).await;
    assert_eq!((ended(&verdict).as_str(), verdict.message), ("accepted -", None));
}

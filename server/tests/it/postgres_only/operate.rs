//! Operators of a PostgreSQL database: manual migrations, several servers.

use std::process::Command;
use std::time::{Duration, Instant};

use rejoin_protocol::wire::push::Ending;
use rejoin_server::{Config, Server};
use serde_json::json;

use crate::world::{TABLES, World, place, standard};
use rejoin_postgres::Database;

/// Rejoin's schema from the catalogue, and the contents of `meta`.
fn catalogue(database: &Database) -> Vec<String> {
    let look = "SELECT 'column', table_name, column_name, data_type, column_default, is_nullable, collation_name
        FROM information_schema.columns WHERE table_schema = 'rejoin'
        UNION ALL SELECT 'index', tablename, indexname, indexdef, '', '', '' FROM pg_indexes WHERE schemaname = 'rejoin'
        UNION ALL SELECT 'function', proname, md5(prosrc), prosecdef::text, proconfig::text, '', '' FROM pg_proc
        WHERE pronamespace = 'rejoin'::regnamespace AND proname !~ '[0-9]'
        UNION ALL SELECT 'meta', key, CASE WHEN key = 'migration' THEN value ELSE length(value)::text END, '', '', '', ''
        FROM rejoin.meta WHERE key NOT IN ('zero_tag')
        ORDER BY 1, 2, 3";
    database.session().lines(look)
}

#[tokio::test]
async fn printed_migrations_leave_nothing_to_migrate() {
    let world = World::postgres(TABLES, standard);
    let by_itself = world.database.as_ref().unwrap();
    let by_hand = Database::new();
    let printed = Command::new(env!("CARGO_BIN_EXE_rejoin-server"))
        .args(["migrations", "--print"])
        .output()
        .unwrap();
    assert!(printed.status.success());
    let session = by_hand.session();
    session.run(&String::from_utf8(printed.stdout).unwrap());
    session.run(TABLES);
    let kept = "SELECT key, value, xmin FROM rejoin.meta WHERE key <> 'watermark' ORDER BY key";
    let before = session.lines(kept);
    assert_eq!(before.len(), 4, "{before:?}");
    let config = standard(Config::postgres(by_hand.url.as_str()));
    let server = Server::open(config).unwrap();
    assert_eq!(session.lines(kept), before, "the server had nothing to do");
    assert_eq!(catalogue(&by_hand), catalogue(by_itself), "and is where it goes by itself");
    assert!(server.manifests(10).unwrap().len() == 1);
    // The script for a database with all migrations changes nothing.
    let last = Command::new(env!("CARGO_BIN_EXE_rejoin-server"))
        .args(["migrations", "--print", "--from", "99"])
        .output()
        .unwrap();
    let values = "SELECT key, value FROM rejoin.meta ORDER BY key";
    let known = session.lines(values);
    session.run(&String::from_utf8(last.stdout).unwrap());
    assert_eq!(session.lines(values), known);
}

/// Two servers over one database with old entries, and a session that can block either.
async fn two_servers() -> (World, Server) {
    let world = World::postgres(TABLES, |config| {
        let mut config = standard(config);
        config.retention.batch = 2;
        config
    });
    {
        let mut anna = world.device("anna", "a1").await;
        anna.snapshot(10).await;
        for number in 0..10 {
            let id = format!("p{number}");
            anna.accept(&format!("m{number}"), json!([place(&id, "x")])).await;
        }
        anna.pull().await;
        world.clock.advance(120_000_000);
        anna.pull().await;
    }
    let clock = std::sync::Arc::new(world.clock.clone());
    let other = Server::open_at(world.config.clone(), clock).unwrap();
    (world, other)
}

/// Twenty pushes wait for a lock of another session at once.
#[test]
fn pool_opens_16_connections_and_serves_the_rest_in_turn() {
    let world = World::postgres(TABLES, standard);
    let database = world.database.as_ref().unwrap();
    let holder = database.session();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        let devices: Vec<_> = (0..20)
            .map(|number| runtime().block_on(world.device(&format!("user{number}"), "a1")))
            .collect();
        holder.run("BEGIN; LOCK TABLE places IN ACCESS EXCLUSIVE MODE");
        let pushes: Vec<_> = devices
            .into_iter()
            .enumerate()
            .map(|(number, mut device)| {
                scope.spawn(move || {
                    let change = place(&format!("p{number}"), "x");
                    let id = format!("m{number}");
                    runtime().block_on(device.push(&id, json!([change]))).0.verdict
                })
            })
            .collect();
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let begun = Instant::now();
        while database.one(waiting) != "16" {
            assert!(begun.elapsed() < Duration::from_mins(1), "{}", database.one(waiting));
            std::thread::sleep(Duration::from_millis(20));
        }
        // By now a waiting push would have another connection if one were available.
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(database.one(waiting), "16");
        holder.run("COMMIT");
        for push in pushes {
            assert_eq!(push.join().unwrap(), Ending::Accepted);
        }
    });
    assert_eq!(database.one("SELECT count(*) FROM places"), "20");
}

#[tokio::test]
async fn one_of_two_servers_compacts_at_a_time() {
    let (world, other) = two_servers().await;
    let database = world.database.as_ref().unwrap();
    let holder = database.session();
    holder.run("BEGIN; SELECT pg_advisory_xact_lock(1380600398, 0)");
    let done = other.compact().unwrap();
    assert!(done.elsewhere && done.entries == 0 && done.batches == 0, "{done:?}");
    holder.run("COMMIT");
    let before: usize = database.one("SELECT count(*) FROM rejoin.changelog").parse().unwrap();
    let went: usize = std::thread::scope(|scope| {
        let servers = [&world.server, &other];
        let both = servers.map(|server| scope.spawn(move || server.compact().unwrap().entries));
        both.map(|one| one.join().unwrap()).iter().sum()
    });
    // Either server did the rest, or both took turns: nothing was deleted twice or left.
    let left: usize = database.one("SELECT count(*) FROM rejoin.changelog").parse().unwrap();
    assert_eq!(went + left, before);
    let rest = world.server.compact().unwrap();
    assert!(!rest.elsewhere);
    assert_eq!(database.one("SELECT count(*) FROM rejoin.changelog"), "1");
}

//! One feeder for all nodes; wherever it stops, exactly the unstored results are resolved again.

use std::sync::Arc;
use std::time::Duration;

use rejoin_server::{Server, ServerError};

use super::{A, B, Readers, configure, document, fed, give, put, world};
use crate::world::{Backend, World};

const C: &str = "00000000-0000-0000-0000-00000000000c";

/// The first feeder's process or connection ends during a call; each row is still delivered, once.
#[tokio::test]
async fn only_unstored_results_are_resolved_again() {
    for kill in ["the server", "its connection"] {
        let (mut world, readers) = world(Backend::Postgres);
        give(&world, &["x"]);
        put(&world, A, "x", "a");
        fed(&world.server);
        assert_eq!(readers.asked(), ["create a ->x"]);
        let mut x = world.device("x", "d").await;
        assert_eq!(x.snapshot(9).await, [document(A)]);
        let cursor = x.cursor.clone();
        readers.set_gate(true);
        put(&world, B, "x", "stop");
        readers.wait_at_gate();
        put(&world, C, "x", "c");
        assert_eq!(readers.asked(), ["create b ->x"]);
        let mut next = Arc::clone(&readers);
        if kill == "the server" {
            next = Arc::new(Readers::default());
            world.config.tables[0].bucket_resolver = Some(Arc::clone(&next) as _);
            world.server = Server::open(world.config.clone()).unwrap();
        } else {
            world.write("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = 1380600396 AND objid = 0
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())");
        }
        readers.set_gate(false);
        fed(&world.server);
        assert_eq!(next.asked(), ["create b ->x", "create c ->x"], "{kill}");
        let mut x = world.device("x", "d").await;
        x.cursor = cursor;
        assert_eq!(x.pull().await, [document(B), document(C)], "{kill}");
        assert_eq!(world.one("SELECT count(*) FROM rejoin_member"), "3");
    }
}

/// Waits until a feeder is active, or none is.
fn is_fed(server: &Server, expected: bool) {
    for _ in 0..3_000 {
        if server.feed().unwrap().is_fed == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?}", server.feed());
}

/// Two nodes: when the active feeder ends, the other one takes over.
#[tokio::test]
async fn another_node_takes_over_feeding() -> Result<(), ServerError> {
    let (mut world, first) = world(Backend::Postgres);
    is_fed(&world.server, true);
    let second = Arc::new(Readers::default());
    let mut config = world.config.clone();
    config.tables[0].bucket_resolver = Some(Arc::clone(&second) as _);
    let other = Server::open(config)?;
    give(&world, &["x"]);
    put(&world, A, "x", "a");
    fed(&other);
    assert_eq!((first.asked(), second.asked()), (vec!["create a ->x".into()], vec![]));
    world.server.shutdown();
    put(&world, B, "x", "b");
    fed(&other);
    assert_eq!((first.asked(), second.asked()), (vec![], vec!["create b ->x".into()]));
    other.shutdown();
    is_fed(&world.server, false);
    // Writes without a feeder are processed at the next start.
    put(&world, C, "x", "c");
    let feed = world.server.feed()?;
    assert!(feed.waiting > 0 && feed.oldest.is_some(), "{feed:?}");
    let mut x = world.device("x", "d").await;
    assert_eq!(x.snapshot(9).await, [document(A), document(B)]);
    let cursor = x.cursor.clone();
    world.restart();
    fed(&world.server);
    let mut x = world.device("x", "d").await;
    x.cursor = cursor;
    assert_eq!(x.pull().await, [document(C)]);
    Ok(())
}

/// An open transaction of a writer delays its own rows only; a running call delays no writer.
#[tokio::test]
async fn feeder_and_writers_do_not_block_each_other() {
    let readers = Arc::new(Readers::default());
    let world = World::postgres(super::TABLES, configure(&readers));
    give(&world, &["x"]);
    put(&world, A, "x", "a");
    put(&world, B, "x", "b");
    fed(&world.server);
    let mut x = world.device("x", "d").await;
    x.snapshot(9).await;
    let long = world.database.as_ref().unwrap().session();
    long.run(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; UPDATE documents SET readers = 'y' WHERE id = '{A}'"
    ));
    put(&world, B, "x", "again");
    fed(&world.server);
    assert_eq!(x.pull().await, [document(B)]);
    readers.set_gate(true);
    put(&world, B, "x", "stop");
    readers.wait_at_gate();
    // The feeder has read the row, but does not block writers of it in any snapshot.
    long.run(&format!("SAVEPOINT s; SELECT * FROM documents WHERE id = '{A}'; RELEASE s; COMMIT"));
    world.write(&format!("SET lock_timeout = '1s'; DELETE FROM documents WHERE id = '{B}'"));
    readers.set_gate(false);
    fed(&world.server);
    let gone = [format!("-{}", document(A)), format!("-{}", document(B))];
    assert_eq!(x.pull().await, gone);
}

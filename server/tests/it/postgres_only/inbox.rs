//! The inbox of PostgreSQL: writes fill it and the sequencer empties it, but dead rows remain until
//! a vacuum. The sequencer resumes from its previous snapshot without missing rows.

use serde_json::Value;

use super::sequencer::insert;
use crate::world::{TABLES, World, standard};
use rejoin_postgres::{Database, Session};

/// A server whose tables are not vacuumed automatically.
fn unswept() -> World {
    let world = World::postgres(TABLES, standard);
    database(&world).session().run("ALTER TABLE rejoin.inbox SET (autovacuum_enabled = off)");
    world
}

fn database(world: &World) -> &Database {
    world.database.as_ref().unwrap()
}

fn number(session: &Session) -> i64 {
    session.one("SELECT rejoin.sequence()").parse().unwrap()
}

/// The buffers that a query reads when run a second time, including functions.
fn buffers(session: &Session, query: &str) -> i64 {
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT JSON) {query}");
    session.lines(&explain);
    let plan: Value = serde_json::from_str(&session.lines(&explain).join("\n")).unwrap();
    let of = |name: &str| plan[0]["Plan"][name].as_i64().unwrap();
    of("Shared Hit Blocks") + of("Shared Read Blocks")
}

#[test]
fn numbered_rows_are_not_scanned_again() {
    let world = unswept();
    let (session, long, left) =
        (database(&world).session(), database(&world).session(), database(&world).session());
    let name = database(&world).url.rsplit('/').next().unwrap();
    // While these are open, a vacuum could remove nothing.
    long.run(&format!("BEGIN; {}", insert("long")));
    left.run(&format!("BEGIN; {}; PREPARE TRANSACTION '{name}'", insert("left")));
    for round in 0..20 {
        session.run(&format!(
            "INSERT INTO rejoin.inbox(bucket, table_number, record_id)
             SELECT 'user:anna', 1, 'round {round}, row ' || n FROM generate_series(1, 1000) AS n"
        ));
        number(&session);
    }
    let all = buffers(&session, "SELECT count(*) FROM rejoin.inbox");
    assert!(all > 150, "nothing would be noticed: {all} buffers");
    let empty = buffers(&session, "SELECT rejoin.sequence()");
    assert!(empty < 30, "{empty} buffers to find that there is nothing");
    session.run(&insert("one more"));
    let explain = "EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT JSON) SELECT rejoin.sequence()";
    let plan: Value = serde_json::from_str(&session.lines(explain).join("\n")).unwrap();
    let one = plan[0]["Plan"]["Shared Hit Blocks"].as_i64().unwrap();
    assert!(one < 100, "{one} buffers for one entry");
    // Rows of the long transaction are found when it has ended, by one index descent.
    let last = number(&session);
    long.run("COMMIT");
    assert_eq!(number(&session), last + 1);
    left.run(&format!("COMMIT PREPARED '{name}'"));
    assert_eq!(number(&session), last + 2);
    assert_eq!(session.one("SELECT count(*) FROM rejoin.inbox"), "0");
}

#[test]
fn later_writes_of_the_numbering_transaction_are_found() {
    let world = unswept();
    let (session, other) = (database(&world).session(), database(&world).session());
    session.run(&insert("p0"));
    let last = number(&session);
    session.run(&format!("BEGIN; {}", insert("p1")));
    assert_eq!(number(&session), last + 1);
    session.run(&insert("p2"));
    assert_eq!(number(&session), last + 2);
    // A transaction that began later ends earlier.
    other.run("CREATE TABLE something()");
    session.run(&format!("{}; COMMIT", insert("p3")));
    assert_eq!(number(&other), last + 3);
    // State stored within a rolled-back savepoint is discarded.
    session.run(&format!("BEGIN; {}; SAVEPOINT s", insert("p4")));
    assert_eq!(number(&session), last + 4);
    session.run("ROLLBACK TO s; COMMIT");
    assert_eq!(number(&other), last + 4);
    session.run(&format!("BEGIN; SAVEPOINT s; {}", insert("p5")));
    assert_eq!(number(&session), last + 5);
    session.run(&format!("{}; RELEASE s; COMMIT", insert("p6")));
    assert_eq!(number(&other), last + 6);
}

#[test]
fn sequencer_state_of_another_database_is_ignored() {
    let world = unswept();
    let session = database(&world).session();
    session.run(&insert("p0"));
    let last = number(&session);
    // As in a dump of a database with more transactions than this one will ever have.
    session.run("UPDATE rejoin.head SET later = '9000000000', open = '{}', seen_by = '8999999999'");
    session.run(&insert("p1"));
    assert_eq!(number(&session), last + 1);
    session.run(&insert("p2"));
    assert_eq!(number(&session), last + 2);
}

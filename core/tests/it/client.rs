//! Tests of reading and writing.

use std::sync::{Arc, Barrier, mpsc};

use rejoin_core::{Error, InputFault, RowBuffer, Value};

use crate::world::{World, next, number, within};

fn ids(rows: &RowBuffer) -> Vec<String> {
    rows.iter().map(|row| row.get::<String>("id").unwrap()).collect()
}

#[test]
fn values_round_trip_with_their_types() {
    let world = World::new();
    world.run("CREATE TABLE v (id TEXT PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, n TEXT)");
    let params = ("a", i64::MAX, 0.5, "", vec![0_u8, 255], None::<i64>);
    let write = world.client.execute("INSERT INTO v VALUES (?, ?, ?, ?, ?, ?)", params);
    assert_eq!(write.wait().unwrap(), 1);

    let row = world.client.query_one("SELECT * FROM v WHERE id = ?", ("a",)).wait().unwrap();
    let row = row.unwrap();
    assert_eq!(row.columns(), ["id", "i", "r", "t", "b", "n"]);
    assert_eq!(row.get::<i64>("i").unwrap(), i64::MAX);
    assert_eq!(row.get::<f64>("r").unwrap().to_bits(), 0.5_f64.to_bits());
    assert_eq!(row.get::<&str>("t").unwrap(), "");
    assert_eq!(row.get::<Vec<u8>>("b").unwrap(), [0, 255]);
    assert_eq!(row.get::<Value>("n").unwrap(), Value::Null);
    let missing = world.client.query_one("SELECT * FROM v WHERE id = 'z'", ()).wait().unwrap();
    assert!(missing.is_none());
}

#[test]
fn failed_statement_rolls_back_the_batch() {
    let world = World::with_notes();
    world
        .client
        .execute_script("INSERT INTO note (id) VALUES ('a'); INSERT INTO note (id) VALUES ('b')")
        .wait()
        .unwrap();
    let failed = world
        .client
        .execute_script("INSERT INTO note (id) VALUES ('c'); INSERT INTO note (id) VALUES ('a')")
        .wait();
    assert!(failed.is_err());
    assert_eq!(ids(&world.client.query("SELECT id FROM note", ()).wait().unwrap()), ["a", "b"]);
}

#[test]
fn execute_returning_returns_the_rows() {
    let world = World::with_notes();
    let insert = "INSERT INTO note (id, n) VALUES (?, ?), (?, ?) RETURNING id, n";
    let rows = world.client.execute_returning(insert, ("a", 1, "b", 2)).wait().unwrap();
    assert_eq!(ids(&rows), ["a", "b"]);
    assert_eq!(world.number("SELECT sum(n) FROM note"), 3);
}

#[test]
fn writing_query_is_refused_with_a_remedy() {
    let world = World::with_notes();
    let refused = world.client.query("INSERT INTO note (id) VALUES ('a') RETURNING id", ()).wait();
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("execute_returning"), "{error}");
    assert_eq!(world.number("SELECT count(*) FROM note"), 0);
}

#[test]
fn wrong_number_of_parameters_is_an_error() {
    let world = World::with_notes();
    assert!(world.client.query("SELECT ?", ()).wait().is_err());
    assert!(world.client.query("SELECT ?", (1, 2)).wait().is_err());
    assert!(world.client.execute("DELETE FROM note WHERE id = ?", ()).wait().is_err());
}

#[test]
fn transaction_commits_completely_or_not_at_all() {
    let world = World::with_notes();
    let committed = world.client.transaction(|tx| {
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())?;
        Ok(tx.query("SELECT id FROM note", ())?.len())
    });
    assert_eq!(committed.wait().unwrap(), 1, "the transaction does not see its own write");
    let failed = world.client.transaction(|tx| {
        tx.execute("INSERT INTO note (id) VALUES ('b')", ())?;
        Err::<(), _>(Error::Callback("changed my mind".into()))
    });
    assert!(matches!(failed.wait(), Err(Error::Callback(_))));
    assert_eq!(world.number("SELECT count(*) FROM note"), 1);
}

#[test]
fn failed_savepoint_keeps_the_outer_ones() {
    let world = World::with_notes();
    let done = world.client.transaction(|tx| {
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())?;
        tx.savepoint(|tx| {
            tx.execute("INSERT INTO note (id) VALUES ('b')", ())?;
            let inner = tx.savepoint(|tx| {
                tx.execute("INSERT INTO note (id) VALUES ('c')", ())?;
                Err::<(), _>(Error::Callback("not this".into()))
            });
            assert!(inner.is_err());
            Ok(())
        })
    });
    done.wait().unwrap();
    assert_eq!(ids(&world.client.query("SELECT id FROM note", ()).wait().unwrap()), ["a", "b"]);
}

#[test]
fn panic_in_closure_rolls_back_and_client_stays_usable() {
    let world = World::with_notes();
    let panicked = world.client.transaction(|tx| -> rejoin_core::Result<()> {
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())?;
        panic!("out of ideas")
    });
    let error = panicked.wait().unwrap_err();
    assert!(matches!(&error, Error::Callback(why) if why.contains("out of ideas")), "{error}");
    let panicked = world.client.read(|_| -> rejoin_core::Result<()> { panic!("while reading") });
    assert!(matches!(panicked.wait(), Err(Error::Callback(_))));

    assert_eq!(world.number("SELECT count(*) FROM note"), 0);
    assert_eq!(world.run("INSERT INTO note (id) VALUES ('b')"), 1);
}

#[test]
fn client_inside_transaction_reads_old_state_and_cannot_write() {
    let world = World::with_notes();
    let client = world.client.clone();
    let count = world.client.transaction(move |tx| {
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())?;
        let write = client.execute("INSERT INTO note (id) VALUES ('b')", ()).wait();
        assert!(matches!(write, Err(Error::InvalidInput(InputFault::Reentrant))));
        assert!(matches!(
            client.transaction(|_| Ok(())).wait(),
            Err(Error::InvalidInput(InputFault::Reentrant))
        ));
        assert!(matches!(
            client.shutdown().wait(),
            Err(Error::InvalidInput(InputFault::Reentrant))
        ));
        assert!(matches!(
            client.sync().suspend().wait(),
            Err(Error::InvalidInput(InputFault::Reentrant))
        ));
        Ok(number(&client, "SELECT count(*) FROM note"))
    });
    assert_eq!(count.wait().unwrap(), 0);
    assert_eq!(world.number("SELECT count(*) FROM note"), 1);
}

#[test]
fn client_inside_read_can_write_and_cannot_query() {
    let world = World::with_notes();
    let client = world.client.clone();
    let counts = world.client.read(move |snapshot| {
        let before = snapshot.query_one("SELECT count(*) FROM note", ())?.unwrap().get::<i64>(0)?;
        client.execute("INSERT INTO note (id) VALUES ('a')", ()).wait()?;
        let after = snapshot.query_one("SELECT count(*) FROM note", ())?.unwrap().get::<i64>(0)?;
        assert!(matches!(
            client.query("SELECT 1", ()).wait(),
            Err(Error::InvalidInput(InputFault::Reentrant))
        ));
        assert!(matches!(
            client.shutdown().wait(),
            Err(Error::InvalidInput(InputFault::Reentrant))
        ));
        Ok((before, after))
    });
    assert_eq!(counts.wait().unwrap(), (0, 0), "the snapshot shows a later commit");
    assert_eq!(world.number("SELECT count(*) FROM note"), 1);
}

#[test]
fn queries_complete_while_a_write_is_open() {
    let world = World::with_notes();
    let (begun, receiver) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let long = world.client.transaction(move |tx| {
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())?;
        begun.send(()).unwrap();
        next(&wait);
        Ok(())
    });
    next(&receiver);
    // The transaction is still open; five queries, more than there are readers, complete.
    let queries: Vec<_> =
        (0..5).map(|_| world.client.query_one("SELECT count(*) FROM note", ())).collect();
    for query in queries {
        assert_eq!(query.wait().unwrap().unwrap().get::<i64>(0).unwrap(), 0);
    }
    go_on.send(()).unwrap();
    long.wait().unwrap();
}

#[test]
fn concurrent_writes_are_all_applied() {
    let world = World::with_notes();
    let barrier = Arc::new(Barrier::new(100));
    let threads: Vec<_> = (0..100_i64)
        .map(|n| {
            let (client, barrier) = (world.client.clone(), Arc::clone(&barrier));
            std::thread::Builder::new()
                .spawn(move || {
                    barrier.wait();
                    within(async {
                        let id = format!("{n:03}");
                        client
                            .execute("INSERT INTO note (id, n) VALUES (?, ?)", (id.clone(), n))
                            .await?;
                        let row =
                            client.query_one("SELECT n FROM note WHERE id = ?", (id,)).await?;
                        row.unwrap().get::<i64>("n")
                    })
                })
                .unwrap()
        })
        .collect();
    for (n, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap().unwrap(), i64::try_from(n).unwrap());
    }
    assert_eq!(world.number("SELECT sum(n) FROM note"), 4950);
}

#[test]
fn dropped_future_does_not_cancel_its_transaction() {
    let world = World::with_notes();
    drop(world.client.transaction(|tx| {
        tx.execute("INSERT INTO note (id) VALUES ('a')", ())?;
        tx.execute("INSERT INTO note (id) VALUES ('b')", ())
    }));
    // Tasks run in order, so this sees the complete transaction.
    assert_eq!(world.run("UPDATE note SET n = 1"), 2);
}

#[test]
fn local_tables_are_created_altered_and_indexed_once() {
    let world = World::new();
    for _ in 0..2 {
        world
            .client
            .schema()
            .create_table("draft", "id TEXT PRIMARY KEY, body TEXT")
            .wait()
            .unwrap();
    }
    world.run("INSERT INTO draft VALUES ('a', 'text')");
    world.client.schema().alter_table("draft", "seen INTEGER NOT NULL DEFAULT 7").wait().unwrap();
    assert_eq!(world.number("SELECT seen FROM draft"), 7);
    for _ in 0..2 {
        let name = world.client.schema().create_index("draft", &["seen", "id"]).wait().unwrap();
        assert_eq!(name, "idx_draft_seen_id");
    }
    assert_eq!(
        world.number("SELECT count(*) FROM pragma_index_list('draft') WHERE origin = 'c'"),
        1
    );
    assert_eq!(
        world.client.queue().all().wait().unwrap(),
        [],
        "a local-only write made a mutation"
    );
    assert!(world.client.schema().alter_table("nothing", "n INTEGER").wait().is_err());
}

#[test]
fn diagnose_reports_state_without_user_data() {
    let world = World::with_notes();
    world.run("INSERT INTO note (id, body) VALUES ('secret key', 'secret body')");
    let bundle = world.client.storage().diagnose().wait().unwrap();
    for part in [
        "versions",
        "config",
        "status",
        "transitions",
        "facts",
        "queue",
        "parked",
        "history",
        "triggers_disabled",
        "schema",
        "sizes",
    ] {
        assert!(bundle.get(part).is_some(), "{part} is missing in {bundle:#}");
    }
    assert!(bundle["sizes"]["wal"].as_u64().unwrap() > 0);
    assert!(bundle["sizes"]["pages"].as_u64().unwrap() > 0);
    assert_eq!(bundle["queue"]["pending"], 0);
    assert!(!bundle.to_string().contains("secret"));
}

#[test]
fn generated_index_names_do_not_collide() {
    let world = World::new();
    world.run("CREATE TABLE a (b_c TEXT, b TEXT, c TEXT)");
    world.run("CREATE TABLE a_b (c TEXT)");
    let create = |table: &str, columns: &[&str]| {
        world.client.schema().create_index(table, columns).wait().unwrap()
    };
    let definitions: [(&str, &[&str]); 3] = [("a", &["b_c"]), ("a_b", &["c"]), ("a", &["b", "c"])];
    let names = definitions.map(|(table, columns)| create(table, columns));
    for ((table, columns), name) in definitions.into_iter().zip(&names) {
        let sql = format!("SELECT group_concat(name) AS names FROM pragma_index_info('{name}')");
        let row = world.client.query_one(&sql, ()).wait().unwrap().unwrap();
        assert_eq!(row.get::<String>("names").unwrap(), columns.join(","), "{name}");
        let on = format!("SELECT count(*) FROM pragma_index_list('{table}') WHERE name = '{name}'");
        assert_eq!(world.number(&on), 1, "{name}");
        assert_eq!(&create(table, columns), name, "again");
    }
    // An index of the app with a generated name and other columns.
    world.run("CREATE INDEX idx_a_c ON a (b)");
    assert_ne!(create("a", &["c"]), "idx_a_c");
    world.run("CREATE INDEX idx_a_b ON a (b) WHERE b > 'x'");
    assert_ne!(create("a", &["b"]), "idx_a_b", "a partial index");
}

#[test]
fn diagnose_lists_views_that_do_not_compile() {
    let world = World::with_notes();
    world.run("CREATE VIEW well AS SELECT id FROM note");
    world.run("CREATE VIEW gone AS SELECT id FROM missing");
    let bundle = world.client.storage().diagnose().wait().unwrap();
    let broken = bundle["schema"]["broken_views"].as_object().unwrap();
    assert_eq!(broken.keys().collect::<Vec<_>>(), ["gone"]);
    assert!(broken["gone"].as_str().unwrap().contains("no such table: main.missing"), "{broken:?}");
}

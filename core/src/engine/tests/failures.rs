//! Statements that fail within a transaction that goes on (D1, B26): rows and capture stay together.

use super::{all, mutations, notes, queued};
use crate::engine::Engine;
use crate::error::Error;

/// Runs `first`, then `failing`, then `last` in one transaction that goes on after errors; its end, and the failing one's.
fn three(engine: &mut Engine, failing: &str) -> (Result<(), Error>, Error) {
    let mut middle = None;
    let end = engine.transaction(|tx| {
        tx.execute("INSERT INTO notes (id) VALUES ('first')", &[])?;
        middle = tx.execute(failing, &[]).err();
        tx.execute("INSERT INTO notes (id) VALUES ('last')", &[]).map(drop)
    });
    (end, middle.expect("the statement fails"))
}

fn keys(engine: &mut Engine) -> Vec<String> {
    all(engine, "SELECT id FROM notes ORDER BY id")
}

#[test]
fn a_failed_statement_that_sqlite_undid_is_cut_out_of_the_capture() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('there')", &[]).unwrap();
    for clause in ["", "OR ABORT"] {
        let sql = format!("INSERT {clause} INTO notes (id) VALUES ('{clause}1'), ('there')");
        let (end, _) = three(&mut engine, &sql);
        end.unwrap();
        assert_eq!(queued(&engine)[1..], ["notes first insert", "notes last insert"]);
        engine.execute("DELETE FROM notes WHERE id <> 'there'", &[]).unwrap();
        super::settle(&engine);
        engine.execute("UPDATE notes SET n = n", &[]).unwrap();
        engine
            .execute_batch("INSERT INTO notes (id) VALUES ('x'); DELETE FROM notes WHERE id = 'x'")
            .unwrap();
        engine.execute("UPDATE notes SET n = coalesce(n, 0) + 1", &[]).unwrap();
    }
}

#[test]
fn a_statement_that_left_rows_behind_fails_the_whole_transaction() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('there')", &[]).unwrap();
    let sql = "INSERT OR FAIL INTO notes (id) VALUES ('behind'), ('there')";
    let (end, middle) = three(&mut engine, sql);
    assert!(matches!(middle, Error::PartialStatement(_)), "{middle}");
    assert!(matches!(end, Err(Error::PartialStatement(_))), "{end:?}");
    let alone = engine.execute(sql, &[]);
    assert!(matches!(alone, Err(Error::PartialStatement(_))), "{alone:?}");
    assert_eq!(keys(&mut engine), ["'there'"]);
    assert_eq!(mutations(&engine), 1);
    engine.execute("INSERT INTO notes (id) VALUES ('after')", &[]).unwrap();
    assert_eq!(mutations(&engine), 2);
}

#[test]
fn a_closure_that_hides_a_partial_statement_is_rolled_back_all_the_same() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('there')", &[]).unwrap();
    let result = engine.transaction(|tx| {
        let _ = tx.execute("INSERT OR FAIL INTO notes (id) VALUES ('behind'), ('there')", &[]);
        Ok(())
    });
    assert!(matches!(result, Err(Error::PartialStatement(_))));
    assert_eq!(keys(&mut engine), ["'there'"]);
}

#[test]
fn a_transaction_that_sqlite_ended_clears_its_capture() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('there')", &[]).unwrap();
    let sql = "INSERT OR ROLLBACK INTO notes (id) VALUES ('gone'), ('there')";
    let (end, _) = three(&mut engine, sql);
    assert!(end.is_err(), "later statements say that the transaction was ended");
    assert_eq!(keys(&mut engine), ["'there'"]);
    assert_eq!(queued(&engine), ["notes there insert"]);
    engine.execute("INSERT INTO notes (id) VALUES ('after')", &[]).unwrap();
    assert_eq!(queued(&engine)[1..], ["notes after insert"]);
}

#[test]
fn a_savepoint_within_an_ended_transaction_does_not_bring_it_back() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('there')", &[]).unwrap();
    let result = engine.transaction(|tx| {
        let inner = tx.savepoint(|tx| {
            tx.execute("INSERT OR ROLLBACK INTO notes (id) VALUES ('gone'), ('there')", &[])
        });
        assert!(inner.is_err());
        tx.savepoint(|tx| tx.execute("INSERT INTO notes (id) VALUES ('late')", &[])).unwrap_err();
        Ok(())
    });
    assert!(result.is_err());
    assert_eq!(keys(&mut engine), ["'there'"]);
}

#[test]
fn a_trigger_of_the_app_that_fails_takes_its_statement_back_and_nothing_else() {
    let (_folder, mut engine) = notes();
    engine
        .execute_batch(
            "CREATE TRIGGER mirrored AFTER INSERT ON notes BEGIN INSERT OR FAIL INTO mirror VALUES (NEW.id, NEW.n); END;
             INSERT INTO notes (id, n) VALUES ('there', 1)",
        )
        .unwrap();
    // The row, and what its trigger began, would stay behind: a savepoint takes them back.
    let (end, _) = three(&mut engine, "INSERT INTO notes (id, n) VALUES ('a', 2), ('b', 1)");
    end.unwrap();
    assert_eq!(keys(&mut engine), ["'first'", "'last'", "'there'"]);
    assert_eq!(queued(&engine).len(), 3);
    assert_eq!(all(&mut engine, "SELECT count(*) FROM mirror"), ["3"]);
}

#[test]
fn a_panic_in_the_closure_rolls_everything_back() {
    let (_folder, mut engine) = notes();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        engine.transaction(|tx| -> crate::Result<()> {
            tx.execute("INSERT INTO notes (id) VALUES ('a')", &[])?;
            panic!("a bug of the app")
        })
    }));
    assert!(result.is_err());
    assert!(keys(&mut engine).is_empty());
    engine.execute("INSERT INTO notes (id) VALUES ('b')", &[]).unwrap();
    assert_eq!(queued(&engine), ["notes b insert"]);
}

#[test]
fn a_suspended_engine_rolls_back_what_runs_and_begins_nothing() {
    let (_folder, mut engine) = notes();
    let interrupt = engine.interrupt_handle();
    let suspend = interrupt.clone();
    let result = engine.transaction(|tx| {
        tx.execute("INSERT INTO notes (id) VALUES ('a')", &[])?;
        suspend.suspend();
        tx.execute("INSERT INTO notes (id) VALUES ('b')", &[])
    });
    assert!(matches!(result, Err(Error::Suspended)), "{result:?}");
    assert!(matches!(engine.execute("DELETE FROM notes", &[]), Err(Error::Suspended)));
    interrupt.resume();
    assert!(keys(&mut engine).is_empty());

    // One that is running already: it is told by the clock of SQLite's own steps.
    let stop = std::sync::Arc::new(std::sync::Barrier::new(2));
    let go = std::sync::Arc::clone(&stop);
    let handle = interrupt.clone();
    #[allow(clippy::disallowed_methods)] // A second thread is what the story is about.
    let other = std::thread::spawn(move || {
        go.wait();
        handle.suspend();
    });
    stop.wait();
    let endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
                   INSERT INTO notes (id) SELECT 'k' || x FROM n";
    let result = engine.execute(endless, &[]);
    assert!(matches!(result, Err(Error::Suspended)), "{result:?}");
    other.join().unwrap();
    interrupt.resume();
    assert!(keys(&mut engine).is_empty());
    assert_eq!(mutations(&engine), 0);
}

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

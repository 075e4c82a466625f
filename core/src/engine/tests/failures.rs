//! Statements that fail within a transaction that continues: rows and captured changes stay
//! consistent.

use super::{all, mutations, notes, queued};
use crate::engine::Engine;
use crate::error::{Error, InputFault};

/// Runs `first`, `failing` and `last` in one transaction that continues after errors; returns its
/// result, and the error of `failing`.
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
fn partial_statement_fails_the_whole_transaction() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('there')", &[]).unwrap();
    let sql = "INSERT OR FAIL INTO notes (id) VALUES ('behind'), ('there')";
    let (end, middle) = three(&mut engine, sql);
    assert!(matches!(middle, Error::InvalidInput(InputFault::PartialStatement(_))), "{middle}");
    assert!(matches!(end, Err(Error::InvalidInput(InputFault::PartialStatement(_)))), "{end:?}");
    let alone = engine.execute(sql, &[]);
    assert!(
        matches!(alone, Err(Error::InvalidInput(InputFault::PartialStatement(_)))),
        "{alone:?}"
    );
    assert_eq!(keys(&mut engine), ["'there'"]);
    assert_eq!(mutations(&engine), 1);
    engine.execute("INSERT INTO notes (id) VALUES ('after')", &[]).unwrap();
    assert_eq!(mutations(&engine), 2);
}

#[test]
fn hidden_partial_statement_still_rolls_back() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('there')", &[]).unwrap();
    let result = engine.transaction(|tx| {
        let _ = tx.execute("INSERT OR FAIL INTO notes (id) VALUES ('behind'), ('there')", &[]);
        Ok(())
    });
    assert!(matches!(result, Err(Error::InvalidInput(InputFault::PartialStatement(_)))));
    assert_eq!(keys(&mut engine), ["'there'"]);
}

#[test]
fn transaction_ended_by_sqlite_clears_its_capture() {
    let (_folder, mut engine) = notes();
    engine.execute("INSERT INTO notes (id) VALUES ('there')", &[]).unwrap();
    let sql = "INSERT OR ROLLBACK INTO notes (id) VALUES ('gone'), ('there')";
    let (end, _) = three(&mut engine, sql);
    assert!(end.is_err(), "later statements report that the transaction has ended");
    assert_eq!(keys(&mut engine), ["'there'"]);
    assert_eq!(queued(&engine), ["notes there insert"]);
    engine.execute("INSERT INTO notes (id) VALUES ('after')", &[]).unwrap();
    assert_eq!(queued(&engine)[1..], ["notes after insert"]);
}

#[test]
fn failing_app_trigger_rolls_back_only_its_statement() {
    let (_folder, mut engine) = notes();
    engine
        .execute_batch(
            "CREATE TRIGGER mirrored AFTER INSERT ON notes BEGIN INSERT OR FAIL INTO mirror VALUES (NEW.id, NEW.n); END;
             INSERT INTO notes (id, n) VALUES ('there', 1)",
        )
        .unwrap();
    // The row, and part of its trigger's work, would remain: a savepoint rolls them back.
    let (end, _) = three(&mut engine, "INSERT INTO notes (id, n) VALUES ('a', 2), ('b', 1)");
    end.unwrap();
    assert_eq!(keys(&mut engine), ["'first'", "'last'", "'there'"]);
    assert_eq!(queued(&engine).len(), 3);
    assert_eq!(all(&mut engine, "SELECT count(*) FROM mirror"), ["3"]);
}

//! Resets of a file: whole or not at all, by name, with no remains.

use std::sync::Arc;

use rusqlite::functions::FunctionFlags;

use super::{all, notes, open, queued};
use crate::engine::Engine;
use crate::engine::rebase::Batch;
use crate::engine::reset;
use crate::engine::reset::Keep;
use crate::engine::rows::ServerRow;
use crate::engine::search;
use crate::error::{Error, InputFault, QueueFault};
use crate::ids::MutationId;
use crate::value::Value;

/// Applies a row of the server.
fn arrive(engine: &mut Engine, key: &str, body: &str) {
    let table = engine.schema().named("notes").unwrap().clone();
    let body = (table.columns[table.column_named("body").unwrap()].id, Value::from(body));
    let image = ServerRow { table: table.number, key: key.into(), row: Some(vec![body]) };
    let meta =
        vec![("cursor".to_owned(), Some("c1".to_owned())), ("subject".into(), Some("ana".into()))];
    engine.apply(Batch { images: vec![image], meta, ..Batch::default() }).unwrap();
}

fn waiting(engine: &Engine) -> Vec<MutationId> {
    engine.pending().unwrap().into_iter().map(|mutation| mutation.id).collect()
}

/// Two rows of the server, an edit of one of them, a row of the app, and a local-only row.
fn written() -> (tempfile::TempDir, Engine) {
    let (folder, mut engine) = notes();
    arrive(&mut engine, "a", "theirs");
    arrive(&mut engine, "b", "theirs");
    engine.execute("UPDATE notes SET body = 'mine' WHERE id = 'a'", &[]).unwrap();
    engine.execute("INSERT INTO notes (id, body) VALUES ('c', 'mine')", &[]).unwrap();
    engine.execute("INSERT INTO mirror VALUES ('local', 'kept')", &[]).unwrap();
    (folder, engine)
}

const ROWS: &str = "SELECT id || ' ' || coalesce(body, '-') FROM notes ORDER BY id";
const FACTS: &str = "SELECT key FROM rejoin_meta ORDER BY key";

#[test]
fn reset_removes_pending_mutations_only_by_name() {
    let (_folder, mut engine) = written();
    let ids = waiting(&engine);
    for keep in [Keep::Local, Keep::Nothing] {
        for named in [&[][..], &ids[..1]] {
            let refused = reset::reset(&mut engine, keep, named);
            let left = (ids.len() - named.len()) as u64;
            assert!(
                matches!(refused, Err(Error::Queue(QueueFault::Unsent { waiting })) if waiting == left),
                "{refused:?}"
            );
        }
    }
    let refused = reset::reset(&mut engine, Keep::Pending, &ids);
    assert!(matches!(refused, Err(Error::InvalidInput(InputFault::Refused { .. }))), "{refused:?}");
    assert_eq!(waiting(&engine), ids);
    assert_eq!(engine.resets(), 0);
}

#[test]
fn reset_keeps_what_was_requested_after_reopen() {
    for (keep, rows, local, cursor) in [
        (Keep::Pending, vec!["'c mine'"], vec!["'local'"], false),
        (Keep::Local, vec![], vec!["'local'"], false),
        (Keep::Nothing, vec![], vec![], false),
    ] {
        let (folder, mut engine) = written();
        let ids = waiting(&engine);
        let named = if keep == Keep::Pending { &[][..] } else { &ids[..] };
        let emptied = reset::reset(&mut engine, keep, named).unwrap();
        let kept = if keep == Keep::Pending { ids.clone() } else { Vec::new() };
        let gone: Vec<MutationId> = emptied.given_up.iter().map(|one| one.id).collect();
        assert_eq!(gone, if keep == Keep::Pending { Vec::new() } else { ids.clone() });
        assert_eq!(emptied.rows, if keep == Keep::Pending { 2 } else { 3 }, "{keep:?}");
        assert_eq!(emptied.local_rows, u64::from(keep == Keep::Nothing), "{keep:?}");
        for reopened in [false, true] {
            if reopened {
                engine.close().unwrap();
                engine = open(&folder, None).unwrap();
            }
            assert_eq!(all(&mut engine, ROWS), rows, "{keep:?} {reopened}");
            assert_eq!(all(&mut engine, "SELECT id FROM mirror"), local, "{keep:?}");
            assert_eq!(waiting(&engine), kept, "{keep:?} {reopened}");
            assert_eq!(engine.queue.len(), kept.len());
            assert_eq!(engine.meta("cursor").unwrap().is_some(), cursor);
            assert_eq!(engine.meta("subject").unwrap().is_some(), keep == Keep::Pending);
        }
        // The tables still capture, under new numbers.
        let last = ids.len() + 1;
        engine.execute("INSERT INTO notes (id, body) VALUES ('d', 'next')", &[]).unwrap();
        let new = engine.pending().unwrap().pop().unwrap();
        assert_eq!(usize::try_from(new.seq.0).ok(), Some(last), "{keep:?}");
    }
}

#[test]
fn interrupted_reset_changes_nothing() {
    for keep in [Keep::Pending, Keep::Local] {
        let (folder, mut engine) = written();
        let stop = engine.interrupt_handle();
        let tripped = stop.clone();
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        let trip = move |_: &rusqlite::functions::Context<'_>| {
            tripped.suspend();
            Ok(1)
        };
        engine.db.conn().create_scalar_function("trip", 0, flags, trip).unwrap();
        engine
            .execute_batch(
                "CREATE TRIGGER tripwire AFTER DELETE ON notes WHEN OLD.id = 'b'
                 BEGIN INSERT INTO mirror VALUES ('tripped', trip()); END",
            )
            .unwrap();
        let ids = waiting(&engine);
        let before = (all(&mut engine, ROWS), all(&mut engine, FACTS), queued(&engine));
        let named = if keep == Keep::Pending { &[][..] } else { &ids[..] };
        let stopped = reset::reset(&mut engine, keep, named);
        assert!(matches!(stopped, Err(Error::Suspended)), "{keep:?}: {stopped:?}");
        stop.resume();
        assert_eq!(engine.resets(), 0);
        for reopened in [false, true] {
            if reopened {
                engine.close().unwrap();
                engine = open(&folder, None).unwrap();
            }
            let after = (all(&mut engine, ROWS), all(&mut engine, FACTS), queued(&engine));
            assert_eq!(after, before, "{keep:?} {reopened}");
            assert_eq!(waiting(&engine), ids);
            assert_eq!(all(&mut engine, "SELECT id FROM mirror"), ["'local'"]);
        }
    }
}

#[test]
fn local_tables_are_emptied_with_references_and_indexes() {
    let (_folder, mut engine) = written();
    engine
        .execute_batch(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
             CREATE TABLE a_child (id INTEGER PRIMARY KEY, of INTEGER NOT NULL REFERENCES parent ON DELETE RESTRICT);
             CREATE TABLE knot (id INTEGER PRIMARY KEY, next INTEGER REFERENCES knot);
             CREATE TRIGGER stubborn BEFORE DELETE ON parent BEGIN SELECT RAISE(ABORT, 'never'); END;
             CREATE VIRTUAL TABLE words USING fts5(body);
             CREATE VIRTUAL TABLE bare USING fts5(body, content = '');
             INSERT INTO parent (name) VALUES ('one');
             INSERT INTO a_child VALUES (1, 1);
             INSERT INTO knot VALUES (1, NULL); INSERT INTO knot VALUES (2, 1); UPDATE knot SET next = 2 WHERE id = 1;
             INSERT INTO words VALUES ('secret'); INSERT INTO bare VALUES ('secret')",
        )
        .unwrap();
    search::create_search_index(&mut engine, "notes", &["body"], None).unwrap();
    let ids = waiting(&engine);
    reset::reset(&mut engine, Keep::Nothing, &ids).unwrap();
    for table in
        ["parent", "a_child", "knot", "mirror", "words", "search_notes", "search_notes_rows"]
    {
        assert_eq!(all(&mut engine, &format!("SELECT count(*) FROM {table}")), ["0"], "{table}");
    }
    for index in ["words", "bare", "search_notes"] {
        let found = format!("SELECT count(*) FROM {index} WHERE {index} MATCH 'secret OR mine'");
        assert_eq!(all(&mut engine, &found), ["0"], "{index}");
    }
    // Triggers fire again, and the index is maintained.
    engine.execute("INSERT INTO notes (id, body) VALUES ('d', 'found')", &[]).unwrap();
    let found = "SELECT id FROM search_notes WHERE search_notes MATCH 'found'";
    assert_eq!(all(&mut engine, found), ["'d'"]);
    engine.execute("INSERT INTO parent (name) VALUES ('two')", &[]).unwrap();
    assert!(engine.execute("DELETE FROM parent", &[]).is_err(), "the app's own trigger");
}

#[test]
fn reset_updates_app_indexes_and_survives_failing_triggers() {
    for keep in [Keep::Pending, Keep::Local] {
        let (_folder, mut engine) = written();
        engine
            .execute_batch(
                "CREATE TRIGGER mirrored AFTER DELETE ON notes BEGIN INSERT INTO mirror VALUES (OLD.id, OLD.id); END;
                 CREATE TRIGGER failing AFTER DELETE ON notes BEGIN INSERT INTO mirror VALUES ('x' || OLD.id, 'kept'); END",
            )
            .unwrap();
        let ids = waiting(&engine);
        let named = if keep == Keep::Pending { &[][..] } else { &ids[..] };
        reset::reset(&mut engine, keep, named).unwrap();
        let mirrored = all(&mut engine, "SELECT id FROM mirror ORDER BY id");
        assert!(mirrored.contains(&"'a'".to_owned()) && mirrored.contains(&"'local'".to_owned()));
        let dropped = engine.meta("trigger_disabled").unwrap().unwrap();
        assert!(dropped.contains("failing") && !dropped.contains("mirrored"), "{dropped}");
    }
}

#[test]
fn observers_receive_every_table_that_a_reset_emptied() {
    let (_folder, mut engine) = written();
    let changes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = Arc::clone(&changes);
    engine.on_commit(Box::new(move |change| into.lock().unwrap().push(change.clone())));
    let ids = waiting(&engine);
    reset::reset(&mut engine, Keep::Nothing, &ids).unwrap();
    let changes = changes.lock().unwrap();
    let [change] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(change.queue);
    assert_eq!(change.tables.keys().collect::<Vec<_>>(), ["mirror", "notes"]);
}

//! Watches of tables that others fill: triggers, search indexes, the counters of SQLite.

mod sqlite;

use std::sync::{Arc, Mutex};

use fastrand::Rng;

use super::{all, engine, table};
use crate::engine::change::Change;
use crate::engine::rebase::{Batch, decide};
use crate::engine::reset::{self, Keep};
use crate::engine::rows::ServerRow;
use crate::engine::{Engine, ReadSet, Reader, adopt, search};
use crate::value::Value;
use rejoin_protocol::Manifest;

const COLUMNS: &[(&str, &str)] = &[("id", "string"), ("body", "string"), ("n", "int64")];

/// What apps keep beside a synced table.
const BESIDE: &str = "
    CREATE TABLE unread (id TEXT PRIMARY KEY, seen INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE counted (no INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT);
    CREATE TABLE mark (unread TEXT REFERENCES unread (id) ON DELETE CASCADE);
    CREATE VIEW shown AS SELECT item.id, unread.seen FROM item JOIN unread USING (id);
    CREATE VIEW inbox AS SELECT id FROM unread;
    CREATE VIRTUAL TABLE words USING fts5(id UNINDEXED, body);
    CREATE VIRTUAL TABLE outside USING fts5(body, content='item', content_rowid='rowid');
    CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, row);
    CREATE VIRTUAL TABLE found USING fts5vocab(search_item, col);
    CREATE TRIGGER item_new AFTER INSERT ON item BEGIN
        INSERT INTO inbox (id) VALUES (NEW.id);
        INSERT INTO counted (id) VALUES (NEW.id);
        INSERT INTO words (id, body) VALUES (NEW.id, NEW.body);
    END;
    CREATE TRIGGER inbox_new INSTEAD OF INSERT ON inbox BEGIN
        INSERT INTO unread (id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
        INSERT INTO mark VALUES (NEW.id);
    END;
    CREATE TRIGGER item_body AFTER UPDATE OF body ON item BEGIN
        UPDATE words SET body = NEW.body WHERE id = NEW.id;
        UPDATE unread SET seen = seen + 1 WHERE id = NEW.id;
    END;
    CREATE TRIGGER item_gone AFTER DELETE ON item BEGIN
        DELETE FROM unread WHERE id = OLD.id;
        DELETE FROM words WHERE id = OLD.id;
    END;";

const WATCHED: &[&str] = &[
    "SELECT count(*), sum(seen) FROM unread",
    "SELECT id FROM inbox ORDER BY id",
    "SELECT * FROM shown ORDER BY id",
    "SELECT count(*) FROM mark",
    "SELECT no, id FROM counted ORDER BY no",
    "SELECT seq FROM sqlite_sequence WHERE name = 'counted'",
    "SELECT id FROM words WHERE words MATCH 'milk' ORDER BY id",
    "SELECT id FROM search_item WHERE search_item MATCH 'milk OR tea' ORDER BY id",
    "SELECT count(*) FROM search_item_rows",
    "SELECT c0 FROM words_content ORDER BY id",
    "SELECT rowid, body FROM outside ORDER BY rowid",
    "SELECT term, doc FROM vocabulary ORDER BY term",
    "SELECT term, cnt FROM found ORDER BY term",
    "SELECT id, body, n, rejoin_row_state('item', id) FROM item ORDER BY id",
    "SELECT value FROM json_each('[1, 2]')",
    "SELECT count(*) FROM rejoin_mutation",
    "SELECT name FROM sqlite_schema ORDER BY name",
    "SELECT name FROM pragma_table_xinfo('item')",
];

/// Watched queries with what they read and their results, as the watches have them.
struct Watched {
    queries: Vec<(&'static str, ReadSet, Vec<Vec<Value>>)>,
    changes: Arc<Mutex<Vec<Change>>>,
    reader: Reader,
}

impl Watched {
    fn new(engine: &mut Engine, queries: &[&'static str]) -> Self {
        let changes = Arc::<Mutex<Vec<Change>>>::default();
        let into = Arc::clone(&changes);
        engine.on_commit(Box::new(move |change| into.lock().unwrap().push(change.clone())));
        let mut reader = engine.open_reader().unwrap();
        let queries = (queries.iter())
            .map(|sql| (*sql, reader.tables_of(sql).unwrap(), results(&mut reader, sql)))
            .collect();
        Self { queries, changes, reader }
    }

    /// Checks that each changed result was reported, and that this many queries changed.
    fn check(&mut self, engine: &Engine, what: &str) -> usize {
        let changes = std::mem::take(&mut *self.changes.lock().unwrap());
        let is_schema = |change: &Change| change.tables.contains_key("sqlite_schema");
        if changes.iter().any(is_schema) {
            self.reader = engine.open_reader().unwrap();
        }
        let mut count = 0;
        for (sql, reads, before) in &mut self.queries {
            let now = results(&mut self.reader, sql);
            if now != *before {
                count += 1;
                let reported = changes.iter().any(|change| reads.is_changed_by(change));
                assert!(reported, "{what}: {sql} was not run again: {reads:?} {changes:?}");
            }
            *before = now;
            if changes.iter().any(is_schema) {
                *reads = self.reader.tables_of(sql).unwrap();
            }
        }
        count
    }

    /// The results of the last check, by query.
    fn results(&self) -> impl Iterator<Item = &Vec<Vec<Value>>> {
        self.queries.iter().map(|(_, _, results)| results)
    }
}

fn results(reader: &mut Reader, sql: &str) -> Vec<Vec<Value>> {
    let read = |row: &rusqlite::Row<'_>| {
        (0..row.as_ref().column_count()).map(|at| row.get(at)).collect::<rusqlite::Result<_>>()
    };
    reader.query(sql, &[], read).unwrap()
}

fn remote(engine: &mut Engine, key: &str, row: Option<(&str, i64)>) {
    let table = engine.schema().named("item").unwrap().clone();
    let id = |name: &str| table.columns[table.column_named(name).unwrap()].id;
    let row = row.map(|(body, n)| vec![(id("body"), body.into()), (id("n"), n.into())]);
    let image = ServerRow { table: table.number, key: key.into(), row };
    engine.apply(Batch { images: vec![image], ..Batch::default() }).unwrap();
}

fn with_tables_beside() -> (tempfile::TempDir, Engine) {
    let (folder, mut engine) = engine(vec![table("item", COLUMNS, Vec::new())]);
    search::create_search_index(&mut engine, "item", &["body"], None).unwrap();
    engine.execute_batch(BESIDE).unwrap();
    (folder, engine)
}

#[test]
fn watch_of_a_filled_table_sees_pull_discard_and_reset() {
    let (_folder, mut engine) = with_tables_beside();
    let queries = [
        "SELECT count(*) FROM unread",
        "SELECT id FROM search_item WHERE search_item MATCH 'milk'",
        "SELECT count(*) FROM mark",
        "SELECT seq FROM sqlite_sequence",
        "SELECT term FROM vocabulary",
    ];
    let mut watched = Watched::new(&mut engine, &queries);
    remote(&mut engine, "a", Some(("milk", 1)));
    assert_eq!(watched.check(&engine, "pull"), 5);
    engine.execute("DELETE FROM item", &[]).unwrap();
    assert_eq!(watched.check(&engine, "local delete"), 4);
    let id = engine.pending().unwrap()[0].id;
    decide::discard(&mut engine, id).unwrap();
    assert_eq!(watched.check(&engine, "discard"), 5);
    reset::reset(&mut engine, Keep::Pending, &[]).unwrap();
    assert_eq!(watched.check(&engine, "reset"), 4);
}

#[test]
fn watch_sees_rows_that_or_fail_has_kept() {
    let (_folder, mut engine) = with_tables_beside();
    let mut watched = Watched::new(&mut engine, &["SELECT id FROM unread ORDER BY id"]);
    let failed = engine.transaction(|tx| {
        Ok(tx.execute("INSERT OR FAIL INTO unread (id) VALUES ('a'), ('a')", &[]).is_err())
    });
    assert!(failed.unwrap());
    assert_eq!(watched.check(&engine, "OR FAIL"), 1);
}

#[test]
fn watch_equals_a_fresh_query_after_any_transaction() {
    let mut rng = Rng::with_seed(7);
    for round in 0..6 {
        let (_folder, mut engine) = with_tables_beside();
        let mut watched = Watched::new(&mut engine, WATCHED);
        for step in 0..40 {
            let what = anything(&mut engine, &mut rng);
            watched.check(&engine, &format!("round {round}, step {step}, {what}"));
        }
    }
}

/// One transaction of any origin.
fn anything(engine: &mut Engine, rng: &mut Rng) -> String {
    const KEYS: [&str; 4] = ["a", "b", "c", "d"];
    const BODIES: [&str; 3] = ["milk", "tea and milk", "oats"];
    let key = KEYS[rng.usize(..KEYS.len())];
    let body = BODIES[rng.usize(..BODIES.len())];
    let first = engine.pending().unwrap().first().map(|mutation| mutation.id);
    let run = |engine: &mut Engine, sql: String| {
        drop(engine.execute(&sql, &[]));
        sql
    };
    match (rng.u8(..14), first) {
        (0, _) => run(engine, format!("INSERT INTO item VALUES ('{key}', '{body}', 1)")),
        (1, _) => run(engine, format!("REPLACE INTO item VALUES ('{key}', '{body}', 2)")),
        (2, _) => run(engine, format!("UPDATE item SET body = '{body}' WHERE id <> '{key}'")),
        (3, _) => run(engine, format!("DELETE FROM item WHERE id = '{key}'")),
        (4, _) => run(engine, format!("DELETE FROM unread WHERE id = '{key}'")),
        (5, _) => run(engine, "DELETE FROM sqlite_sequence".into()),
        (6, _) => run(engine, format!("INSERT INTO words (id, body) VALUES ('x', '{body}')")),
        (7, Some(id)) => {
            decide::discard(engine, id).unwrap();
            "discard".into()
        }
        (8, _) if rng.u8(..4) == 0 => {
            let version = engine.schema().manifest.as_ref().unwrap().schema_version + 1;
            let more = [COLUMNS, &[("more", "string")]].concat();
            let columns = if version % 2 == 0 { &more } else { COLUMNS };
            let next = Manifest::new(version, vec![table("item", columns, Vec::new())]);
            adopt::adopt(engine, &next).unwrap();
            format!("schema {version}")
        }
        (9, _) if rng.u8(..4) == 0 => {
            let keep = [Keep::Pending, Keep::Local, Keep::Nothing][rng.usize(..3)];
            let all: Vec<_> = engine.pending().unwrap().iter().map(|one| one.id).collect();
            let named = if keep == Keep::Pending { &[] } else { &all[..] };
            reset::reset(engine, keep, named).unwrap();
            format!("{keep:?}")
        }
        (10, _) if rng.u8(..4) == 0 => {
            search::drop_search_index(engine, "item").unwrap();
            search::create_search_index(engine, "item", &["body", "n"], None).unwrap();
            "index".into()
        }
        (11, _) => {
            remote(engine, key, None);
            format!("remote delete of {key}")
        }
        _ => {
            remote(engine, key, Some((body, 3)));
            format!("remote {key} {body}")
        }
    }
}

#[test]
fn trigger_on_a_column_is_checked_when_it_is_created() {
    let (_folder, mut engine) = engine(vec![table("item", COLUMNS, Vec::new())]);
    let sql =
        "CREATE TRIGGER t AFTER UPDATE OF n ON item BEGIN INSERT INTO missing VALUES (1); END";
    engine.execute(sql, &[]).unwrap_err();
    assert!(all(&mut engine, "SELECT name FROM sqlite_schema WHERE name = 't'").is_empty());
}

//! Property test: every transaction has the effect that it has in SQLite, and reaches the watches.
//!
//! Random schemas of two synced tables and of what apps keep beside them: tables with triggers, views,
//! generated columns, full-text indexes. Statements of the app and rows of the server change them. The
//! same statements run on a plain connection, whose synced tables have SQLite's own constraints. What
//! `docs/sql.md` lists as different is not drawn. `REJOIN_CASES` multiplies the number of schemas.

mod drawn;
mod server;
mod statement;

use fastrand::Rng;
use rusqlite::Connection;

use super::{Watched, adopt, search};
use crate::cases::cases;
use crate::engine::tests::{engine, text_of};
use crate::engine::{Engine, EngineTransaction};
use crate::error::{Error, Result};
use crate::value::Value;
use drawn::Drawn;
use rejoin_protocol::Manifest;
use statement::Statement;

/// What is compared and watched; of the second ones, the plain connection runs the second.
const QUERIES: &[(&str, Option<&str>)] = &[
    ("SELECT id, body, n, size FROM item ORDER BY id", None),
    ("SELECT id, item, n FROM comment ORDER BY id", None),
    ("SELECT id, seen, twice FROM unread ORDER BY id", None),
    ("SELECT id, n, body, long FROM draft ORDER BY id", None),
    ("SELECT what, id, count(*) FROM log GROUP BY what, id ORDER BY what, id", None),
    ("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'log'", None),
    ("SELECT unread, count(*) FROM mark GROUP BY unread ORDER BY unread", None),
    ("SELECT id, body FROM words ORDER BY id, body", None),
    ("SELECT id FROM words WHERE words MATCH 'milk' ORDER BY id", None),
    ("SELECT * FROM shown ORDER BY id, seen", None),
    ("SELECT * FROM counted ORDER BY id", None),
    ("SELECT id, seen FROM inbox ORDER BY id", None),
    (
        "SELECT id FROM search_item WHERE search_item MATCH 'milk' ORDER BY id",
        Some("SELECT id FROM item WHERE ' ' || lower(body) || ' ' LIKE '% milk %' ORDER BY id"),
    ),
];

/// Counts of what the cases covered.
#[derive(Debug, Default)]
struct Coverage {
    statements: u64,
    failed: u64,
    transactions: u64,
    rolled_back: u64,
    remote_rows: u64,
    /// Results of watched queries that changed.
    changed: usize,
    /// Cases that ended because a trigger failed on a row of the server, which then has no effect.
    disabled: u64,
    cases: u64,
}

/// An engine, and a plain connection with the same tables.
struct World {
    engine: Engine,
    plain: Connection,
    drawn: Drawn,
    watched: Watched,
    requests: i64,
    _folder: tempfile::TempDir,
}

/// A step's end.
#[derive(PartialEq, Eq)]
enum Step {
    Done,
    /// A trigger failed on a row of the server: the engine has disabled it.
    Disabled,
}

impl World {
    #[allow(clippy::disallowed_methods)] // The plain connection is not the engine's.
    fn new(rng: &mut Rng) -> Self {
        let drawn = Drawn::new(rng);
        let (folder, mut engine) = engine(drawn.manifests());
        search::create_search_index(&mut engine, "item", &["body"], None).unwrap();
        let plain = Connection::open_in_memory().unwrap();
        plain.execute_batch("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF").unwrap();
        plain.execute_batch(&drawn.native()).unwrap();
        for sql in &drawn.local {
            engine.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
            plain.execute_batch(sql).unwrap();
        }
        let queries: Vec<&str> = QUERIES.iter().map(|(sql, _)| *sql).collect();
        let watched = Watched::new(&mut engine, &queries);
        Self { engine, plain, drawn, watched, requests: 0, _folder: folder }
    }

    /// Checks that the watches have the results of now, and that the plain connection has the same.
    fn check(&mut self, what: &str, seen: &mut Coverage) -> Result<(), String> {
        seen.changed += self.watched.check(&self.engine, what);
        for (ours, (sql, plain)) in self.watched.results().zip(QUERIES) {
            let theirs = rows(&self.plain, plain.unwrap_or(sql)).unwrap();
            if *ours != theirs {
                let [ours, theirs] = [ours, &theirs].map(|rows| in_text(rows));
                return Err(format!("{what}: {sql}: {ours}, in SQLite {theirs}"));
            }
        }
        Ok(())
    }

    /// One transaction of the app.
    fn local(&mut self, rng: &mut Rng, seen: &mut Coverage) -> Result<String, String> {
        let Self { engine, plain, drawn, .. } = self;
        let mut pair = Pair { plain, drawn, ran: Vec::new(), differs: None };
        plain.execute_batch("BEGIN").unwrap();
        let outcome = engine.transaction(|tx| pair.several(tx, rng, seen, 0));
        let ended = plain.is_autocommit();
        let mut ran = pair.ran.join("; ");
        if let Some(differs) = pair.differs {
            return Err(format!("{ran}: {differs}"));
        }
        seen.transactions += 1;
        match outcome {
            Ok(()) => plain.execute_batch("COMMIT").map_err(|error| format!("{ran}: {error}"))?,
            Err(error) => {
                seen.rolled_back += 1;
                ran = format!("{ran}: {error}");
                if !ended {
                    plain.execute_batch("ROLLBACK").unwrap();
                }
            }
        }
        Ok(ran)
    }

    /// A change of the schema by the app, which has the same result on both sides.
    fn ddl(&mut self, rng: &mut Rng) -> Result<String, String> {
        if rng.u8(..4) == 0 {
            let version = self.engine.schema().manifest.as_ref().unwrap().schema_version + 1;
            let next = Manifest::new(version, self.drawn.manifests_of(version));
            adopt::adopt(&mut self.engine, &next).map_err(|error| error.to_string())?;
            return Ok(format!("schema {version}"));
        }
        if rng.u8(..4) == 0 {
            search::drop_search_index(&mut self.engine, "item").unwrap();
            search::create_search_index(&mut self.engine, "item", &["body"], None).unwrap();
            return Ok("index".to_owned());
        }
        let sql = Drawn::ddl(rng);
        let ours = self.engine.transaction(|tx| tx.execute_batch(&sql));
        let theirs = self.plain.execute_batch(&sql);
        match (ours, theirs) {
            (Ok(()), Ok(())) => Ok(sql),
            (ours, theirs) => Err(format!("{sql}: {ours:?}, in SQLite {theirs:?}")),
        }
    }
}

/// Statements that run on both sides.
struct Pair<'a> {
    plain: &'a Connection,
    drawn: &'a Drawn,
    ran: Vec<String>,
    differs: Option<String>,
}

impl Pair<'_> {
    fn several(
        &mut self,
        tx: &mut EngineTransaction<'_>,
        rng: &mut Rng,
        seen: &mut Coverage,
        depth: u8,
    ) -> Result<()> {
        for _ in 0..rng.u8(1..5) {
            if depth < 2 && rng.u8(..6) == 0 {
                self.savepoint(tx, rng, seen, depth)?;
            } else {
                self.one(tx, rng, seen)?;
            }
            if self.differs.is_some() {
                return Err(Error::Closed);
            }
        }
        Ok(())
    }

    fn savepoint(
        &mut self,
        tx: &mut EngineTransaction<'_>,
        rng: &mut Rng,
        seen: &mut Coverage,
        depth: u8,
    ) -> Result<()> {
        let gives_up = rng.bool();
        self.ran.push("SAVEPOINT".to_owned());
        self.plain.execute_batch("SAVEPOINT s").unwrap();
        let outcome = tx.savepoint(|tx| {
            self.several(tx, rng, seen, depth + 1)?;
            if gives_up { Err(Error::Callback(String::from("given up"))) } else { Ok(()) }
        });
        if self.plain.is_autocommit() {
            return outcome;
        }
        let end = if outcome.is_ok() { "RELEASE s" } else { "ROLLBACK TO s; RELEASE s" };
        self.ran.push(end.to_owned());
        self.plain.execute_batch(end).unwrap();
        Ok(())
    }

    fn one(
        &mut self,
        tx: &mut EngineTransaction<'_>,
        rng: &mut Rng,
        seen: &mut Coverage,
    ) -> Result<()> {
        let Statement { sql, returns } = statement::draw(rng, self.drawn);
        seen.statements += 1;
        self.ran.push(sql.clone());
        let before = self.plain.total_changes();
        let (ours, theirs) = if rng.u8(..5) == 0 {
            (
                tx.execute_batch(&sql).map(|()| Vec::new()),
                self.plain.execute_batch(&sql).map(|()| Vec::new()),
            )
        } else if returns {
            let read = |row: &rusqlite::Row<'_>| Ok(vec![row.get(0)?, row.get(1)?]);
            let ours = tx.query(&sql, &[], read).map(sorted);
            (ours, rows(self.plain, &sql).map(sorted))
        } else {
            let count = |count: usize| vec![vec![Value::from(i64::try_from(count).unwrap())]];
            let theirs = self.plain.execute(&sql, []).map(|count| {
                // The counter keeps the value of an earlier statement.
                if self.plain.total_changes() == before { 0 } else { count }
            });
            (tx.execute(&sql, &[]).map(count), theirs.map(count))
        };
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => Ok(()),
            (Err(error), Err(_)) => {
                seen.failed += 1;
                // Most apps stop at an error; many continue.
                if self.plain.is_autocommit() || rng.u8(..4) == 0 { Err(error) } else { Ok(()) }
            }
            (ours, theirs) => {
                self.differs = Some(format!("{ours:?}, in SQLite {theirs:?}"));
                Ok(())
            }
        }
    }
}

fn rows(conn: &Connection, sql: &str) -> rusqlite::Result<Vec<Vec<Value>>> {
    let mut statement = conn.prepare_cached(sql)?;
    let count = statement.column_count();
    let mut rows = statement.query([])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push((0..count).map(|at| row.get(at)).collect::<rusqlite::Result<_>>()?);
    }
    Ok(out)
}

fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort_by_key(|row| in_text(std::slice::from_ref(row)));
    rows
}

fn in_text(rows: &[Vec<Value>]) -> String {
    let row = |row: &Vec<Value>| row.iter().map(text_of).collect::<Vec<_>>().join(" ");
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// Runs one schema; an error names the step and the schema.
fn case(number: u64, seen: &mut Coverage) -> Result<(), String> {
    let mut rng = Rng::with_seed(number);
    let mut world = World::new(&mut rng);
    seen.cases += 1;
    for _ in 0..30 {
        let (what, step) = match rng.u8(..12) {
            0 => (world.ddl(&mut rng), Step::Done),
            1..4 => match world.remote(&mut rng, seen) {
                Ok((what, step)) => (Ok(what), step),
                Err(error) => (Err(error), Step::Done),
            },
            _ => {
                let ran = world.local(&mut rng, seen);
                let checked = ran.and_then(|ran| world.check(&ran, seen).map(|()| ran));
                world.accept();
                (checked.map(|ran| format!("accept of {ran}")), Step::Done)
            }
        };
        if step == Step::Disabled {
            seen.disabled += 1;
            return Ok(());
        }
        let checked = what.and_then(|what| world.check(&what, seen));
        checked.map_err(|error| {
            format!("case {number}: {error}\n{}", world.drawn.local.join(";\n"))
        })?;
    }
    Ok(())
}

#[test]
fn transactions_equal_sqlite_and_reach_watches() {
    let mut seen = Coverage::default();
    let wanted = cases(40);
    for number in 0..wanted {
        case(number, &mut seen).unwrap_or_else(|error| panic!("{error}"));
    }
    let Coverage { statements, failed, transactions, rolled_back, remote_rows, changed, .. } = seen;
    assert!(statements >= 30 * wanted, "{seen:?}");
    assert!(failed * 20 >= statements && failed * 2 <= statements, "{seen:?}");
    assert!(rolled_back * 20 >= transactions, "{seen:?}");
    assert!(remote_rows >= 5 * wanted && changed as u64 >= 20 * wanted, "{seen:?}");
    assert!(seen.disabled * 4 <= wanted, "{seen:?}");
}

//! Schemas and transactions drawn at random, compared with what the database itself would accept.
//!
//! A device writes transactions. If its rows after a transaction satisfy the constraints of the
//! server's database, which a second copy of the tables decides, the server must accept it and store
//! the same rows as that copy. Otherwise the transaction is parked, and the server unchanged.

use std::fmt::Write as _;

use fastrand::Rng;
use rejoin_core::engine::rebase::decide;
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::backend::SideSession;
use rejoin_tests::{Backend, Device, Store, cases};

use crate::{apply, each_store};

/// A type of the server's database, and values as a device writes them.
type Kind = (&'static str, &'static [&'static str]);

const POSTGRES: &[Kind] = &[
    ("text", &["'a'", "'B'", "''", "'x y'", "'skip'"]),
    ("varchar(5)", &["'abc'", "'  x'", "'a    '", "'too long'"]),
    ("char(4)", &["'a'", "'abcd'", "'ab '", "''"]),
    ("bigint", &["1", "-7", "9007199254740993"]),
    ("smallint", &["3", "40000"]),
    ("numeric(10,2)", &["'3.3333'", "'4'", "'10.00'", "'-0.005'"]),
    ("numeric", &["'1.50'", "'1.5'", "'12345678901234567890'"]),
    ("real", &["0.1", "16777217.0"]),
    ("double precision", &["0.1", "1e300", "2.0"]),
    ("boolean", &["0", "1"]),
    ("timestamptz", &["'2026-01-31T12:00:00.123456Z'", "'2026-01-31T12:00:00+02:00'"]),
    ("timestamptz(0)", &["'2026-01-31T12:00:00.5Z'", "'2026-01-31T12:00:00.499999Z'"]),
    ("timestamp(3)", &["'2026-01-31T12:00:00.123456Z'", "'2026-01-31T12:00:00Z'"]),
    ("date", &["'2026-02-03'", "'1999-12-31'"]),
    ("time(1)", &["'09:30'", "'23:59:58.99'"]),
    ("timetz", &["'09:30:00+02'", "'09:30:00Z'"]),
    ("interval", &["'1 day'", "'25:00:00'", "'P1Y2M'"]),
    ("text[]", &["'{a,b}'", "'{}'", "'{\"a b\"}'"]),
    ("jsonb", &["'{\"b\": 1, \"a\": [1,  2]}'", "'null'", "'3.5'"]),
    ("json", &["'{\"b\": 1,  \"a\": 2}'", "'[]'"]),
    ("bytea", &["x'00ff'", "x''"]),
    ("uuid", &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"]),
    ("mood", &["'ok'", "'sad'", "'none of these'"]),
    ("few", &["3", "-3"]),
];

const SQLITE: &[Kind] = &[
    ("TEXT", &["'a'", "'B'", "''", "'x y'", "'skip'"]),
    ("INTEGER", &["1", "-7", "9007199254740993"]),
    ("REAL", &["0.1", "2.0", "1e300"]),
    ("DECIMAL(10, 2)", &["'3.3333'", "'4'", "'10.00'"]),
    ("BOOLEAN", &["0", "1"]),
    ("DATETIME", &["'2026-01-31T12:00:00.123456Z'", "'2026-01-31T12:00:00.000000Z'"]),
    ("DATE", &["'2026-02-03'"]),
    ("BLOB", &["x'00ff'", "x''"]),
];

const IDS: usize = 6;

/// A table as it was drawn.
#[derive(Debug)]
struct RandomTable {
    name: String,
    columns: Vec<(String, Kind)>,
    /// A unique column, whose values are `u0` to `u3`, or NULL.
    is_unique: bool,
    /// The table that `above` refers to.
    above: Option<String>,
    is_soft: bool,
    /// The columns and constraints after the key, with `{t}` and `{above}` for names of tables.
    body: String,
    /// Statements after the table.
    after: String,
}

fn drawn(rng: &mut Rng, store: Store, at: usize) -> RandomTable {
    let (name, is_soft) = (format!("t{at}"), rng.u8(0..3) == 0);
    let kinds = if store == Store::Postgres { POSTGRES } else { SQLITE };
    let mut body = String::new();
    let mut columns = Vec::new();
    for number in 0..rng.usize(1..4) {
        let kind = kinds[rng.usize(0..kinds.len())];
        let _ = write!(body, ", c{number} {}", kind.0);
        columns.push((format!("c{number}"), kind));
    }
    let is_unique = store == Store::Postgres && rng.bool();
    let mut after = String::new();
    if store == Store::Postgres {
        body.push_str(", u text");
        let partial = if is_soft { " WHERE deleted_at IS NULL" } else { "" };
        match rng.u8(0..3) {
            _ if !is_unique => {}
            0 if !is_soft => body.push_str(" UNIQUE"),
            1 if !is_soft => body.push_str(" UNIQUE DEFERRABLE INITIALLY DEFERRED"),
            _ => after = format!("CREATE UNIQUE INDEX {name}_u ON {{t}} (u){partial};"),
        }
    }
    let above = match rng.u8(0..4) {
        0 if at > 0 => Some(format!("t{}", rng.usize(0..at))),
        1 | 2 => Some(name.clone()),
        _ => None,
    };
    if above.is_some() {
        let kinds = if store == Store::Postgres { 3 } else { 1 };
        let deferrable = ["", " DEFERRABLE INITIALLY DEFERRED", " DEFERRABLE"][rng.usize(0..kinds)];
        let _ = write!(body, ", above text REFERENCES {{above}} (id){deferrable}");
    }
    if store == Store::Postgres && columns[0].1.0 == "text" && rng.bool() {
        let rewrite =
            "IF NEW.c0 = 'skip' THEN RETURN NULL; END IF; NEW.c0 := lower(NEW.c0); RETURN NEW;";
        let _ = write!(
            after,
            "CREATE FUNCTION {{t}}_f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN {rewrite} END $f$;
             CREATE TRIGGER w BEFORE INSERT OR UPDATE ON {{t}} FOR EACH ROW EXECUTE FUNCTION {{t}}_f();"
        );
    }
    RandomTable { name, columns, is_unique, above, is_soft, body, after }
}

/// The statements that create the tables; in a schema of that name, if it is not empty.
fn tables_sql(tables: &[RandomTable], store: Store, schema: &str) -> String {
    let within = |name: &str| match (schema, store) {
        ("", _) => name.to_owned(),
        _ => format!("{schema}.{name}"),
    };
    let mut sql = match (schema, store) {
        ("", Store::Postgres) => {
            "CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE DOMAIN few AS bigint CHECK (VALUE > 0);"
                .to_owned()
        }
        (_, Store::Postgres) => format!("CREATE SCHEMA {schema};"),
        ("", Store::Sqlite) => String::new(),
        (_, Store::Sqlite) => format!("ATTACH ':memory:' AS {schema};"),
    };
    for table in tables {
        let name = within(&table.name);
        let above = table.above.as_deref().unwrap_or_default();
        let above = if store == Store::Postgres { within(above) } else { above.to_owned() };
        let stamp = if store == Store::Postgres { "timestamptz" } else { "TEXT" };
        let mut body = table.body.replace("{above}", &above);
        if !schema.is_empty() {
            // All rows come in one transaction, in any order.
            for deferrable in [" DEFERRABLE INITIALLY DEFERRED", " DEFERRABLE"] {
                body = body.replace(&format!("(id){deferrable}"), "(id)");
            }
            body = body.replace("(id)", "(id) DEFERRABLE INITIALLY DEFERRED");
        }
        let soft = if table.is_soft { format!(", deleted_at {stamp}") } else { String::new() };
        let after = table.after.replace("{t}", &name);
        let _ = write!(
            sql,
            "CREATE TABLE {name} (id text PRIMARY KEY{body}, user_id text, updated_at {stamp}{soft}); {after}"
        );
    }
    sql
}

impl RandomTable {
    /// The columns of the app, for a query.
    fn cells(&self) -> Vec<&str> {
        let mut cells: Vec<&str> = vec!["id"];
        cells.extend(self.columns.iter().map(|(name, _)| name.as_str()));
        cells.extend(self.is_unique.then_some("u"));
        cells.extend(self.above.as_ref().map(|_| "above"));
        cells
    }

    fn value(&self, rng: &mut Rng, cell: &str) -> String {
        match cell {
            _ if rng.u8(0..8) == 0 => "NULL".to_owned(),
            "u" => format!("'u{}'", rng.usize(0..4)),
            "above" if rng.bool() => "NULL".to_owned(),
            "above" => format!("'r{}'", rng.usize(0..IDS)),
            _ => {
                let values =
                    self.columns.iter().find(|(name, _)| name == cell).map_or(&[][..], |c| c.1.1);
                values[rng.usize(0..values.len())].to_owned()
            }
        }
    }

    fn statement(&self, rng: &mut Rng) -> String {
        let cells = self.cells();
        let (name, id) = (&self.name, rng.usize(0..IDS));
        let cell = cells[rng.usize(1..cells.len())];
        match rng.u8(0..12) {
            0..5 => {
                let mut ids: Vec<usize> = (0..IDS).collect();
                rng.shuffle(&mut ids);
                let rows = ids.iter().take(rng.usize(1..4)).map(|id| {
                    let values: Vec<String> =
                        cells[1..].iter().map(|cell| self.value(rng, cell)).collect();
                    format!("('r{id}', {})", values.join(", "))
                });
                let rows: Vec<String> = rows.collect();
                format!("INSERT INTO {name} ({}) VALUES {}", cells.join(", "), rows.join(", "))
            }
            5..8 => {
                format!("UPDATE {name} SET {cell} = {} WHERE id = 'r{id}'", self.value(rng, cell))
            }
            8 if self.is_unique => {
                let (a, b) = (rng.usize(0..IDS), rng.usize(0..IDS));
                format!(
                    "UPDATE {name} SET u = (SELECT u FROM {name} AS o WHERE o.id <> {name}.id AND o.id IN ('r{a}', 'r{b}'))
                     WHERE id IN ('r{a}', 'r{b}')"
                )
            }
            8 => format!("UPDATE {name} SET {cell} = {}", self.value(rng, cell)),
            9 => format!("UPDATE {name} SET id = 'r{}' WHERE id = 'r{id}'", rng.usize(0..IDS)),
            10 => format!("DELETE FROM {name}"),
            _ => format!("DELETE FROM {name} WHERE id IN ('r{id}', 'r{}')", rng.usize(0..IDS)),
        }
    }
}

struct TablesRun {
    store: Store,
    tables: Vec<RandomTable>,
    server: Backend,
    side: SideSession,
    device: Device,
}

impl TablesRun {
    fn new(store: Store, rng: &mut Rng, seed: u64) -> Self {
        let count = rng.usize(1..4);
        let tables: Vec<RandomTable> = (0..count).map(|at| drawn(rng, store, at)).collect();
        let configured =
            tables.iter().map(|table| TableConfig::owned(&table.name, "user_id")).collect();
        let sql = tables_sql(&tables, store, "");
        let server = Backend::made(store, &sql, configured, Limits::default());
        let side = server.side_session();
        attempt(&side, &tables_sql(&tables, store, "trial")).expect("the same tables");
        let mut device = Device::new("ana", seed);
        device.sync(&server);
        Self { store, tables, server, side, device }
    }

    /// The device's rows as literals of the server's database, by table.
    fn local(&mut self) -> Vec<Vec<Vec<String>>> {
        let mut all = Vec::new();
        for table in &self.tables {
            let cells = table.cells();
            let quoted: Vec<String> = cells.iter().map(|cell| format!("quote({cell})")).collect();
            let sql = format!(
                "SELECT json_group_array(json_array({})) FROM (SELECT * FROM {} ORDER BY id)",
                quoted.join(", "),
                table.name
            );
            let text = self.device.see(&sql);
            let rows: Vec<Vec<String>> = serde_json::from_str(&text).expect("rows");
            all.push(rows);
        }
        all
    }

    /// Whether the tables of the trial may have these rows: then they have them.
    fn holds(&self, rows: &[Vec<Vec<String>>], before: &[Vec<Vec<Option<String>>>]) -> bool {
        let mut sql = "BEGIN;".to_owned();
        if self.store == Store::Postgres {
            sql.push_str("SET CONSTRAINTS ALL DEFERRED;");
        }
        for table in self.tables.iter().rev() {
            let _ = write!(sql, "DELETE FROM trial.{};", table.name);
        }
        for ((table, rows), before) in self.tables.iter().zip(rows).zip(before) {
            let cells = table.cells();
            for row in rows {
                let values: Vec<String> = row.iter().map(|value| self.literal(value)).collect();
                let (name, cells) = (&table.name, cells.join(", "));
                let _ = write!(
                    sql,
                    "INSERT INTO trial.{name} ({cells}) VALUES ({});",
                    values.join(", ")
                );
            }
            // What was deleted softly keeps its key and its values.
            let live: Vec<&String> = rows.iter().filter_map(|row| row.first()).collect();
            for row in before.iter().filter(|_| table.is_soft) {
                let text = |cell: &Option<String>| self.stored_literal(cell.as_deref());
                let values: Vec<String> = row.iter().map(text).collect();
                if live.contains(&&values[0]) {
                    continue;
                }
                let (name, cells) = (&table.name, cells.join(", "));
                let _ = write!(
                    sql,
                    "INSERT INTO trial.{name} ({cells}, deleted_at) VALUES ({}, '2026-01-01T00:00:00Z');",
                    values.join(", ")
                );
            }
        }
        let done = attempt(&self.side, &format!("{sql} COMMIT"));
        if done.is_err() {
            let _ = attempt(&self.side, "ROLLBACK");
            return false;
        }
        let stored = self.rows("trial.");
        stored.iter().zip(rows).all(|(stored, rows)| stored.len() == rows.len())
    }

    fn literal(&self, value: &str) -> String {
        match value.strip_prefix("X'").and_then(|rest| rest.strip_suffix('\'')) {
            Some(hex) if self.store == Store::Postgres => format!("'\\x{hex}'"),
            None if self.store == Store::Postgres
                && !value.starts_with('\'')
                && value != "NULL" =>
            {
                format!("'{value}'")
            }
            _ => value.to_owned(),
        }
    }

    /// A cell of [`Self::stored`] as a literal.
    fn stored_literal(&self, cell: Option<&str>) -> String {
        match (cell, self.store) {
            (None, _) => "NULL".to_owned(),
            (Some(text), Store::Sqlite) => text.to_owned(),
            (Some(text), Store::Postgres) => format!("'{}'", text.replace('\'', "''")),
        }
    }

    /// The live rows of the server's database, or of the trial, as text.
    fn rows(&self, schema: &str) -> Vec<Vec<Vec<Option<String>>>> {
        self.stored(schema, true)
    }

    fn stored(&self, schema: &str, live: bool) -> Vec<Vec<Vec<Option<String>>>> {
        let queries: Vec<String> = self
            .tables
            .iter()
            .map(|table| {
                let cells = table.cells();
                // Numbers that differ in zeros after the point only are equal.
                let is_numeric = |cell: &str| {
                    table.columns.iter().any(|(name, kind)| name == cell && kind.0 == "numeric")
                };
                let text = |cell: &&str| match self.store {
                    Store::Postgres if is_numeric(cell) => format!("trim_scale({cell})::text"),
                    Store::Postgres => format!("{cell}::text"),
                    Store::Sqlite => format!("quote({cell})"),
                };
                let cells: Vec<String> = cells.iter().map(text).collect();
                let live = if live && table.is_soft { " WHERE deleted_at IS NULL" } else { "" };
                format!("SELECT {} FROM {schema}{}{live} ORDER BY id", cells.join(", "), table.name)
            })
            .collect();
        let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
        self.side.query(&queries).into_iter().map(|set| set.rows).collect()
    }

    fn round(&mut self, rng: &mut Rng, trace: &mut String) {
        let before = self.stored("", false);
        let (mut all_hold, mut written) = (true, 0);
        for _ in 0..rng.usize(1..3) {
            let count = rng.usize(1..4);
            let statements: Vec<String> = (0..count)
                .map(|_| self.tables[rng.usize(0..self.tables.len())].statement(rng))
                .collect();
            let done = self.device.engine().transaction(|tx| {
                statements.iter().try_for_each(|sql| tx.execute(sql, &[]).map(drop))
            });
            let _ = writeln!(trace, "{}: {done:?}", statements.join("; "));
            if done.is_err() || self.device.queue().len() == written {
                continue;
            }
            written += 1;
            let rows = self.local();
            all_hold &= self.holds(&rows, &before);
            let _ = writeln!(trace, "  holds: {all_hold}");
        }
        let rows_before = self.rows("");
        self.device.sync(&self.server);
        let waiting = self.device.waiting();
        if all_hold {
            let why: Vec<_> = self.device.queue().iter().map(|one| one.detail.clone()).collect();
            assert_eq!(waiting, "", "{trace}\n{why:?}");
            if written > 0 {
                assert_eq!(self.rows(""), self.rows("trial."), "{trace}");
            }
        } else if written == 1 {
            assert!(waiting.starts_with("Parked"), "{waiting} {trace}");
            assert_eq!(self.rows(""), rows_before, "{trace}");
        }
        for mutation in self.device.queue().into_iter().rev() {
            decide::discard(self.device.engine(), mutation.id).expect("it is discarded");
        }
        self.device.sync(&self.server);
        assert_eq!(self.device.waiting(), "", "{trace}");
        let mut other = Device::new("ana", 7);
        other.sync(&self.server);
        for table in &self.tables {
            let sql =
                format!("SELECT {} FROM {} ORDER BY id", table.cells().join(", "), table.name);
            assert_eq!(self.device.see(&sql), other.see(&sql), "{trace}");
        }
    }
}

fn attempt(side: &SideSession, sql: &str) -> Result<(), String> {
    match side {
        SideSession::Sqlite(connection) => {
            connection.execute_batch(sql).map_err(|error| error.to_string())
        }
        SideSession::Postgres(session) => session.attempt(sql),
    }
}

#[apply(each_store)]
fn server_accepts_what_its_database_would_accept(store: Store) {
    let first = std::env::var("REJOIN_SEED").ok().and_then(|text| text.parse().ok());
    let seeds = match first {
        Some(seed) => seed..seed + 1,
        // Over PostgreSQL a run takes a database.
        None => 0..cases(if store == Store::Postgres { 4 } else { 12 }),
    };
    for seed in seeds {
        let mut rng = Rng::with_seed(seed);
        let mut run = TablesRun::new(store, &mut rng, seed);
        let mut trace = format!("seed {seed}\n{}\n", tables_sql(&run.tables, store, ""));
        for _ in 0..6 {
            run.round(&mut rng, &mut trace);
        }
        run.server.remove();
    }
}

//! Feeding: takes rows from `rejoin.ask` in write order, calls the host's resolver, and stores the
//! result in `rejoin.member`. Entries for all affected buckets are written in the same transaction.
//!
//! The resolver is called outside of transactions, and the feeder waits for no writer. Entries go
//! to the inbox with their bucket and with the number of the writer's transaction, so the sequencer
//! numbers them like any other. If the feeder stops before it stores a result, the row is resolved
//! again: a result counts only for the last write of a row.

use std::cell::Cell;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rejoin_protocol::wire::push::Operation;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::connection::{Connection, Params};
use super::descendants::descendants;
use super::feeder_signal::FeederSignal;
use super::table_resolver::{self, TableResolver};
use super::{FINGERPRINT, Known, PostgresStore, is_of, types};
use crate::bucket_resolver::RowWrite;
use crate::error::Fault;
use crate::model::{Feed, Table};

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// Rows per batch, in whole writer transactions.
const BATCH: i64 = 200;

/// Maximum number of rows of one transaction per batch; a larger one is split.
const MOST_OF_ONE: i64 = 5_000;

/// Time after which results are stored; the remaining rows follow in the next batch.
const ASKS_FOR: Duration = Duration::from_secs(1);

/// The lock of the one active feeder, held as long as its connection.
const LOCK: &str = "SELECT pg_try_advisory_lock(1380600396, 0)";

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE";

/// A queued row as last written.
struct QueuedRow {
    id: i64,
    table: i64,
    key: String,
    operation: Operation,
    /// `None`: deleted; the resolver is not called.
    new: Option<Image>,
    old: Option<Image>,
}

/// A row as JSON.
type Image = Map<String, Value>;

/// Results for rows, as columns of parameters.
#[derive(Default)]
struct Answers {
    ids: Vec<i64>,
    /// A bucket, and the id of the queued row next to it.
    named: (Vec<i64>, Vec<String>),
    /// Why the resolver failed for a row.
    failed: (Vec<i64>, Vec<String>),
}

/// A connection for feeding, and whether it holds the lock.
#[derive(Debug)]
pub(crate) struct FeedConnection<'a> {
    store: &'a PostgresStore,
    connection: Connection,
    is_ours: Cell<bool>,
}

impl PostgresStore {
    /// The signal that wakes and ends the feeder.
    pub(crate) fn signal(&self) -> &Arc<FeederSignal> {
        &self.signal
    }

    /// Whether any table needs a feeder.
    pub(crate) fn needs_feeder(&self) -> bool {
        self.known().shapes.iter().any(|shape| shape.resolver.is_some())
    }

    pub(crate) fn feeding(&self) -> std::result::Result<FeedConnection<'_>, Fault> {
        Ok(FeedConnection {
            store: self,
            connection: self.pool.connect()?,
            is_ours: Cell::new(false),
        })
    }
}

/// The size and age of the backlog, and whether a feeder is active.
pub(super) fn state(connection: &Connection) -> Result<Feed> {
    let select = "SELECT (SELECT count(*) FROM (SELECT FROM rejoin.ask LIMIT 100000) AS a)
          + (SELECT count(*) FROM (SELECT FROM rejoin.tell LIMIT 100000) AS t),
        extract(epoch FROM clock_timestamp() - least((SELECT a.at FROM rejoin.ask AS a ORDER BY a.id LIMIT 1),
          (SELECT t.at FROM rejoin.tell AS t ORDER BY t.id LIMIT 1)))::float8,
        EXISTS (SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
          WHERE l.locktype = 'advisory' AND l.classid::bigint = 1380600396 AND l.objid = 0 AND l.granted AND d.datname = current_database())";
    let rows = connection.alone(select, &[])?;
    let Some(row) = rows.first() else { return Ok(Feed::NONE) };
    let age: Option<f64> = row.get(1);
    Ok(Feed {
        waiting: u64::try_from(row.get::<_, i64>(0)).unwrap_or_default(),
        oldest: age.map(|age| Duration::try_from_secs_f64(age).unwrap_or_default()),
        is_fed: row.get(2),
    })
}

impl FeedConnection<'_> {
    /// Whether this node is the active feeder; takes the lock if it is free. A node with older
    /// resolvers than another's leaves the lock to that one.
    pub(crate) fn is_ours(&self) -> std::result::Result<bool, Fault> {
        if table_resolver::is_outdated(&self.connection, &self.store.known())? {
            if self.is_ours.replace(false) {
                self.connection.rows("SELECT pg_advisory_unlock(1380600396, 0)", &[])?;
            }
            return Ok(false);
        }
        if !self.is_ours.get() {
            let row = self.connection.first(LOCK, &[])?;
            self.is_ours.set(row.is_some_and(|row| row.get(0)));
        }
        Ok(self.is_ours.get())
    }

    /// Processes one batch; returns whether there was anything to do.
    pub(crate) fn feed(&self) -> std::result::Result<bool, Fault> {
        let known = self.store.known();
        let numbers: Vec<i64> = (known.schema.tables.iter().zip(&known.shapes))
            .filter_map(|(table, shape)| shape.resolver.as_ref().map(|_| table.number))
            .collect();
        let asked = asked(&self.connection, &numbers)?;
        if asked.is_empty() && !has_ready_entries(&self.connection)? {
            return Ok(false);
        }
        let Some(said) = self.ask(&known, &asked) else { return Ok(false) };
        let names: Params<'_> = &[&known.names];
        let (rows, _) = self.connection.enter(None, BEGIN, (FINGERPRINT, names), None, &[])?;
        if !is_of(&rows, &known.fingerprint) {
            // The schema changed; the results are discarded and the rows resolved again.
            self.connection.batch("ROLLBACK")?;
            self.store.refresh(&self.connection)?;
            return Ok(true);
        }
        // This snapshot also includes results of newer resolvers from other nodes.
        let done = match table_resolver::is_outdated(&self.connection, &known) {
            Ok(true) => Ok(0),
            Ok(false) => keep(&self.connection, &known, &said),
            Err(error) => Err(error),
        };
        match done {
            Ok(done) => {
                self.connection.commit()?;
                Ok(done > 0)
            }
            Err(error) => {
                self.connection.batch("ROLLBACK")?;
                Err(error.into())
            }
        }
    }

    /// Calls the resolvers in order; `None` if the server shuts down meanwhile.
    fn ask(&self, known: &Known, asked: &[QueuedRow]) -> Option<Answers> {
        let begun = Instant::now();
        let mut said = Answers::default();
        for row in asked {
            if self.store.signal.ends() {
                return None;
            }
            if begun.elapsed() > ASKS_FOR {
                break;
            }
            let table = known.schema.tables.iter().find(|table| table.number == row.table)?;
            let resolver = known.shape(table).resolver.as_ref()?;
            said.ids.push(row.id);
            match answer(resolver, table, row) {
                Ok(buckets) => {
                    said.named.0.extend(buckets.iter().map(|_| row.id));
                    said.named.1.extend(buckets);
                }
                Err(why) => {
                    said.failed.0.push(row.id);
                    said.failed.1.push(why.replace('\0', ""));
                }
            }
        }
        (!self.store.signal.ends()).then_some(said)
    }
}

/// Queued rows as last written, in write order; whole transactions, unless they are too large.
fn asked(connection: &Connection, tables: &[i64]) -> Result<Vec<QueuedRow>> {
    let select = "WITH first AS (
        SELECT DISTINCT f.tx FROM (SELECT a.tx FROM rejoin.ask AS a WHERE a.table_number = ANY($1::bigint[])
          ORDER BY a.id LIMIT $2) AS f
      ), touched AS (
        SELECT DISTINCT a.table_number, a.record_id FROM first AS f CROSS JOIN LATERAL (
          SELECT x.table_number, x.record_id FROM rejoin.ask AS x
          WHERE x.tx = f.tx AND x.table_number = ANY($1::bigint[]) ORDER BY x.id LIMIT $3) AS a
      )
      SELECT l.id, l.table_number::bigint, l.record_id, l.operation, l.new_row::text, l.old_row::text
      FROM touched AS t CROSS JOIN LATERAL (SELECT a.* FROM rejoin.ask AS a
        WHERE a.table_number = t.table_number AND a.record_id = t.record_id ORDER BY a.id DESC LIMIT 1) AS l
      ORDER BY l.id";
    let rows = connection.rows(select, &[&tables, &BATCH, &MOST_OF_ONE])?;
    let row = |row: &tokio_postgres::Row| {
        let image = |at: usize| -> Option<Image> {
            serde_json::from_str(row.get::<_, Option<&str>>(at)?).ok()
        };
        let operation =
            if row.get::<_, &str>(3) == "create" { Operation::Create } else { Operation::Update };
        QueuedRow {
            id: row.get(0),
            table: row.get(1),
            key: row.get(2),
            operation,
            new: image(4),
            old: image(5),
        }
    };
    Ok(rows.iter().map(row).collect())
}

/// Whether entries are ready to be written.
fn has_ready_entries(connection: &Connection) -> Result<bool> {
    let select = format!("SELECT EXISTS (SELECT FROM rejoin.tell AS t WHERE {READY})");
    Ok(connection.first(&select, &[])?.is_some_and(|row| row.get(0)))
}

/// An entry is written once its source row and all rows of its own transaction are resolved.
const READY: &str = "NOT EXISTS (SELECT FROM rejoin.ask AS a WHERE a.table_number = t.source_table AND a.record_id = t.source_id)
    AND NOT EXISTS (SELECT FROM rejoin.ask AS a WHERE a.tx = t.tx)";

/// The resolver's buckets for a row, or why it failed.
fn answer(
    resolver: &TableResolver,
    table: &Table,
    row: &QueuedRow,
) -> std::result::Result<Vec<String>, String> {
    let Some(new) = &row.new else { return Ok(Vec::new()) };
    let QueuedRow { key, operation, old, .. } = row;
    let write =
        RowWrite { table: &table.name, id: key, operation: *operation, new, old: old.as_ref() };
    let said = catch_unwind(AssertUnwindSafe(|| {
        resolver.resolver.buckets(&write).map_err(|error| error.to_string())
    }));
    let mut buckets = said.map_err(|_| String::from("the resolver panicked"))??;
    buckets.retain(|bucket| !bucket.is_empty());
    buckets.sort_unstable();
    buckets.dedup();
    let is_odd = |name: &&String| {
        name.starts_with('#') || name.contains(char::is_control) || !types::is_text(name)
    };
    if let Some(odd) = buckets.iter().find(is_odd) {
        return Err(format!("{odd:?} is no name of a bucket"));
    }
    let most = usize::try_from(resolver.most).unwrap_or(usize::MAX);
    if most > 0 && buckets.len() > most {
        return Err(format!("{} buckets, at most {most}", buckets.len()));
    }
    Ok(buckets)
}

/// The condition that `x` refers to the row of the queued `a`.
const SAME: &str = "table_number = a.table_number AND x.record_id = a.record_id";

/// Stores the results and writes the entries that are ready; returns their number. One snapshot:
/// later writes wait for the next batch, and the row stays hidden until then.
fn keep(connection: &Connection, known: &Known, said: &Answers) -> Result<u64> {
    let last = "SELECT a.id, a.table_number::bigint FROM rejoin.ask AS a WHERE a.id = ANY($1::bigint[]) AND NOT EXISTS
        (SELECT FROM rejoin.ask AS n WHERE n.table_number = a.table_number AND n.record_id = a.record_id AND n.id > a.id)";
    let rows = connection.rows(last, &[&said.ids])?;
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let named = (&said.named.0, &said.named.1);
    for table in &known.schema.tables {
        if rows.iter().any(|row| row.get::<_, i64>(1) == table.number) {
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&ids, named.0, named.1];
            connection.execute(&announce(known, table), &params)?;
        }
    }
    let of_ids = "FROM rejoin.ask AS a WHERE a.id = ANY($1::bigint[])";
    connection.execute(
        &format!(
            "DELETE FROM rejoin.tell AS x USING (SELECT a.* {of_ids}) AS a
             WHERE x.source_table = a.table_number AND x.source_id = a.record_id"
        ),
        &[&ids],
    )?;
    connection.execute(
        &format!(
            "DELETE FROM rejoin.member AS x USING (SELECT a.* {of_ids}) AS a WHERE x.{SAME} AND NOT EXISTS
             (SELECT FROM unnest($2::bigint[], $3::text[]) AS f(id, bucket) WHERE f.id = a.id AND f.bucket = x.bucket)"
        ),
        &[&ids, named.0, named.1],
    )?;
    connection.execute(
        "INSERT INTO rejoin.member(table_number, record_id, bucket) SELECT a.table_number, a.record_id, f.bucket
         FROM unnest($2::bigint[], $3::text[]) AS f(id, bucket) JOIN rejoin.ask AS a ON a.id = f.id
         WHERE a.id = ANY($1::bigint[]) ON CONFLICT DO NOTHING",
        &[&ids, named.0, named.1],
    )?;
    connection.execute(
        &format!(
            "DELETE FROM rejoin.bucket_failure AS x USING (SELECT a.* {of_ids}) AS a WHERE x.{SAME}"
        ),
        &[&ids],
    )?;
    connection.execute(
        "INSERT INTO rejoin.bucket_failure(table_number, record_id, why) SELECT a.table_number, a.record_id, f.why
         FROM unnest($2::bigint[], $3::text[]) AS f(id, why) JOIN rejoin.ask AS a ON a.id = f.id
         WHERE a.id = ANY($1::bigint[])",
        &[&ids, &said.failed.0, &said.failed.1],
    )?;
    let answered = connection.execute(
        &format!("DELETE FROM rejoin.ask AS x USING (SELECT a.* {of_ids}) AS a WHERE x.{SAME} AND x.id <= a.id"),
        &[&ids],
    )?;
    Ok(answered + tell(connection)?)
}

/// Entries of resolved rows and their descendants, in their former and current buckets. Descendants
/// that left since are reported where they were.
fn announce(known: &Known, table: &Table) -> String {
    let number = table.number;
    let cast = known.shape(table).cast(table.key);
    let mut lower = String::new();
    for descendant in descendants(known, table) {
        let rows = descendant.rows(known, |link| format!("{link} = h.k::{cast}"));
        let _ = write!(
            lower,
            "UNION SELECT h.tx, h.b, {}, lower.k FROM (SELECT * FROM was UNION SELECT * FROM becomes) AS h
             CROSS JOIN LATERAL {rows}\n",
            descendant.table.number
        );
    }
    format!(
        "WITH was(tx, k, b) AS (
           SELECT a.tx, a.record_id, m.bucket FROM rejoin.ask AS a
           JOIN rejoin.member AS m ON m.table_number = a.table_number AND m.record_id = a.record_id
           WHERE a.id = ANY($1::bigint[]) AND a.table_number = {number}
         ), becomes(tx, k, b) AS (
           SELECT a.tx, a.record_id, f.bucket FROM unnest($2::bigint[], $3::text[]) AS f(id, bucket)
           JOIN rejoin.ask AS a ON a.id = f.id WHERE a.id = ANY($1::bigint[]) AND a.table_number = {number}
         ), entries(tx, b, n, k) AS (
           SELECT h.tx, h.b, {number}, h.k FROM was AS h
           UNION SELECT h.tx, h.b, {number}, h.k FROM becomes AS h
           UNION SELECT h.tx, h.b, t.table_number, t.record_id FROM was AS h
             JOIN rejoin.tell AS t ON t.source_table = {number} AND t.source_id = h.k
           {lower})
         INSERT INTO rejoin.inbox(tx, bucket, table_number, record_id) SELECT tx, b, n, k FROM entries"
    )
}

/// Writes entries of resolved sources; returns how many were waiting.
fn tell(connection: &Connection) -> Result<u64> {
    let statement = format!(
        "WITH ready AS (
           DELETE FROM rejoin.tell AS t WHERE {READY} RETURNING t.tx, t.source_table, t.source_id, t.table_number, t.record_id
         ), entries AS (
           INSERT INTO rejoin.inbox(tx, bucket, table_number, record_id)
           SELECT DISTINCT t.tx, m.bucket, t.table_number, t.record_id FROM ready AS t
           JOIN rejoin.member AS m ON m.table_number = t.source_table AND m.record_id = t.source_id
         )
         SELECT count(*) FROM ready"
    );
    let count = connection.first(&statement, &[])?.map_or(0, |row| row.get::<_, i64>(0));
    Ok(u64::try_from(count).unwrap_or_default())
}

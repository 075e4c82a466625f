//! The log: entries, tags, watermark, and the sequencer that assigns positions. Only triggers write
//! entries, except the one that resets the log.

use rejoin_protocol::time;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::connection::{Connection, Params};
use super::records::put_meta;
use super::{Known, types};
use crate::model::{ChangeEntry, LogState, Table, Touched};
use crate::store::End;
use crate::store::quote::quoted;

/// The sequencer: numbers committed changes in its own transaction and returns the last position.
/// If it numbered any, it notifies the other nodes at the end of that transaction.
pub(super) const SEQUENCE: &str =
    "SELECT s.head, CASE WHEN s.head > h.position THEN pg_notify('rejoin', s.head::text)::text END
    FROM rejoin.head AS h CROSS JOIN LATERAL (SELECT rejoin.sequence() AS head OFFSET 0) AS s";

/// The number of committed changes without a position, counted up to 100,000.
pub(super) const UNNUMBERED: &str = "SELECT count(*) FROM (SELECT FROM rejoin.inbox
    WHERE writer >= coalesce((SELECT later FROM rejoin.head WHERE seen_by::xid = xmin), '0')
    OR writer = ANY(coalesce((SELECT open FROM rejoin.head WHERE seen_by::xid = xmin), '{}')) LIMIT 100000) AS waiting";

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// Gives every row of a table a version that the triggers can increment: an instant, in canonical
/// form if it is text.
pub(super) fn normalise_versions(
    connection: &Connection,
    known: &Known,
    table: &Table,
) -> Result<()> {
    let shape = known.shape(table);
    let column = |at: usize| quoted(table.columns.get(at).map_or("", |column| &column.name));
    let (key, version, name) = (column(table.key), column(table.updated_at), &shape.name);
    if shape.cast(table.updated_at) != "text" {
        let odd = format!("{version} IS NULL OR NOT isfinite({version})");
        connection.batch(&format!("UPDATE {name} SET {version} = 'epoch' WHERE {odd}"))?;
        return Ok(());
    }
    let canonical = "____-__-__T__:__:__.______Z";
    let odd = format!("{version} IS NULL OR {version} NOT LIKE '{canonical}'");
    let select = format!("SELECT {key}::text, {version}::text FROM {name} WHERE {odd}");
    let update = format!(
        "UPDATE {name} SET {version} = $2 WHERE {key} = $1::text::{}",
        shape.cast(table.key)
    );
    for row in connection.rows(&select, &[])? {
        let (key, text): (String, Option<String>) = (row.get(0), row.get(1));
        let micros = text.as_deref().and_then(time::parse).unwrap_or(0);
        connection.execute(&update, &[&key, &time::format(micros)])?;
    }
    Ok(())
}

/// Moves the watermark past the end of the log: unrecorded changes are possible, so every cursor
/// needs a snapshot.
///
/// In a new database it only sets the first position.
pub(super) fn start_epoch(connection: &Connection) -> Result<()> {
    connection.rows("SELECT pg_advisory_xact_lock(1380600394, 0)", &[])?;
    let next = "UPDATE rejoin.head SET position = position + 1 RETURNING position";
    let head: i64 = connection.first(next, &[])?.map_or(1, |row| row.get(0));
    let insert = "INSERT INTO rejoin.changelog(position, tx, bucket, table_number, record_id)
                  VALUES ($1, pg_current_xact_id(), '', 0, '')";
    connection.execute(insert, &[&head])?;
    put_meta(connection, "watermark", &head.to_string())
}

/// The log's identity and ends, and the tag of its last position.
pub(super) struct Ends {
    pub(super) log: LogState,
    pub(super) tag: Option<i64>,
}

/// The tag of the entry at a position, or NULL. The query orders by position, which only one index
/// supports. Otherwise the planner picks any index with a position while the table is small, and
/// the session keeps that plan.
macro_rules! tag_at {
    ($position:literal) => {
        concat!(
            "CASE WHEN ",
            $position,
            " = 0 THEN (SELECT value::bigint FROM rejoin.meta WHERE key = 'zero_tag')
            ELSE (SELECT CASE WHEN c.position = ",
            $position,
            " THEN c.tag END FROM rejoin.changelog AS c
              WHERE c.position >= ",
            $position,
            " ORDER BY c.position LIMIT 1) END"
        )
    };
}

pub(super) const LIFE: &str = concat!(
    "SELECT (SELECT value FROM rejoin.meta WHERE key = 'epoch'),
    (SELECT value FROM rejoin.meta WHERE key = 'cursor_key'),
    (SELECT value::bigint FROM rejoin.meta WHERE key = 'watermark'), h.position, ",
    tag_at!("h.position"),
    // As in `UNNUMBERED`, along the index: numbered rows remain in the table until a vacuum.
    ", coalesce((SELECT true FROM rejoin.inbox AS i
        WHERE i.writer >= CASE WHEN h.seen_by::xid = h.xmin THEN h.later ELSE '0' END ORDER BY i.writer LIMIT 1),
      (SELECT true FROM rejoin.inbox AS i
        WHERE i.writer = ANY(CASE WHEN h.seen_by::xid = h.xmin THEN h.open END) ORDER BY i.writer LIMIT 1), false)
    FROM rejoin.head AS h"
);

/// The tags of these positions, or NULL.
pub(super) const TAGS: &str = concat!(
    "SELECT p.position, ",
    tag_at!("p.position"),
    " FROM unnest($1::bigint[]) AS p(position)"
);

pub(super) fn log_state(connection: &Connection) -> Result<Ends> {
    Ok(ends(connection.first(LIFE, &[])?.as_ref(), 0))
}

/// From a row with the columns of [`LIFE`] from this one on.
pub(super) fn ends(row: Option<&Row>, first: usize) -> Ends {
    let text = |at: usize| {
        row.and_then(|row| row.get::<_, Option<String>>(first + at)).unwrap_or_default()
    };
    let number = |at: usize| row.and_then(|row| row.get::<_, Option<i64>>(first + at));
    let (watermark, head) = (number(2).unwrap_or(0), number(3).unwrap_or(0));
    let unnumbered = row.is_some_and(|row| row.get(first + 5));
    let log = LogState { epoch: text(0), key: text(1), watermark, head, unnumbered };
    Ends { log, tag: number(4) }
}

pub(super) fn tag(connection: &Connection, position: i64) -> Result<Option<i64>> {
    Ok(connection.first(TAGS, &[&[position].as_slice()])?.and_then(|row| row.get(1)))
}

/// Lets the commit of a transaction with entries not wait for the disk: the commit of the sequencer, which numbers them, waits
/// for everything before it in the WAL. Nothing is answered before it, and no read of the log shows the entries.
const EASE: &str = "SELECT set_config('synchronous_commit', 'off', true)
    WHERE EXISTS (SELECT FROM rejoin.inbox WHERE writer = pg_current_xact_id_if_assigned())";

/// Runs a last statement, commits, and returns the last position and its tag after all committed changes are numbered; in
/// one round trip. The inner error is that of what follows the commit.
pub(super) fn commit_to_end(
    connection: &Connection,
    last: (&str, Params<'_>),
) -> Result<Result<End>> {
    const END: &str =
        concat!("SELECT h.position, ", tag_at!("h.position"), " FROM rejoin.head AS h");
    let rows = connection.commit_then(&[last, (EASE, &[])], SEQUENCE, END)?;
    let end = |row: &Row| (row.get(0), row.get::<_, Option<i64>>(1).unwrap_or(0));
    Ok(rows.map(|rows| rows.first().map_or((0, 0), end)))
}

/// Buckets that the database can store; no row is in any other.
pub(super) fn possible(buckets: &[String]) -> Vec<&str> {
    buckets.iter().map(String::as_str).filter(|bucket| types::is_text(bucket)).collect()
}

pub(super) fn most(limit: usize) -> i64 {
    // One more is queried.
    i64::try_from(limit).unwrap_or(i64::MAX).min(i64::MAX - 1)
}

/// The first entries after a position, by buckets. Each bucket is read along its own index, so that
/// the cost depends on the page's size. If fewer entries than buckets remain, the remaining entries
/// are scanned instead. Positions after the watermark have no gaps, so the head gives the number of
/// remaining entries. One more entry than requested shows whether the last transaction continues.
pub(super) const PAGE: &str = "WITH rest(few) AS MATERIALIZED
      (SELECT h.position - cardinality($2::text[]) <= $1 FROM rejoin.head AS h)
    SELECT c.position, c.table_number, c.record_id, c.tag, c.tx FROM (
      SELECT c.* FROM (SELECT * FROM rejoin.changelog AS c WHERE c.position > $1 ORDER BY c.position LIMIT cardinality($2)) AS c
      WHERE (SELECT few FROM rest) AND c.bucket IN (SELECT unnest($2))
      UNION ALL
      SELECT c.* FROM (SELECT DISTINCT unnest($2)) AS b(bucket) CROSS JOIN LATERAL (
        SELECT * FROM rejoin.changelog AS c WHERE c.bucket = b.bucket AND c.position > $1 ORDER BY c.position LIMIT $3::bigint + 1
      ) AS c WHERE NOT (SELECT few FROM rest)
    ) AS c ORDER BY c.position LIMIT $3::bigint + 1";

pub(super) fn page(
    connection: &Connection,
    position: i64,
    buckets: &[&str],
    limit: usize,
) -> Result<Vec<PageEntry>> {
    let rows = connection.rows(PAGE, &[&position, &buckets, &most(limit)])?;
    let entry = |row: &Row| PageEntry { entry: entry(row), tag: row.get(3), tx: row.get(4) };
    Ok(rows.iter().map(entry).collect())
}

/// An entry of a page, with what shows whether its transaction continues.
#[derive(Debug)]
pub(super) struct PageEntry {
    pub(super) entry: ChangeEntry,
    pub(super) tag: i64,
    tx: Transaction,
}

/// The columns of [`PAGE`] as arrays, in the order of its rows.
pub(super) const PAGE_ARRAYS: &str = "array_agg(p.position), array_agg(p.table_number), array_agg(p.record_id), array_agg(p.tag), array_agg(p.tx)";

/// The entries of a row with the columns of [`PAGE_ARRAYS`] from this one on.
pub(super) fn page_of(row: &Row, first: usize) -> Vec<PageEntry> {
    fn list<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> std::vec::IntoIter<T> {
        row.get::<_, Option<Vec<T>>>(at).unwrap_or_default().into_iter()
    }
    let named = list::<i32>(row, first + 1).zip(list(row, first + 2));
    let marked = list(row, first + 3).zip(list(row, first + 4));
    let entries = list(row, first).zip(named).zip(marked);
    let entry =
        |((position, (table, id)), (tag, tx)): ((i64, (i32, String)), (i64, Transaction))| {
            PageEntry { entry: ChangeEntry { position, table: table.into(), id }, tag, tx }
        };
    entries.map(entry).collect()
}

/// Entries in order: at most `limit`, then on to the end of the last one's transaction.
pub(super) fn entries(
    connection: &Connection,
    page: Vec<PageEntry>,
    buckets: &[&str],
    limit: usize,
) -> Result<Vec<ChangeEntry>> {
    const REST: &str = "SELECT c.position, c.table_number, c.record_id
        FROM rejoin.changelog AS c WHERE c.position > $1 AND c.bucket = ANY($2::text[])
        AND c.position < coalesce((SELECT n.position FROM rejoin.changelog AS n
          WHERE n.position > $1 AND n.tx <> (SELECT l.tx FROM rejoin.changelog AS l WHERE l.position >= $1
            ORDER BY l.position LIMIT 1)
          ORDER BY n.position LIMIT 1), 9223372036854775807)
        ORDER BY c.position";
    let (last, next) = (limit.checked_sub(1).and_then(|last| page.get(last)), page.get(limit));
    let continues = last.zip(next).filter(|(last, next)| last.tx == next.tx);
    let continues = continues.map(|(last, _)| last.entry.position);
    let mut entries: Vec<ChangeEntry> =
        page.into_iter().take(limit).map(|entry| entry.entry).collect();
    if let Some(position) = continues {
        let rest = connection.rows(REST, &[&position, &buckets])?;
        entries.extend(rest.iter().map(entry));
    }
    Ok(entries)
}

/// The number of a transaction as it is sent.
#[derive(Debug, PartialEq)]
struct Transaction(u64);

impl<'a> FromSql<'a> for Transaction {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(u64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::XID8
    }
}

/// The buckets of the entries of a span; `None` if some entries were compacted.
pub(super) fn touched(
    connection: &Connection,
    after: i64,
    upto: i64,
) -> Result<Option<Vec<Touched>>> {
    let select = "SELECT c.bucket, c.table_number = 0, count(*) FROM rejoin.changelog AS c
        WHERE c.position > $1 AND c.position <= $2 GROUP BY 1, 2";
    let rows = connection.alone(select, &[&after, &upto])?;
    let entries: i64 = rows.iter().map(|row| row.get::<_, i64>(2)).sum();
    let touched = |row: &Row| Touched { bucket: row.get(0), is_grant: row.get(1) };
    Ok((entries == upto - after).then(|| rows.iter().map(touched).collect()))
}

fn entry(row: &Row) -> ChangeEntry {
    ChangeEntry { position: row.get(0), table: row.get::<_, i32>(1).into(), id: row.get(2) }
}

/// The number of entries after a position, by buckets.
pub(super) const BEHIND: &str =
    "SELECT count(*) FROM (SELECT FROM (SELECT DISTINCT unnest($2::text[])) AS b(bucket)
    CROSS JOIN LATERAL (SELECT FROM rejoin.changelog AS c
      WHERE c.bucket = b.bucket AND c.position > $1 LIMIT 100000) AS c LIMIT 100000) AS waiting";

pub(super) fn behind(connection: &Connection, position: i64, buckets: &[&str]) -> Result<i64> {
    Ok(how_many(&connection.rows(BEHIND, &[&position, &buckets])?))
}

pub(super) fn how_many(rows: &[Row]) -> i64 {
    rows.first().map_or(0, |row| row.get(0))
}

/// Entries without a position count too: the transaction's own, and committed ones.
pub(super) fn was_seen(
    connection: &Connection,
    table: i64,
    id: &str,
    buckets: &[&str],
) -> Result<bool> {
    if !types::is_text(id) {
        return Ok(false);
    }
    let select = "SELECT EXISTS (SELECT FROM rejoin.changelog
                  WHERE table_number = $1::bigint AND record_id = $2 AND bucket = ANY($3::text[]))
                  OR EXISTS (SELECT FROM rejoin.inbox
                  WHERE table_number = $1::bigint AND record_id = $2 AND bucket = ANY($3::text[]))";
    Ok(connection.first(select, &[&table, &id, &buckets])?.is_some_and(|row| row.get(0)))
}

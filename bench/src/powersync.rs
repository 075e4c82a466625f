//! The same table, synced by PowerSync's core: an SQLite extension in its released form, called as
//! its SDKs call it.

pub(crate) mod memory;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, params_from_iter};
use serde_json::{Value, json};

use crate::measure::{Run, Sample, Variant, cpu};
use crate::{apply, ours, raw};

/// The variable that names the extension's file.
const EXTENSION: &str = "REJOIN_BENCH_POWERSYNC";

/// Whether the workload with this name can run: the extension is there, or not needed.
pub(crate) fn can_run(name: &str) -> bool {
    !name.starts_with("powersync: ") || std::env::var_os(EXTENSION).is_some()
}

/// Its page cache of 50 MiB, in SQLite's notation, as its SDK for Kotlin sets it. Other settings are
/// those of Rejoin.
const CACHE: i64 = -51_200;

/// Rows in one line of its protocol, and in one page of ours.
const PAGE: usize = 1_000;

/// How PowerSync stores rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    /// A table of the app with triggers.
    Raw,
    /// JSON behind a view, its default.
    Views,
}

/// Opens a file with the table; writes to it are recorded for an upload.
pub(crate) fn open(path: &Path, tables: Tables) -> Result<Connection> {
    let connection = raw::connect(path)?;
    let file = std::env::var_os(EXTENSION).context(EXTENSION)?;
    rejoin_bench_extension::load(&connection, Path::new(&file), "sqlite3_powersync_init")?;
    connection.pragma_update(None, "cache_size", CACHE)?;
    connection.execute_batch("BEGIN")?;
    call(&connection, "powersync_init()", &[])?;
    if tables == Tables::Raw {
        connection.execute_batch(raw::TABLE)?;
        for write in ["INSERT", "UPDATE", "DELETE"] {
            let table = json!({"name": "item", "table_name": "item"}).to_string();
            let trigger = "powersync_create_raw_table_crud_trigger(?, ?, ?)";
            call(&connection, trigger, &[table.as_str(), &format!("item_{write}"), write])?;
        }
    }
    let schema = schema(tables).to_string();
    call(&connection, "powersync_replace_schema(?)", &[schema.as_str()])?;
    connection.execute_batch("COMMIT")?;
    Ok(connection)
}

/// Fails unless so many writes wait for an upload.
pub(crate) fn check_queue(connection: &Connection, expected: usize) -> Result<()> {
    let queued: i64 = connection.query_row("SELECT count(*) FROM ps_crud", [], |row| row.get(0))?;
    ensure!(queued == i64::try_from(expected)?, "{queued} of {expected} writes were recorded");
    Ok(())
}

fn call(connection: &Connection, sql: &str, values: &[&str]) -> Result<()> {
    let mut call = connection.prepare_cached(&format!("SELECT {sql}"))?;
    call.query_row(params_from_iter(values), |_| Ok(())).with_context(|| sql.to_owned())
}

fn schema(tables: Tables) -> Value {
    let types = ["text", "text", "integer", "real", "integer", "text", "text"];
    let column = |(name, kind): (&&str, &str)| json!({"name": name, "type": kind});
    let columns: Vec<Value> = raw::COLUMNS[1..].iter().zip(types).map(column).collect();
    match tables {
        Tables::Views => json!({"tables": [{"name": "item", "columns": columns}]}),
        Tables::Raw => {
            json!({"tables": [], "raw_tables": [{"name": "item", "table_name": "item"}]})
        }
    }
}

/// First sync of rows into a table of the app, from the bytes of the protocol.
pub(crate) const FIRST_SYNC_RAW: Run =
    |variant, folder, count| first_sync(variant, folder, count, Tables::Raw);
/// The same into JSON behind a view.
pub(crate) const FIRST_SYNC_VIEWS: Run =
    |variant, folder, count| first_sync(variant, folder, count, Tables::Views);

fn first_sync(variant: Variant, folder: &Path, count: usize, tables: Tables) -> Result<Sample> {
    if variant == Variant::Ours {
        return apply::FIRST_SYNC(variant, folder, count);
    }
    let connection = connected(&folder.join("bench.db"), tables)?;
    let lines = lines(count);
    let (sample, _) = cpu(count, || longest_call(&connection, &lines))?;
    let found: i64 = connection.query_row("SELECT count(*) FROM item", [], |row| row.get(0))?;
    ensure!(found == i64::try_from(count)?, "{found} of {count} rows arrived");
    check_queue(&connection, 0)?;
    Ok(sample)
}

/// A file that waits for the first line of a sync.
fn connected(path: &Path, tables: Tables) -> Result<Connection> {
    let connection = open(path, tables)?;
    control(&connection, "start", &json!({"schema": schema(tables)}).to_string())?;
    control(&connection, "connection", "established")?;
    Ok(connection)
}

/// Applies the lines; returns the longest time that one of them held the writer.
fn longest_call(connection: &Connection, lines: &[String]) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for line in lines {
        let began = Instant::now();
        control(connection, "line_text", line)?;
        longest = longest.max(began.elapsed());
    }
    Ok(longest)
}

/// A first sync: the size of the file afterwards, and the longest time that the writer was held.
pub(crate) fn size_and_hold(
    folder: &Path,
    tables: Tables,
    count: usize,
) -> Result<(f64, Duration)> {
    let path = folder.join("bench.db");
    let connection = connected(&path, tables)?;
    let longest = longest_call(&connection, &lines(count))?;
    connection.close().map_err(|(_, error)| error)?;
    Ok((std::fs::metadata(path)?.len() as f64, longest))
}

/// Each call of an SDK has a transaction of its own.
fn control(connection: &Connection, operation: &str, payload: &str) -> Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    call(connection, "powersync_control(?, ?)", &[operation, payload])?;
    Ok(connection.execute_batch("COMMIT")?)
}

/// A checkpoint of one bucket, its rows, and its end. A checksum of zero for each row fits.
fn lines(count: usize) -> Vec<String> {
    let last = count.to_string();
    let bucket = json!({"bucket": "all[]", "checksum": 0, "priority": 3, "count": count});
    let checkpoint = json!({"checkpoint": {"last_op_id": last, "buckets": [bucket]}});
    let page = |first: usize| {
        let rows: Vec<Value> = (first..count.min(first + PAGE)).map(operation).collect();
        json!({"data": {"bucket": "all[]", "has_more": false, "after": first.to_string(),
            "next_after": (first + rows.len()).to_string(), "data": rows}})
    };
    let complete = json!({"checkpoint_complete": {"last_op_id": last}});
    let pages = (0..count).step_by(PAGE).map(page);
    [checkpoint].into_iter().chain(pages).chain([complete]).map(|line| line.to_string()).collect()
}

fn operation(number: usize) -> Value {
    let row = ours::row(number);
    let mut data = serde_json::Map::new();
    for (name, value) in raw::COLUMNS.iter().zip(&row).skip(1) {
        data.insert((*name).to_owned(), json(value));
    }
    json!({"op_id": (number + 1).to_string(), "op": "PUT", "object_type": "item",
        "object_id": json(&row[0]), "checksum": 0, "subkey": null,
        "data": Value::Object(data).to_string()})
}

fn json(value: &rejoin_core::value::Value) -> Value {
    use rejoin_core::value::Value as Cell;
    match value {
        Cell::Integer(number) => json!(number),
        Cell::Real(number) => json!(number),
        Cell::Text(text) => json!(text),
        Cell::Null | Cell::Blob(_) => Value::Null,
    }
}

//! A diagnostic bundle for bug reports, without any row data of the app.
//!
//! One turn of the writer reads everything, so the numbers are consistent. The bundle has no token,
//! key or cell; it has names of tables and columns, and the server's messages about rejected
//! mutations.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use crate::client::StorageHandle;
use crate::engine::log::{self, LogCounts};
use crate::engine::migrate::FORMAT;
use crate::engine::queue::detail::VerdictDetail;
use crate::engine::queue::mutation::{Mutation, MutationState};
use crate::engine::schema::app_trigger::TRIGGER_DISABLED;
use crate::engine::schema::model::Schema;
use crate::engine::schema::sql::quoted;
use crate::engine::{Engine, Reader};
use crate::error::{Error, Result};
use crate::writer::Task;

/// Facts of the file that help and reveal nothing about the user.
const FACTS: [&str; 8] = [
    "client_id",
    "incarnation",
    "epoch",
    "schema_version",
    "schema_hash",
    "rules_hash",
    "first_sync",
    "request",
];

impl StorageHandle<'_> {
    /// A diagnostic bundle as JSON: versions, configuration, counts by state, the last changes of
    /// the status, parked mutations by reason, the schema, sizes. It holds no row data and no
    /// credentials.
    ///
    /// `counters` summarizes the mutations. `queued` (waiting), `in_flight` (sent, no verdict yet)
    /// and `parked` are read from the file, so they survive a restart. `acknowledged` (accepted)
    /// and `retries` (sent again without a response, or as a new attempt) count since the client
    /// was opened and continue over a suspension; so do the `transitions`, of which the last 64 are
    /// kept.
    ///
    /// ```
    /// # use rejoin_core::{Client, Config};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let client = Client::open(Config::new(folder.path().join("a.db"))).wait()?;
    /// let bundle = client.storage().diagnose().wait()?;
    /// assert_eq!(bundle["queue"]["pending"], 0);
    /// assert_eq!(bundle["status"]["state"], "idle");
    /// # Ok::<(), rejoin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of reading the file; [`Error::Suspended`](crate::Error::Suspended), [`Error::Closed`](crate::Error::Closed).
    pub fn diagnose(&self) -> Task<Json> {
        let client = self.0;
        let config = client.config();
        let outside = json!({
            "status": client.status(),
            "transitions": client.transitions(),
            "slow": client.sync().slow(),
            "config": {
                "server": config.server,
                "device_name": config.device_name,
                "platform": config.platform,
                "app_version": config.app_version,
                "bundled_schema": config.schema.as_ref().map(|schema| schema.schema_version),
                "sync_interval_ms": config.sync_interval.as_millis(),
                "push_debounce_ms": config.push_debounce.as_millis(),
                "ack_deadline_ms": config.ack_deadline.as_millis(),
                "transaction_idle_ms": config.transaction_idle.as_millis(),
                "action_run_ms": config.action_budget.run.as_millis(),
                "action_rebase_ms": config.action_budget.rebase.as_millis(),
                "action_bytes": config.action_budget.bytes,
                "max_retries": config.max_retries,
                "server_fault_attempts": config.server_fault_attempts,
                "server_fault_age_ms": config.server_fault_age.as_millis(),
                "page_size": config.page_size,
                "batch_size": config.batch_size,
                "metered": format!("{:?}", config.metered),
                "readers": config.readers,
                "wal_limit": config.wal_limit,
                "allow_http": config.allow_http,
                "durability": format!("{:?}", config.durability),
            },
        });
        client.writer().call(move |engine| {
            let mut bundle = inside(engine)?;
            if let (Json::Object(bundle), Json::Object(outside)) = (&mut bundle, outside) {
                bundle.extend(outside);
            }
            Ok(bundle)
        })
    }
}

/// The engine's part of the bundle.
fn inside(engine: &Engine) -> Result<Json> {
    let mut reader = engine.open_reader()?;
    let facts = FACTS.iter().map(|fact| Ok(((*fact).to_owned(), engine.meta(fact)?.into())));
    let counts = engine.counts()?;
    Ok(json!({
        "versions": {
            "rejoin": env!("CARGO_PKG_VERSION"),
            "sqlite": rusqlite::version(),
            "format": FORMAT,
            "os": std::env::consts::OS,
            "architecture": std::env::consts::ARCH,
        },
        "facts": facts.collect::<Result<Map<_, _>>>()?,
        "queue": {
            "pending": counts.pending,
            "sent": counts.sent,
            "uncertain": counts.uncertain,
            "parked": counts.parked,
        },
        "counters": {
            "queued": counts.pending,
            "in_flight": counts.sent + counts.uncertain,
            "parked": counts.parked,
            "acknowledged": engine.counters().acknowledged(),
            "retries": engine.counters().retries(),
        },
        "log": log(engine)?,
        "parked": parked(engine)?,
        "history": count(&mut reader, "rejoin_history")?,
        "triggers_disabled": triggers_disabled(engine)?,
        "schema": schema(engine.schema(), &mut reader)?,
        "sizes": sizes(engine.path(), &mut reader)?,
    }))
}

/// Numbers of entries of the log; `null` in a file without one.
fn log(engine: &Engine) -> Result<Json> {
    let counts = log::counts(engine.db.conn())?;
    Ok(counts.map_or(Json::Null, |LogCounts { entries, pending, parked }| {
        json!({ "entries": entries, "pending": pending, "parked": parked })
    }))
}

/// Triggers of the app that failed on remote rows: disabled for a transaction, or dropped.
fn triggers_disabled(engine: &Engine) -> Result<Json> {
    let text = engine.meta(TRIGGER_DISABLED)?;
    Ok(text.map_or(Json::Null, |text| serde_json::from_str(&text).unwrap_or(Json::String(text))))
}

/// Number of parked mutations by reason and server code.
fn parked(engine: &Engine) -> Result<Json> {
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for Mutation { state, reason, detail, .. } in engine.pending()? {
        if state != MutationState::Parked {
            continue;
        }
        let detail = detail.map(|text| VerdictDetail::decode(&text, engine.schema()));
        let code = detail.and_then(|detail| detail.code).unwrap_or_default();
        let reason =
            reason.map_or_else(String::new, |reason| format!("{reason:?} ").to_lowercase());
        *reasons.entry(format!("{reason}{code}").trim_end().to_owned()).or_default() += 1;
    }
    Ok(json!(reasons))
}

fn schema(schema: &Schema, reader: &mut Reader) -> Result<Json> {
    let mut tables = BTreeMap::new();
    for table in schema.tables.values() {
        let name = quoted(&table.name);
        tables.insert(
            table.name.clone(),
            json!({
                "rows": count(reader, &name)?,
                "columns": table.columns.iter().map(|column| &column.name).collect::<Vec<_>>(),
                "rules": table.rules.len(),
                "writable": table.writable,
            }),
        );
    }
    Ok(json!({ "tables": tables, "broken_views": broken_views(reader)? }))
}

/// Views of the app that do not compile, each with the error: they name a column or table that the
/// schema no longer has. SQLite then refuses `ALTER TABLE ... RENAME` on every table.
fn broken_views(reader: &mut Reader) -> Result<Json> {
    let views = "SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name";
    let mut broken = Map::new();
    for view in reader.query(views, &[], |row| row.get::<_, String>(0))? {
        let select = format!("SELECT * FROM {}", quoted(&view));
        match reader.tables_of(&select) {
            Err(error @ Error::InvalidInput(_)) => {
                broken.insert(view, error.to_string().into());
            }
            other => drop(other?),
        }
    }
    Ok(Json::Object(broken))
}

fn sizes(path: &Path, reader: &mut Reader) -> Result<Json> {
    let size = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |file| file.len())
    };
    Ok(json!({
        "file": size(""),
        "wal": size("-wal"),
        "pages": pragma(reader, "page_count")?,
        "free_pages": pragma(reader, "freelist_count")?,
        "page_size": pragma(reader, "page_size")?,
    }))
}

fn count(reader: &mut Reader, table: &str) -> Result<i64> {
    number(reader, &format!("SELECT count(*) FROM {table}"))
}

fn pragma(reader: &mut Reader, name: &str) -> Result<i64> {
    number(reader, &format!("PRAGMA {name}"))
}

fn number(reader: &mut Reader, sql: &str) -> Result<i64> {
    reader.rows(sql, &[])?.into_first().map_or(Ok(0), |row| row.get(0))
}

//! The TOML file, read key by key so that all problems are reported at once with their lines.
//!
//! Unknown keys are problems: a misspelt `owner_column` must not silently leave rows without an
//! owner.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::reader::{ConfigReader, TableMembers};
use super::{Config, Limits, MembershipConfig, PostgresUrl, Retention, RowSecurity, auth};
use crate::error::Problem;

mod action;
mod stream;
mod table;

impl Config {
    /// Reads a configuration. `REJOIN_...` variables of `environment` override the file. Reports
    /// all problems at once.
    pub fn from_toml(text: &str, environment: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let mut reader = ConfigReader::new(text);
        let mut root = reader.root();
        reader.override_by(&mut root, environment);
        let config = config(&mut reader, root);
        reader.finish(&config)?;
        Ok(config)
    }
}

fn config(reader: &mut ConfigReader<'_>, mut root: TableMembers) -> Config {
    let mut config = Config::new("");
    config.listen = SocketAddr::from(([127, 0, 0, 1], 7878));
    if let Some(listen) = reader.text(&mut root, "listen") {
        match listen.parse() {
            Ok(address) => config.listen = address,
            Err(_) => reader.problem("listen", "an address is IP:PORT, such as 127.0.0.1:7878"),
        }
    }
    config.store = reader.text(&mut root, "store").map(PostgresUrl::from);
    config.pooler = reader.text(&mut root, "pooler").map(PostgresUrl::from);
    config.page_store = reader.text(&mut root, "page_store");
    config.replica = reader.text(&mut root, "replica").map(PostgresUrl::from);
    if let Some(postgres) = reader.table(&mut root, "postgres") {
        config.row_security = RowSecurity::read(reader, postgres);
    }
    match reader.text(&mut root, "database") {
        None if config.store.is_some() => {}
        Some(path) if !path.is_empty() => config.database = PathBuf::from(path),
        Some(_) => reader.problem("database", "the path is empty"),
        None => reader.problem("database", "missing: name the SQLite file, or a store"),
    }
    config.bucket_function = reader.text(&mut root, "bucket_function");
    if let Some(most) = reader.number(&mut root, "max_buckets_per_event") {
        config.max_buckets_per_event = u32::try_from(most).unwrap_or(u32::MAX);
    }
    config.drop_resolvers = reader.texts(&mut root, "drop_resolvers");
    config.strict = reader.truth(&mut root, "strict").unwrap_or(false);
    config.min_app_version = reader.text(&mut root, "min_app_version");
    if let Some(auth) = reader.table(&mut root, "auth") {
        config.auth = auth::read(reader, auth);
    } else {
        reader.problem("auth", "missing: set auth.header or [auth.jwt]");
    }
    if let Some(limits) = reader.table(&mut root, "limits") {
        config.limits = read_limits(reader, limits);
    }
    if let Some(retention) = reader.table(&mut root, "retention") {
        config.retention = read_retention(reader, retention);
    }
    if let Some(mut telemetry) = reader.table(&mut root, "telemetry") {
        config.otlp = reader.truth(&mut telemetry, "otlp").unwrap_or(false);
        reader.leftover(&telemetry);
    }
    if let Some(membership) = reader.table(&mut root, "membership") {
        config.membership = Some(read_membership(reader, membership));
    }
    for table in reader.tables(&mut root, "tables") {
        let table = table::read(reader, table, &config.tables);
        config.tables.extend(table);
    }
    for action in reader.tables(&mut root, "actions") {
        config.actions.extend(action::read(reader, action));
    }
    for stream in reader.tables(&mut root, "streams") {
        config.streams.extend(stream::read(reader, stream));
    }
    reader.leftover(&root);
    config
}

fn read_membership(
    reader: &mut ConfigReader<'_>,
    mut membership: TableMembers,
) -> MembershipConfig {
    let query = reader.text(&mut membership, "query").unwrap_or_default();
    let tables = reader.texts(&mut membership, "tables");
    reader.leftover(&membership);
    MembershipConfig { query, tables }
}

fn read_limits(reader: &mut ConfigReader<'_>, mut limits: TableMembers) -> Limits {
    let mut read = Limits::default();
    for (name, value) in [
        ("body", &mut read.body),
        ("groups", &mut read.groups),
        ("changes", &mut read.changes),
        ("page", &mut read.page),
        ("page_bytes", &mut read.page_bytes),
        ("bodies", &mut read.bodies),
        ("staged_per_user", &mut read.staged_per_user),
    ] {
        if let Some(number) = reader.number(&mut limits, name) {
            *value = usize::try_from(number).unwrap_or(usize::MAX);
        }
    }
    for (name, value) in [
        ("wait_ms", &mut read.wait_ms),
        ("push_ms", &mut read.push_ms),
        ("lag_ms", &mut read.lag_ms),
        ("grace_ms", &mut read.grace_ms),
        ("plain_clock_ms", &mut read.plain_clock_ms),
        ("log_drift_ms", &mut read.log_drift_ms),
        ("connections", &mut read.connections),
        ("header_timeout_ms", &mut read.header_timeout_ms),
        ("idle_timeout_ms", &mut read.idle_timeout_ms),
        ("streams_per_user", &mut read.streams_per_user),
        ("requests_per_user", &mut read.requests_per_user),
        ("verdicts_per_device", &mut read.verdicts_per_device),
        ("devices_per_user", &mut read.devices_per_user),
        ("rejections_per_user", &mut read.rejections_per_user),
        ("log_entries_per_user", &mut read.log_entries_per_user),
    ] {
        if let Some(number) = reader.number(&mut limits, name) {
            *value = u32::try_from(number).unwrap_or(u32::MAX);
        }
    }
    reader.leftover(&limits);
    read
}

fn read_retention(reader: &mut ConfigReader<'_>, mut retention: TableMembers) -> Retention {
    let mut read = Retention::default();
    for (name, value) in [
        ("log_days", &mut read.log_days),
        ("verdict_days", &mut read.verdict_days),
        ("batch", &mut read.batch),
        ("every_minutes", &mut read.every_minutes),
        ("schema_days", &mut read.schema_days),
    ] {
        if let Some(number) = reader.number(&mut retention, name) {
            *value = u32::try_from(number).unwrap_or(u32::MAX);
        }
    }
    reader.leftover(&retention);
    read
}

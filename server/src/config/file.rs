//! The TOML file: read key by key, so that every problem is found at once and has its line.
//!
//! Unknown keys are problems too: a misspelt `owner_column` must not silently mean that nobody owns the rows.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::reader::{Members, Reader};
use super::{Auth, Config, JwtConfig, Limits, PostgresUrl, Problem, Retention, RowSecurity};

mod action;
mod table;

impl Config {
    /// Reads a configuration. Variables `REJOIN_...` of `environment` override the file; all problems come at once.
    pub fn from_toml(text: &str, environment: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(text);
        let mut root = reader.root();
        reader.override_by(&mut root, environment);
        let config = config(&mut reader, root);
        reader.finish(&config)?;
        Ok(config)
    }
}

fn config(reader: &mut Reader<'_>, mut root: Members) -> Config {
    let mut config = Config::new("");
    config.listen = SocketAddr::from(([127, 0, 0, 1], 7878));
    if let Some(listen) = reader.text(&mut root, "listen") {
        match listen.parse() {
            Ok(address) => config.listen = address,
            Err(_) => reader.problem("listen", "an address is IP:PORT, such as 127.0.0.1:7878"),
        }
    }
    config.store = reader.text(&mut root, "store").map(PostgresUrl::from);
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
    config.min_app_version = reader.text(&mut root, "min_app_version");
    if let Some(auth) = reader.table(&mut root, "auth") {
        config.auth = read_auth(reader, auth);
    } else {
        reader.problem("auth", "missing: set auth.header or [auth.jwt]");
    }
    if let Some(limits) = reader.table(&mut root, "limits") {
        config.limits = read_limits(reader, limits);
    }
    if let Some(retention) = reader.table(&mut root, "retention") {
        config.retention = read_retention(reader, retention);
    }
    for table in reader.tables(&mut root, "tables") {
        let table = table::read(reader, table, &config.tables);
        config.tables.extend(table);
    }
    for action in reader.tables(&mut root, "actions") {
        config.actions.extend(action::read(reader, action));
    }
    reader.leftover(&root);
    config
}

fn read_auth(reader: &mut Reader<'_>, mut auth: Members) -> Auth {
    let header = reader.text(&mut auth, "header");
    let jwt = reader.table(&mut auth, "jwt").map(|jwt| read_jwt(reader, jwt));
    reader.leftover(&auth);
    match (header, jwt) {
        (Some(_), Some(jwt)) => {
            reader.problem("auth.header", "set the header or [auth.jwt], not both");
            Auth::Jwt(jwt)
        }
        (None, Some(jwt)) => Auth::Jwt(jwt),
        (Some(name), None) => Auth::Header { name },
        (None, None) => {
            reader.problem("auth", "set auth.header or [auth.jwt]");
            Auth::Header { name: String::from("X-User-ID") }
        }
    }
}

fn read_jwt(reader: &mut Reader<'_>, mut jwt: Members) -> JwtConfig {
    let mut config = JwtConfig::new("", "", "");
    if let Some(secret) = reader.text(&mut jwt, "secret") {
        config.secret = secret;
    } else {
        reader.problem("auth.jwt.secret", "missing: set it, or REJOIN_AUTH_JWT_SECRET");
        // One problem is enough for what is not there.
        config.secret = "-".repeat(32);
    }
    config.issuer = named_or_any(reader, &mut jwt, "issuer", "any_issuer");
    config.audience = named_or_any(reader, &mut jwt, "audience", "any_audience");
    if let Some(claim) = reader.text(&mut jwt, "user_claim") {
        config.user_claim = claim;
    }
    if let Some(required) = reader.truth(&mut jwt, "require_expiry") {
        config.require_expiry = required;
    }
    reader.leftover(&jwt);
    config
}

/// Issuer and audience are required unless the file says in words that they are not (D31).
fn named_or_any(
    reader: &mut Reader<'_>,
    jwt: &mut Members,
    name: &str,
    any: &str,
) -> Option<String> {
    let named = reader.text(jwt, name);
    let any_is_good = reader.truth(jwt, any).unwrap_or(false);
    match (&named, any_is_good) {
        (None, false) => {
            reader
                .problem(&format!("auth.jwt.{name}"), &format!("missing: set it, or {any} = true"));
        }
        (Some(_), true) => {
            reader.problem(&format!("auth.jwt.{any}"), &format!("{name} is set: one or the other"));
        }
        _ => {}
    }
    named
}

fn read_limits(reader: &mut Reader<'_>, mut limits: Members) -> Limits {
    let mut read = Limits::default();
    for (name, value) in [
        ("body", &mut read.body),
        ("groups", &mut read.groups),
        ("changes", &mut read.changes),
        ("page", &mut read.page),
        ("page_bytes", &mut read.page_bytes),
    ] {
        if let Some(number) = reader.number(&mut limits, name) {
            *value = usize::try_from(number).unwrap_or(usize::MAX);
        }
    }
    for (name, value) in [
        ("wait_ms", &mut read.wait_ms),
        ("lag_ms", &mut read.lag_ms),
        ("grace_ms", &mut read.grace_ms),
        ("plain_clock_ms", &mut read.plain_clock_ms),
    ] {
        if let Some(number) = reader.number(&mut limits, name) {
            *value = u32::try_from(number).unwrap_or(u32::MAX);
        }
    }
    reader.leftover(&limits);
    read
}

fn read_retention(reader: &mut Reader<'_>, mut retention: Members) -> Retention {
    let mut read = Retention::default();
    for (name, value) in [
        ("log_days", &mut read.log_days),
        ("verdict_days", &mut read.verdict_days),
        ("batch", &mut read.batch),
        ("every_minutes", &mut read.every_minutes),
    ] {
        if let Some(number) = reader.number(&mut retention, name) {
            *value = u32::try_from(number).unwrap_or(u32::MAX);
        }
    }
    reader.leftover(&retention);
    read
}

//! The TOML file: read key by key, so that every problem is found at once and has its line.
//!
//! Unknown keys are problems too: a misspelt `owner_column` must not silently mean that nobody owns the rows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use rejoin_protocol::Policy;
use rejoin_protocol::manifest::{ReferenceAction, Rule};

use crate::engine::resolve::Resolve;

use super::reader::{Members, Reader};
use super::{
    Auth, Config, JwtConfig, Limits, ParentConfig, PostgresUrl, Problem, PushPolicy, Retention,
    TableConfig,
};

mod action;

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
    match reader.text(&mut root, "database") {
        None if config.store.is_some() => {}
        Some(path) if !path.is_empty() => config.database = PathBuf::from(path),
        Some(_) => reader.problem("database", "the path is empty"),
        None => reader.problem("database", "missing: name the SQLite file, or a store"),
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
        let table = read_table(reader, table, &config.tables);
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
    for (name, value) in
        [("wait_ms", &mut read.wait_ms), ("plain_clock_ms", &mut read.plain_clock_ms)]
    {
        if let Some(number) = reader.number(&mut limits, name) {
            *value = u32::try_from(number).unwrap_or(u32::MAX);
        }
    }
    reader.leftover(&limits);
    read
}

fn read_retention(reader: &mut Reader<'_>, mut retention: Members) -> Retention {
    let mut read = Retention::default();
    let days = [("log_days", &mut read.log_days), ("verdict_days", &mut read.verdict_days)];
    for (name, value) in days {
        if let Some(number) = reader.number(&mut retention, name) {
            *value = u32::try_from(number).unwrap_or(u32::MAX);
        }
    }
    reader.leftover(&retention);
    read
}

/// A table, unless one of its name was there before.
fn read_table(
    reader: &mut Reader<'_>,
    mut members: Members,
    before: &[TableConfig],
) -> Option<TableConfig> {
    let place = members.place.clone();
    if !members.has("name") {
        reader.problem(&format!("{place}.name"), "missing: name the table");
    }
    let mut table = TableConfig::new(reader.text(&mut members, "name").unwrap_or_default());
    let is_second = before.iter().any(|known| known.name == table.name);
    if is_second {
        reader.problem(&format!("{place}.name"), "the table is configured twice");
    } else if !table.name.is_empty() {
        members = reader.rename(members, format!("tables.{}", table.name));
    }
    let place = members.place.clone();
    match reader.text(&mut members, "push").as_deref() {
        None => {}
        Some("owner_only") => table.push = Some(PushPolicy::OwnerOnly),
        Some("disabled") => table.push = Some(PushPolicy::Disabled),
        Some(_) => reader.problem(&format!("{place}.push"), "\"owner_only\" or \"disabled\""),
    }
    read_conflicts(reader, &mut members, &mut table);
    table.owner_column = reader.text(&mut members, "owner_column");
    let parent = reader.text(&mut members, "parent_table");
    let column = reader.text(&mut members, "parent_fk_col");
    table.parent = match (parent, column) {
        (Some(table), Some(column)) => Some(ParentConfig { table, column }),
        (Some(_), None) => {
            let why = "missing: name the column that holds the parent's key";
            reader.problem(&format!("{place}.parent_fk_col"), why);
            None
        }
        (None, Some(_)) => {
            reader.problem(&format!("{place}.parent_table"), "missing: name the parent's table");
            None
        }
        (None, None) => None,
    };
    table.allow_global_read = reader.truth(&mut members, "allow_global_read").unwrap_or(false);
    table.infer_rules = reader.truth(&mut members, "infer_rules").unwrap_or(true);
    table.protected = reader.texts(&mut members, "protected");
    let columns = [
        ("updated_at_column", &mut table.updated_at_column),
        ("deleted_at_column", &mut table.deleted_at_column),
    ];
    for (name, column) in columns {
        if let Some(text) = reader.text(&mut members, name) {
            *column = text;
        }
    }
    for rule in reader.tables(&mut members, "rules") {
        table.rules.extend(read_rule(reader, rule));
    }
    reader.leftover(&members);
    (!is_second).then_some(table)
}

/// What becomes of edits that meet other changes.
fn read_conflicts(reader: &mut Reader<'_>, members: &mut Members, table: &mut TableConfig) {
    let place = members.place.clone();
    if let Some(word) = reader.text(members, "policy") {
        if let Some(policy) = Policy::of_word(&word) {
            table.policy = policy;
        } else {
            let words = Policy::ALL.map(Policy::word).join(", ");
            reader.problem(&format!("{place}.policy"), &format!("one of {words}"));
        }
    }
    match reader.text(members, "resolver").as_deref() {
        None | Some("column_merge") => {}
        Some("server_wins") => table.resolver = Resolve::ServerWins,
        Some(_) => {
            reader.problem(&format!("{place}.resolver"), "\"column_merge\" or \"server_wins\"");
        }
    }
    if let Some(number) = reader.number(members, "skew_tolerance_ms") {
        table.skew_tolerance_ms = u32::try_from(number).unwrap_or(u32::MAX);
    }
}

fn read_rule(reader: &mut Reader<'_>, mut rule: Members) -> Option<Rule> {
    let place = rule.place.clone();
    let kind = reader.text(&mut rule, "kind").unwrap_or_default();
    let mut need = |reader: &mut Reader<'_>, name: &str| {
        let text = reader.text(&mut rule, name);
        if text.is_none() {
            reader.problem(&format!("{place}.{name}"), "missing");
        }
        text
    };
    let read = match kind.as_str() {
        "not_null" => Some(Rule::NotNull { column: need(reader, "column")? }),
        "check" => {
            let name = need(reader, "name")?;
            Some(Rule::Check { name, expression: need(reader, "expression")? })
        }
        "references" => {
            let (column, table) = (need(reader, "column")?, need(reader, "table")?);
            let on_delete = action(reader, &mut rule, "on_delete");
            let on_update = action(reader, &mut rule, "on_update");
            Some(Rule::References { column, table, on_delete, on_update })
        }
        "unique" => {
            let why = "UNIQUE is no rule of the embedded store (D29): it could not keep it";
            reader.problem(&format!("{place}.kind"), why);
            reader.texts(&mut rule, "columns");
            None
        }
        _ => {
            reader.problem(&format!("{place}.kind"), "not_null, check or references");
            return None;
        }
    };
    reader.leftover(&rule);
    read
}

fn action(reader: &mut Reader<'_>, rule: &mut Members, name: &str) -> ReferenceAction {
    let actions = BTreeMap::from([
        ("no_action", ReferenceAction::NoAction),
        ("restrict", ReferenceAction::Restrict),
        ("cascade", ReferenceAction::Cascade),
        ("set_null", ReferenceAction::SetNull),
    ]);
    let Some(word) = reader.text(rule, name) else { return ReferenceAction::NoAction };
    actions.get(word.as_str()).copied().unwrap_or_else(|| {
        let why = "no_action, restrict, cascade or set_null";
        reader.problem(&format!("{}.{name}", rule.place), why);
        ReferenceAction::NoAction
    })
}

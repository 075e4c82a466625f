//! Reads a TOML document key by key: each key is read once, and keys that remain unread are
//! problems.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;
use crate::error::{Problem, ProblemKind};

/// The settings that an environment variable can override.
const PLACES: &[&str] = &[
    "listen",
    "database",
    "store",
    "pooler",
    "replica",
    "page_store",
    "postgres.role",
    "min_app_version",
    "auth.header",
    "auth.jwt.secret",
    "auth.jwt.issuer",
    "auth.jwt.audience",
    "auth.jwt.user_claim",
    "auth.jwt.algorithm",
    "auth.jwt.jwks",
    "auth.jwt.jwks_url",
    "limits.body",
    "limits.groups",
    "limits.changes",
    "limits.page",
    "limits.page_bytes",
    "limits.wait_ms",
    "limits.push_ms",
    "limits.lag_ms",
    "limits.grace_ms",
    "limits.plain_clock_ms",
    "limits.log_drift_ms",
    "limits.connections",
    "limits.header_timeout_ms",
    "limits.idle_timeout_ms",
    "limits.streams_per_user",
    "limits.requests_per_user",
    "limits.verdicts_per_device",
    "limits.bodies",
    "limits.staged_per_user",
    "limits.devices_per_user",
    "limits.rejections_per_user",
    "limits.log_entries_per_user",
    "retention.log_days",
    "retention.verdict_days",
    "retention.batch",
    "retention.every_minutes",
    "telemetry.otlp",
    "retention.schema_days",
];

/// Reads a document and collects its problems.
pub(super) struct ConfigReader<'a> {
    text: &'a str,
    lines: BTreeMap<String, usize>,
    problems: Vec<Problem>,
}

/// The members of a table that were not read yet.
#[derive(Debug, Default)]
pub(super) struct TableMembers {
    /// The path of the table in problems, e.g. `auth.jwt`.
    pub(super) place: String,
    members: BTreeMap<String, Member>,
}

#[derive(Debug)]
struct Member {
    line: Option<usize>,
    value: Item,
}

#[derive(Debug)]
enum Item {
    Text(String),
    Number(i64),
    Truth(bool),
    List(Vec<Item>),
    Table(TableMembers),
    Other(&'static str),
}

impl TableMembers {
    fn take(&mut self, name: &str) -> Option<Item> {
        self.members.remove(name).map(|member| member.value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }
}

impl<'a> ConfigReader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, lines: BTreeMap::new(), problems: Vec::new() }
    }

    /// The document's root table. Syntax errors are reported as problems.
    pub(super) fn root(&mut self) -> TableMembers {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let line = error.span().map(|span| self.line(span.start));
            let why = error.message().to_owned();
            self.problems.push(Problem { line, ..Problem::new("syntax", why) });
        }
        self.members(String::new(), root.get_ref())
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(self.text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    fn members(&mut self, place: String, table: &DeTable<'_>) -> TableMembers {
        let mut members = TableMembers { place, members: BTreeMap::new() };
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let place = members.place_of(&name);
            let line = self.line(key.span().start);
            self.lines.entry(place.clone()).or_insert(line);
            let value = self.item(place, value);
            members.members.insert(name, Member { line: Some(line), value });
        }
        members
    }

    fn item(&mut self, place: String, value: &Spanned<DeValue<'_>>) -> Item {
        match value.get_ref() {
            DeValue::String(text) => Item::Text(text.to_string()),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                i64::from_str_radix(&digits, number.radix())
                    .map_or(Item::Other("a number"), Item::Number)
            }
            DeValue::Boolean(truth) => Item::Truth(*truth),
            DeValue::Float(_) => Item::Other("a fraction"),
            DeValue::Datetime(_) => Item::Other("a date"),
            DeValue::Array(items) => Item::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| {
                        let place = format!("{place}[{at}]");
                        let line = self.line(item.span().start);
                        self.lines.insert(place.clone(), line);
                        self.item(place, item)
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Item::Table(self.members(place, table)),
        }
    }

    /// Applies the environment: `REJOIN_AUTH_JWT_SECRET` is `auth.jwt.secret`. `REJOIN_STORE` and
    /// `REJOIN_DATABASE` each replace both `store` and `database` of the file, the latter also
    /// `pooler` and `replica`.
    pub(super) fn override_by(
        &mut self,
        root: &mut TableMembers,
        environment: &[(String, String)],
    ) {
        for place in PLACES {
            let variable = variable_of(place);
            let Some((_, text)) = environment.iter().find(|(name, _)| *name == variable) else {
                continue;
            };
            self.lines.remove(*place);
            drop_other_database(root, place, environment);
            let is_number = place.starts_with("limits.") || place.starts_with("retention.");
            let truth = text.trim().parse::<bool>().ok().filter(|_| *place == "telemetry.otlp");
            let value = match text.trim().parse::<i64>() {
                _ if truth.is_some() => Item::Truth(truth == Some(true)),
                Ok(number) if is_number => Item::Number(number),
                Err(_) if is_number => {
                    self.problems.push(Problem::new(&variable, "this is no number"));
                    continue;
                }
                _ => Item::Text(text.clone()),
            };
            put(root, place, value);
        }
    }

    /// Reports a problem at this path, with the line of the path or of its closest parent.
    pub(super) fn problem(&mut self, place: &str, why: &str) {
        self.problem_of(ProblemKind::Setting, place, why);
    }

    /// Like [`problem`](Self::problem), with this kind.
    pub(super) fn problem_of(&mut self, kind: ProblemKind, place: &str, why: &str) {
        let line = self.line_of(place);
        self.problems.push(Problem { line, ..Problem::of(kind, place, why) });
    }

    fn line_of(&self, place: &str) -> Option<usize> {
        let mut place = place;
        loop {
            if let Some(line) = self.lines.get(place) {
                return Some(*line);
            }
            place = place.rsplit_once('.')?.0;
        }
    }

    fn wrong(&mut self, members: &TableMembers, name: &str, wanted: &str, found: &Item) {
        let found = match found {
            Item::Text(_) => "text",
            Item::Number(_) => "a number",
            Item::Truth(_) => "true or false",
            Item::List(_) => "a list",
            Item::Table(_) => "a table",
            Item::Other(what) => what,
        };
        self.problem(&members.place_of(name), &format!("{wanted} is wanted, {found} is there"));
    }

    pub(super) fn text(&mut self, members: &mut TableMembers, name: &str) -> Option<String> {
        match members.take(name)? {
            Item::Text(text) => Some(text),
            other => {
                self.wrong(members, name, "text", &other);
                None
            }
        }
    }

    pub(super) fn number(&mut self, members: &mut TableMembers, name: &str) -> Option<i64> {
        match members.take(name)? {
            Item::Number(number) if number >= 0 => Some(number),
            other => {
                self.wrong(members, name, "a number from 0", &other);
                None
            }
        }
    }

    pub(super) fn truth(&mut self, members: &mut TableMembers, name: &str) -> Option<bool> {
        match members.take(name)? {
            Item::Truth(truth) => Some(truth),
            other => {
                self.wrong(members, name, "true or false", &other);
                None
            }
        }
    }

    pub(super) fn texts(&mut self, members: &mut TableMembers, name: &str) -> Vec<String> {
        let Some(found) = members.take(name) else { return Vec::new() };
        let Item::List(items) = found else {
            self.wrong(members, name, "a list of texts", &found);
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Text(text) => texts.push(text),
                other => self.wrong(members, name, "a list of texts", &other),
            }
        }
        texts
    }

    pub(super) fn table(&mut self, members: &mut TableMembers, name: &str) -> Option<TableMembers> {
        match members.take(name)? {
            Item::Table(table) => Some(table),
            other => {
                self.wrong(members, name, "a table", &other);
                None
            }
        }
    }

    pub(super) fn tables(&mut self, members: &mut TableMembers, name: &str) -> Vec<TableMembers> {
        let Some(found) = members.take(name) else { return Vec::new() };
        let Item::List(items) = found else {
            self.wrong(members, name, "a list of tables", &found);
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Table(table) => tables.push(table),
                other => self.wrong(members, name, "a list of tables", &other),
            }
        }
        tables
    }

    /// Changes the path under which the table's problems are reported.
    pub(super) fn rename(&mut self, members: TableMembers, place: String) -> TableMembers {
        let old = format!("{}.", members.place);
        let renamed: Vec<(String, usize)> = self
            .lines
            .iter()
            .filter_map(|(known, line)| {
                Some((format!("{place}.{}", known.strip_prefix(&old)?), *line))
            })
            .collect();
        if let Some(line) = self.line_of(&members.place) {
            self.lines.entry(place.clone()).or_insert(line);
        }
        for (place, line) in renamed {
            self.lines.entry(place).or_insert(line);
        }
        TableMembers { place, ..members }
    }

    /// Reports the keys that were not read.
    pub(super) fn leftover(&mut self, members: &TableMembers) {
        for (name, member) in &members.members {
            let place = members.place_of(name);
            let why = "no such key; `rejoin-server init` writes them all";
            self.problems.push(Problem { line: member.line, ..Problem::new(place, why) });
        }
    }

    /// Returns the problems of reading and of validation, ordered by line.
    pub(super) fn finish(self, config: &Config) -> Result<(), Vec<Problem>> {
        let mut problems = self.problems.clone();
        // A table without a name was already reported with its position in the file.
        let named = |problem: &Problem| !problem.place.starts_with("tables..");
        for problem in config.problems().into_iter().filter(named) {
            // One problem per path: reading comes first, and validation may report several.
            if !self.problems.iter().any(|known| known.place == problem.place) {
                let line = self.line_of(&problem.place);
                problems.push(Problem { line, ..problem });
            }
        }
        problems.sort_by_key(|problem| problem.line.unwrap_or(0));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// If the environment names a database, removes the other kind of database from the file.
fn drop_other_database(root: &mut TableMembers, place: &str, environment: &[(String, String)]) {
    let others: &[&str] = match place {
        "database" => &["store", "pooler", "replica"],
        "store" => &["database"],
        _ => return,
    };
    for other in others {
        if !environment.iter().any(|(variable, _)| *variable == variable_of(other)) {
            root.take(other);
        }
    }
}

/// The variable that overrides the key at this place.
fn variable_of(place: &str) -> String {
    format!("REJOIN_{}", place.replace('.', "_").to_ascii_uppercase())
}

fn put(members: &mut TableMembers, place: &str, value: Item) {
    match place.split_once('.') {
        None => {
            members.members.insert(place.to_owned(), Member { line: None, value });
        }
        Some((first, rest)) => {
            let place = members.place_of(first);
            let inner = members.members.entry(first.to_owned()).or_insert_with(|| Member {
                line: None,
                value: Item::Table(TableMembers { place, members: BTreeMap::new() }),
            });
            if let Item::Table(inner) = &mut inner.value {
                put(inner, rest, value);
            }
        }
    }
}

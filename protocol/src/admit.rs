//! What a device can build of a manifest: the checks of both sides. Pure.
//!
//! A server leaves out what does not pass before it serves a manifest, and reports it. A device checks
//! again, because another server may send anything. It evaluates rules, defaults and generated columns
//! at each of its writes, so they are limited in size, and in what they call.

use std::collections::HashSet;

use crate::expression;
use crate::functions::{self, Use};
use crate::limits::NAME;
use crate::manifest::{ColumnManifest, Rule, TableExtension, TableManifest};
use crate::{ColumnKind, Manifest};

mod parts;

/// Columns of a table: its old and new values are arguments of one SQL function, which has at most 1,000.
pub const MOST_COLUMNS: usize = 499;

/// Tables of a manifest.
pub const MOST_TABLES: usize = 2_000;

/// Bytes of the manifest as JSON.
pub const LARGEST: usize = 16 * 1024 * 1024;

/// Bytes of the manifest beside its tables.
const FRAME: usize = 4 * 1024;

/// Bytes of one expression.
const LONGEST: usize = 16 * 1024;

/// Bytes of the expressions of a table: its triggers contain all of them.
const LONGEST_IN_ALL: usize = 64 * 1024;

/// A part of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The table itself.
    Table,
    /// The column of this name.
    Column(String),
    /// The default of the column of this name.
    Default(String),
    /// The index at this position.
    Index(usize),
    /// The rule at this position.
    Rule(usize),
}

impl Part {
    /// The name of a table as a part of itself.
    pub const TABLE: &str = "table";

    /// The part of this table by name: `table`, `column NAME`, `index NAME`, `CHECK NAME` and the like.
    pub fn describe(&self, table: &TableManifest) -> String {
        let extension = table.rejoin.as_ref();
        match self {
            Self::Table => String::from(Self::TABLE),
            Self::Column(name) => format!("column {name}"),
            Self::Default(name) => format!("the default of column {name}"),
            Self::Index(at) => {
                let index = extension.and_then(|extension| extension.indexes.get(*at));
                index.map_or_else(String::new, |index| format!("index {}", index.name))
            }
            Self::Rule(at) => match extension.and_then(|extension| extension.rules.get(*at)) {
                Some(Rule::Check { name, .. }) => format!("CHECK {name}"),
                Some(Rule::NotNull { column }) => format!("NOT NULL of column {column}"),
                Some(Rule::Unique { columns }) => format!("UNIQUE ({})", columns.join(", ")),
                Some(Rule::References { column, .. }) => {
                    format!("the reference of column {column}")
                }
                None => String::new(),
            },
        }
    }
}

/// A part of a manifest that a device cannot build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Its table.
    pub table: String,
    /// The part.
    pub part: Part,
    /// What is wrong with it.
    pub why: String,
}

/// An expression of a table.
#[derive(Debug)]
pub struct Expression<'m> {
    /// Its place, for errors: `CHECK a`, `default of column b`.
    pub place: String,
    /// Its text.
    pub text: &'m str,
    /// What it is for.
    pub of: Use,
    /// What is left out without it.
    pub part: Part,
}

/// The size of a manifest whose JSON has this many bytes. No server of this project sends a larger one.
///
/// # Errors
/// Why it is too large.
pub fn check_size(manifest: &Manifest, bytes: usize) -> Result<(), String> {
    let tables = manifest.tables.len();
    if bytes <= LARGEST && tables <= MOST_TABLES {
        return Ok(());
    }
    Err(format!(
        "the manifest has {tables} tables and {bytes} bytes; at most {MOST_TABLES} and {LARGEST} are allowed"
    ))
}

/// The parts of these tables that a device cannot build; of two with the same name, the later one. A
/// table that only lacks them may have further ones: [`prune`] repeats the checks.
pub fn misfits(tables: &[TableManifest]) -> Vec<Misfit> {
    let (mut names, mut bytes, mut kept) = (HashSet::new(), FRAME, Vec::new());
    let mut out = Vec::new();
    for table in tables {
        let json = serde_json::to_string(table).map_or(usize::MAX, |json| json.len() + 1);
        let why = if kept.len() == MOST_TABLES || bytes.saturating_add(json) > LARGEST {
            Some(format!("a manifest has at most {MOST_TABLES} tables and {LARGEST} bytes"))
        } else {
            table_misfit(table)
        };
        let why = why.or_else(|| {
            let is_new = names.insert(table.table_name.to_ascii_lowercase());
            (!is_new).then(|| String::from("the manifest names it twice"))
        });
        if let Some(why) = why {
            out.push(Misfit { table: table.table_name.clone(), part: Part::Table, why });
            continue;
        }
        bytes += json;
        kept.push(table);
    }
    parts::check(&kept, &mut out);
    out
}

/// Leaves these parts out.
pub fn leave_out(tables: &mut Vec<TableManifest>, misfits: &[Misfit]) {
    let of = |table: &TableManifest| {
        let name = table.table_name.clone();
        misfits.iter().filter(move |misfit| misfit.table == name).map(|misfit| &misfit.part)
    };
    // Of two tables with this name, the later one.
    for misfit in misfits.iter().filter(|misfit| misfit.part == Part::Table) {
        if let Some(at) = tables.iter().rposition(|table| table.table_name == misfit.table) {
            tables.remove(at);
        }
    }
    for table in tables.iter_mut() {
        let parts: Vec<&Part> = of(table).collect();
        for column in &mut table.columns {
            if parts.iter().any(|part| matches!(part, Part::Default(name) if *name == column.name))
            {
                column.sqlite_default_sql = None;
                column.default_kind = String::from("server_only");
            }
        }
        let stays = |name: &str| {
            !parts.iter().any(|part| matches!(part, Part::Column(other) if other == name))
        };
        table.columns.retain(|column| stays(&column.name));
        let Some(extension) = &mut table.rejoin else { continue };
        extension.identities.retain(|identity| stays(&identity.name));
        extension.generated.retain(|column| stays(&column.name));
        extension.protected.retain(|name| stays(name));
        retain_by_position(&mut extension.indexes, |at| !parts.contains(&&Part::Index(at)));
        retain_by_position(&mut extension.rules, |at| !parts.contains(&&Part::Rule(at)));
    }
}

/// Leaves out everything that a device cannot build, and returns it. `instead` may name a larger part
/// to leave out.
pub fn prune(
    tables: &mut Vec<TableManifest>,
    instead: impl Fn(&[TableManifest], &Misfit) -> Option<Part>,
) -> Vec<Misfit> {
    let mut all = Vec::new();
    loop {
        let mut found = misfits(tables);
        if found.is_empty() {
            return all;
        }
        for misfit in &mut found {
            if let Some(part) = instead(tables, misfit) {
                misfit.part = part;
            }
        }
        // A table with several of them is left out once.
        let mut whole = HashSet::new();
        found.retain(|misfit| {
            misfit.part != Part::Table || whole.insert((misfit.table.clone(), misfit.why.clone()))
        });
        let mut named = HashSet::new();
        found.retain(|misfit| misfit.part != Part::Table || named.insert(misfit.table.clone()));
        leave_out(tables, &found);
        all.append(&mut found);
    }
}

/// The expressions of a table.
pub fn expressions(table: &TableManifest) -> impl Iterator<Item = Expression<'_>> {
    let is_local = is_local(table);
    let defaults = table.columns.iter().filter_map(move |column| {
        let text = column.sqlite_default_sql.as_deref()?;
        let text = if is_local || column.default_kind != "server_only" { text } else { "" };
        let place = format!("default of column {}", column.name);
        let part = Part::Default(column.name.clone());
        (!text.trim().is_empty()).then_some(Expression { place, text, of: Use::Default, part })
    });
    let extension = table.rejoin.iter();
    let generated = extension.clone().flat_map(|extension| &extension.generated);
    let generated = generated.map(|column| Expression {
        place: format!("expression of column {}", column.name),
        text: &column.expression,
        of: Use::Row,
        part: Part::Column(column.name.clone()),
    });
    let rules = extension.flat_map(|extension| extension.rules.iter().enumerate());
    let rules = rules.filter_map(|(at, rule)| match rule {
        Rule::Check { name, expression } => Some(Expression {
            place: format!("CHECK {name}"),
            text: expression,
            of: Use::Row,
            part: Part::Rule(at),
        }),
        _ => None,
    });
    defaults.chain(generated).chain(rules)
}

fn is_local(table: &TableManifest) -> bool {
    table.rejoin.as_ref().is_some_and(|extension| extension.local_only)
}

/// Why a name is reserved, too long or none.
pub fn name_misfit(name: &str) -> Option<String> {
    let begins = |start: &str| {
        name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
    };
    if name.is_empty() || name.contains('\0') {
        return Some(String::from("a name is empty"));
    }
    if begins("rejoin_") || begins("sqlite_") {
        return Some(format!("the name {name} is reserved"));
    }
    length_misfit(name)
}

fn length_misfit(name: &str) -> Option<String> {
    let start: String = name.chars().take(40).collect();
    let bytes = name.len();
    (bytes > NAME)
        .then(|| format!("the name {start}... has {bytes} bytes; at most {NAME} are allowed"))
}

/// Why nothing of a table can be built.
fn table_misfit(table: &TableManifest) -> Option<String> {
    name_misfit(&table.table_name)
        .or_else(|| if is_local(table) { None } else { key_misfit(table) })
}

fn key_misfit(table: &TableManifest) -> Option<String> {
    let key = match table.primary_key.as_slice() {
        [key] => key,
        [] => {
            return Some(String::from("it has no key; one key column set by the app is required"));
        }
        keys => {
            let keys = keys.join(", ");
            return Some(format!("key ({keys}) has several columns; one is needed"));
        }
    };
    let same = table.columns.iter().filter(|column| column.name.eq_ignore_ascii_case(key));
    let stored = same.filter(|column| !is_computed(table, column));
    let Some(column) = stored.max_by_key(|column| column.name == *key) else {
        return Some(format!("key {key} is not among its columns"));
    };
    match column.kind() {
        Some(ColumnKind::String | ColumnKind::Int | ColumnKind::Int64) => None,
        _ => Some(format!("key {} is neither text nor an integer", column.name)),
    }
}

/// Whether the device computes the column: a server may also list it among the others.
fn is_computed(table: &TableManifest, column: &ColumnManifest) -> bool {
    let made = table.rejoin.iter().flat_map(|extension: &TableExtension| &extension.generated);
    made.into_iter().any(|other| other.name.eq_ignore_ascii_case(&column.name))
}

/// Why an expression cannot be used.
fn expression_misfit(of: &Expression<'_>, in_all: &mut usize) -> Option<String> {
    let Expression { place, text, of, .. } = of;
    *in_all += text.len();
    if text.len() > LONGEST || *in_all > LONGEST_IN_ALL {
        *in_all -= text.len();
        return Some(format!(
            "the {place} is too long: an expression has at most {LONGEST} bytes, those of a table {LONGEST_IN_ALL}"
        ));
    }
    if let Err(why) = expression::check(text) {
        return Some(format!("the {place} is not one expression: it {why}"));
    }
    functions::check(text, *of).err().map(|why| format!("the {place} {why}"))
}

fn retain_by_position<T>(list: &mut Vec<T>, stays: impl Fn(usize) -> bool) {
    let mut at = 0..;
    list.retain(|_| at.next().is_some_and(&stays));
}

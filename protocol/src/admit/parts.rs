//! Columns, expressions, indexes and rules of tables that a device could build without them.

use std::collections::{HashMap, HashSet};

use super::{
    MOST_COLUMNS, Misfit, Part, expression_misfit, expressions, is_computed, is_local,
    length_misfit, name_misfit,
};
use crate::manifest::{ColumnManifest, Rule, TableManifest};

/// Rules, indexes and generated columns of a table.
const MOST_PARTS: usize = 1_000;

/// The same of a manifest, without NOT NULL, which needs no statement.
const MOST_PARTS_IN_ALL: usize = 10_000;

/// The parts of one table that are left out.
struct Found<'t> {
    table: &'t TableManifest,
    out: Vec<Misfit>,
}

impl Found<'_> {
    fn put(&mut self, part: Part, why: impl Into<String>) {
        if !self.has(&part) {
            self.out.push(Misfit { table: self.table.table_name.clone(), part, why: why.into() });
        }
    }

    fn has(&self, part: &Part) -> bool {
        self.out.iter().any(|misfit| misfit.part == *part)
    }

    /// Leaves a column out, or the table if it is not one without that column.
    fn put_column(&mut self, column: &str, why: String) {
        let part = if is_needed(self.table, column) {
            Part::Table
        } else {
            Part::Column(column.to_owned())
        };
        self.put(part, why);
    }
}

/// Adds the misfits of these tables, which have different names, to `out`.
pub(super) fn check(tables: &[&TableManifest], out: &mut Vec<Misfit>) {
    let lower = |name: &str| name.to_ascii_lowercase();
    let synced = tables.iter().filter(|table| !is_local(table));
    let synced: HashSet<String> = synced.map(|table| lower(&table.table_name)).collect();
    // Tables and indexes share their names.
    let mut taken: HashSet<String> = tables.iter().map(|table| lower(&table.table_name)).collect();
    let mut in_all = 0;
    for table in tables {
        let mut found = Found { table, out: Vec::new() };
        columns(&mut found);
        let mut length = 0;
        for expression in expressions(table) {
            if let Some(why) = expression_misfit(&expression, &mut length) {
                match &expression.part {
                    Part::Column(name) => found.put_column(name, why),
                    part => found.put(part.clone(), why),
                }
            }
        }
        if !is_local(table) {
            indexes(&mut found, &mut taken);
            rules(&mut found, &synced);
            most(&mut found, &mut in_all);
        }
        // Without the table, its other parts do not matter.
        if let Some(at) = found.out.iter().position(|misfit| misfit.part == Part::Table) {
            found.out = vec![found.out.swap_remove(at)];
        }
        out.append(&mut found.out);
    }
}

/// Whether the table is not one without this column: the key, and columns that the server uses.
fn is_needed(table: &TableManifest, column: &str) -> bool {
    let owner = table.rejoin.as_ref().and_then(|extension| extension.owner_column.as_deref());
    let named = [&table.bucket_by_column, &table.parent_fk_col];
    let named = named.into_iter().filter_map(|name| name.as_deref()).chain(owner);
    let own = [table.updated_at_column.as_str(), table.deleted_at_column.as_str()];
    let keys = table.primary_key.iter().map(String::as_str);
    own.into_iter().chain(named).chain(keys).any(|name| name == column)
}

fn columns(found: &mut Found<'_>) {
    let table = found.table;
    let made = table.rejoin.iter().flat_map(|extension| &extension.generated);
    let stored = table.columns.iter().filter(|column| !is_computed(table, column));
    let kinds = stored.clone().map(|column| (column.name.as_str(), Some(column)));
    let mut seen: HashMap<String, &str> = HashMap::new();
    for (name, column) in made.map(|column| (column.name.as_str(), None)).chain(kinds) {
        if let Some(why) = column_misfit(name, column) {
            found.put_column(name, why);
            continue;
        }
        let twice =
            || format!("column {name} is listed twice: two names must differ by more than case");
        match seen.get(&name.to_ascii_lowercase()).copied() {
            // Without its name it cannot be left out alone.
            Some(other) if other == name => found.put(Part::Table, twice()),
            Some(other) if is_needed(table, name) => {
                found.put_column(other, twice());
                seen.insert(name.to_ascii_lowercase(), name);
            }
            Some(_) => found.put_column(name, twice()),
            None => drop(seen.insert(name.to_ascii_lowercase(), name)),
        }
    }
    let count = table.columns.len();
    let last = stored.rev().filter(|column| !is_needed(table, &column.name));
    for column in last.take(count.saturating_sub(MOST_COLUMNS)) {
        let why = format!("{count} columns; at most {MOST_COLUMNS} can be captured");
        found.put(Part::Column(column.name.clone()), why);
    }
}

fn column_misfit(name: &str, column: Option<&ColumnManifest>) -> Option<String> {
    if name.is_empty() || name.contains('\0') {
        return Some(String::from("a column without a name"));
    }
    let unknown = column.filter(|column| column.kind().is_none());
    length_misfit(name).or_else(|| {
        unknown.map(|column| format!("column {name} has the unknown type {}", column.logical_type))
    })
}

fn indexes(found: &mut Found<'_>, taken: &mut HashSet<String>) {
    let table = found.table;
    let generated = table.rejoin.iter().flat_map(|extension| &extension.generated);
    let names = table.columns.iter().map(|column| &column.name);
    let known: Vec<&String> = names.chain(generated.map(|column| &column.name)).collect();
    let indexes = table.rejoin.iter().flat_map(|extension| &extension.indexes);
    for (at, index) in indexes.enumerate() {
        let is_unknown =
            |column: &&String| !known.iter().any(|other| other.eq_ignore_ascii_case(column));
        let why = if let Some(why) = name_misfit(&index.name) {
            Some(why)
        } else if index.columns.is_empty() {
            Some(format!("index {} has no column", index.name))
        } else if let Some(column) = index.columns.iter().find(is_unknown) {
            Some(format!("a rule or index names the unknown column {column}"))
        } else if !taken.insert(index.name.to_ascii_lowercase()) {
            Some(format!("index {} has the name of another table or index", index.name))
        } else {
            None
        };
        if let Some(why) = why {
            found.put(Part::Index(at), why);
        }
    }
}

fn rules(found: &mut Found<'_>, synced: &HashSet<String>) {
    let table = found.table;
    let stored: Vec<&ColumnManifest> =
        table.columns.iter().filter(|column| !is_computed(table, column)).collect();
    let unknown = |column: &String| {
        let is_stored = stored.iter().any(|other| other.name.eq_ignore_ascii_case(column));
        (!is_stored).then(|| format!("a rule names column {column}, which is not stored"))
    };
    let rules = table.rejoin.iter().flat_map(|extension| &extension.rules);
    for (at, rule) in rules.enumerate() {
        let why = match rule {
            Rule::NotNull { column } => unknown(column),
            Rule::Unique { columns } if columns.is_empty() => {
                Some(String::from("a rule UNIQUE has no column"))
            }
            Rule::Unique { columns } => columns.iter().find_map(unknown),
            Rule::Check { name, .. } => length_misfit(name),
            Rule::References { column, table: parent, .. } => unknown(column).or_else(|| {
                let is_synced = synced.contains(&parent.to_ascii_lowercase());
                (!is_synced)
                    .then(|| format!("column {column} references {parent}, which is not synced"))
            }),
        };
        if let Some(why) = why {
            found.put(Part::Rule(at), why);
        }
    }
}

/// Leaves out indexes and rules beyond the limits, the last ones first.
fn most(found: &mut Found<'_>, in_all: &mut usize) {
    let Some(extension) = &found.table.rejoin else { return };
    let (rules, indexes) = (&extension.rules, extension.indexes.len());
    let made = extension.generated.len();
    let over = (rules.len() + indexes + made).saturating_sub(MOST_PARTS);
    let why = format!("more than {MOST_PARTS} rules, indexes and generated columns");
    if over > 0 && made > MOST_PARTS {
        return found.put(Part::Table, why);
    }
    let last = (0..indexes).rev().map(Part::Index).chain((0..rules.len()).rev().map(Part::Rule));
    last.take(over).for_each(|part| found.put(part, why.as_str()));
    let costs = |at: &usize| !matches!(rules.get(*at), Some(Rule::NotNull { .. }));
    let last = (0..indexes).rev().map(Part::Index);
    let last = last.chain((0..rules.len()).rev().filter(costs).map(Part::Rule));
    let counted: Vec<Part> = last.filter(|part| !found.has(part)).collect();
    let over = (*in_all + made + counted.len()).saturating_sub(MOST_PARTS_IN_ALL);
    let why = format!(
        "the manifest has more than {MOST_PARTS_IN_ALL} rules, indexes and generated columns"
    );
    if over > counted.len() {
        return found.put(Part::Table, why);
    }
    *in_all += made + counted.len() - over;
    counted.into_iter().take(over).for_each(|part| found.put(part, why.as_str()));
}

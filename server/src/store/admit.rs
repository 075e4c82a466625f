//! Chooses what of the configured tables is served, for all stores: a table or column that cannot be
//! synced is left out, with everything that depends on it, and the others go on.

use rejoin_protocol::Manifest;
use rejoin_protocol::admit::{self, Misfit, Part};
use rejoin_protocol::manifest::{Rule, TableManifest};

use super::describe::{self, Found};
use super::{chosen, trial};
use crate::config::TableConfig;
use crate::error::{SchemaProblem, ServerError};
use crate::model::{LeftOut, PushPolicy};

/// What a start refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Strictness {
    /// Tables that cannot be synced, unless the server has served from this database before.
    #[default]
    First,
    /// Everything that would be left out.
    Strict,
}

impl Strictness {
    /// Strict if the configuration says so.
    pub(crate) fn of(strict: bool) -> Self {
        if strict { Self::Strict } else { Self::First }
    }

    pub(super) fn is_strict(self) -> bool {
        self == Self::Strict
    }

    /// Whether tables that cannot be synced are refused.
    pub(super) fn refuses(self, has_served: bool) -> bool {
        self.is_strict() || !has_served
    }
}

/// A table that a store has read.
pub(super) trait ReadTable {
    /// What devices get of it.
    fn found(&self) -> &Found;
    /// Removes a column.
    fn remove(&mut self, column: &str);
}

impl ReadTable for Found {
    fn found(&self) -> &Found {
        self
    }

    fn remove(&mut self, column: &str) {
        self.leave_out(column);
    }
}

/// The problems for which a server refuses to start: with unsupported columns, which are left out while
/// it runs.
pub(super) fn refusals(problems: &[SchemaProblem], left_out: &[LeftOut]) -> Option<ServerError> {
    let column = |left_out: &LeftOut| {
        let column = left_out.what.strip_prefix("column ").map(str::to_owned);
        SchemaProblem { table: left_out.table.clone(), column, why: left_out.why.clone() }
    };
    let all: Vec<_> = left_out.iter().map(column).chain(problems.iter().cloned()).collect();
    (!all.is_empty()).then_some(ServerError::Schema(all))
}

/// Keeps the tables that can be served. Adds the problems of the others to `problems`, and columns that
/// no device can have to `left_out`.
pub(super) fn choose<'c, T: ReadTable>(
    mut tables: Vec<(&'c TableConfig, T)>,
    problems: &mut Vec<SchemaProblem>,
    left_out: &mut Vec<LeftOut>,
) -> Vec<(&'c TableConfig, T)> {
    loop {
        let count = problems.len();
        tables.retain(|(config, _)| !problems.iter().any(|problem| problem.table == config.name));
        let configs: Vec<&TableConfig> = tables.iter().map(|(config, _)| *config).collect();
        problems.extend(configs.iter().filter_map(|config| orphaned(config, &configs)));
        if problems.len() > count {
            continue;
        }
        let manifests: Vec<TableManifest> = (tables.iter())
            .map(|(config, table)| describe::table_manifest(config, table.found(), &[], &configs))
            .collect();
        let mut again = false;
        for Misfit { table: name, part, why } in admit::misfits(&manifests) {
            let found = tables.iter_mut().find(|(config, _)| config.name == name);
            match (part, found) {
                (Part::Column(column), Some((config, table))) => {
                    again = true;
                    problems.extend(without(config, table.found(), &column, &why));
                    table.remove(&column);
                    left_out.push(LeftOut { table: name, what: format!("column {column}"), why });
                }
                (Part::Table, Some(_)) => {
                    problems.push(SchemaProblem { table: name, column: None, why });
                }
                _ => {}
            }
        }
        if problems.len() == count && !again {
            return tables;
        }
    }
}

/// The problem of a table whose parent is not served: its rows would have no owner.
fn orphaned(config: &TableConfig, configs: &[&TableConfig]) -> Option<SchemaProblem> {
    let parent = &config.parent.as_ref()?.table;
    let is_served = configs.iter().any(|other| other.name == *parent);
    (!is_served).then(|| SchemaProblem {
        table: config.name.clone(),
        column: None,
        why: format!("its parent '{parent}' is not served"),
    })
}

/// The problem of a table without this column, if devices could create no row.
fn without(config: &TableConfig, found: &Found, column: &str, why: &str) -> Option<SchemaProblem> {
    let found = found.columns.iter().find(|other| other.name == column)?;
    let creates = config.push_policy() != PushPolicy::Disabled;
    (creates && chosen::is_required(found)).then(|| SchemaProblem {
        table: config.name.clone(),
        column: Some(column.to_owned()),
        why: format!("{why}; {}", chosen::NEEDED),
    })
}

/// The manifest of these tables without rules, indexes and defaults that no device can have, which are
/// added to `left_out`.
pub(super) fn manifest(mut tables: Vec<TableManifest>, left_out: &mut Vec<LeftOut>) -> Manifest {
    loop {
        let mut misfits = admit::misfits(&tables);
        if misfits.is_empty() {
            misfits = tables.iter().flat_map(trial::misfits).collect();
        }
        if misfits.is_empty() {
            break;
        }
        left_out.extend(misfits.iter().map(|misfit| described(&tables, misfit)));
        admit::leave_out(&mut tables, &misfits);
    }
    Manifest::new(0, tables)
}

fn described(tables: &[TableManifest], Misfit { table, part, why }: &Misfit) -> LeftOut {
    let extension = tables.iter().find(|other| other.table_name == *table);
    let extension = extension.and_then(|table| table.rejoin.as_ref());
    let what = match part {
        Part::Table => String::from(LeftOut::TABLE),
        Part::Column(name) => format!("column {name}"),
        Part::Default(name) => format!("the default of column {name}"),
        Part::Index(at) => {
            let index = extension.and_then(|extension| extension.indexes.get(*at));
            index.map_or_else(String::new, |index| format!("index {}", index.name))
        }
        Part::Rule(at) => match extension.and_then(|extension| extension.rules.get(*at)) {
            Some(Rule::Check { name, .. }) => format!("CHECK {name}"),
            Some(Rule::NotNull { column }) => format!("NOT NULL of column {column}"),
            Some(Rule::Unique { columns }) => format!("UNIQUE ({})", columns.join(", ")),
            Some(Rule::References { column, .. }) => format!("the reference of column {column}"),
            None => String::new(),
        },
    };
    LeftOut { table: table.clone(), what, why: why.clone() }
}

/// Refuses if anything is left out.
pub(super) fn require_all(left_out: &[LeftOut]) -> Result<(), ServerError> {
    let problem = |left_out: &LeftOut| SchemaProblem {
        table: left_out.table.clone(),
        column: None,
        why: format!("{}: {}", left_out.what, left_out.why),
    };
    let all: Vec<SchemaProblem> = left_out.iter().map(problem).collect();
    if all.is_empty() { Ok(()) } else { Err(ServerError::Schema(all)) }
}

/// Refuses if something is wrong with a table of the log: its entries are in one order with those of
/// the other tables of the log, which cannot go on without it.
pub(super) fn require_log(
    problems: &[SchemaProblem],
    parts: &[LeftOut],
    in_log: &[&str],
) -> Result<(), ServerError> {
    let of_log = |table: &str| in_log.contains(&table);
    let problems = problems.iter().filter(|problem| of_log(&problem.table)).cloned();
    let parts: Vec<LeftOut> = parts.iter().filter(|part| of_log(&part.table)).cloned().collect();
    refusals(&problems.collect::<Vec<_>>(), &parts).map_or(Ok(()), Err)
}

/// The problem of a table that the database does not let the server read or install triggers on. Its
/// message is in the log only: readiness is public.
pub(super) fn in_the_way(table: &str) -> SchemaProblem {
    let why =
        "the database refuses to read it or to install the triggers: see the log of the server";
    SchemaProblem { table: table.to_owned(), column: None, why: String::from(why) }
}

/// Everything that is left out: the tables with problems, and these parts of others.
pub(super) fn all(problems: &[SchemaProblem], parts: Vec<LeftOut>) -> Vec<LeftOut> {
    let mut out: Vec<LeftOut> = Vec::new();
    for problem in problems {
        let why = match &problem.column {
            Some(column) => format!("column {column}: {}", problem.why),
            None => problem.why.clone(),
        };
        if let Some(other) = out.iter_mut().find(|other| other.table == problem.table) {
            other.why = format!("{}; {why}", other.why);
        } else {
            let what = String::from(LeftOut::TABLE);
            out.push(LeftOut { table: problem.table.clone(), what, why });
        }
    }
    let others = parts.into_iter().filter(|part| !problems.iter().any(|of| of.table == part.table));
    out.extend(others);
    out
}

/// Logs what is left out and was not before, and what is served again.
pub(super) fn log_changes(before: &[LeftOut], now: &[LeftOut]) {
    for left_out in now.iter().filter(|other| !before.contains(other)) {
        let LeftOut { table, what, why } = left_out;
        tracing::error!(table, what, why, "left out: the others are served");
    }
    for left_out in before.iter().filter(|other| !now.iter().any(|now| now.is_same(other))) {
        let LeftOut { table, what, .. } = left_out;
        tracing::info!(table, what, "no longer left out");
    }
}

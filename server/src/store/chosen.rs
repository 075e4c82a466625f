//! The synced columns of a table, and a check of the configured columns against the table.
//!
//! For the engine a column that is not synced does not exist: it is in no image, manifest, rule or
//! index, and devices cannot write it.

use super::describe::{Found, FoundColumn};
use crate::config::TableConfig;
use crate::model::{LeftOut, PushPolicy};

/// Why devices cannot be without a column.
pub(super) const NEEDED: &str =
    "devices could create no row without it: it is NOT NULL without a default";

/// The problems of configured columns, by column.
pub(super) fn problems(
    config: &TableConfig,
    columns: &[&FoundColumn],
    problem: &mut impl FnMut(Option<&str>, String),
) {
    let find = |name: &str| columns.iter().find(|column| column.name == name);
    let parent = config.parent.iter().map(|parent| ("the parent", &parent.column));
    let owner = config.owner_column.iter().map(|owner| ("the owner", owner));
    let protected = config.protected.iter().map(|column| ("a protected", column));
    let synced = config.sync_columns.iter().flatten().map(|column| ("a synced", column));
    let bucket = config.bucket_by_column.iter().map(|column| ("the bucket", column));
    for (what, name) in owner.chain(parent).chain(bucket).chain(protected).chain(synced) {
        if find(name).is_none() {
            problem(Some(name), format!("the table has no such column for {what} column"));
        }
    }
    match config.id_column.as_deref().map(|name| (name, find(name))) {
        Some((name, Some(column))) if !column.is_key => {
            problem(Some(name), String::from("id_column is not the table's primary key"));
        }
        Some((name, None)) => {
            problem(Some(name), String::from("the table has no such column for the key"));
        }
        _ => {}
    }
    if config.push_policy() == PushPolicy::Disabled {
        return;
    }
    for column in columns.iter().filter(|column| !config.syncs(&column.name, column.is_key)) {
        if is_required(column) {
            let why = "devices do not get it and could create no row: it is NOT NULL without a \
                       default; add it to sync_columns";
            problem(Some(&column.name), String::from(why));
        }
    }
}

/// Whether a row cannot be created without a value for this column.
pub(super) fn is_required(column: &FoundColumn) -> bool {
    let is_given = column.default.is_some() || column.generated.is_some() || column.read_only;
    column.not_null && !is_given
}

/// Leaves out these columns of unsupported types. Without one that a new row needs, the table has a
/// problem.
pub(super) fn unknown_types(
    config: &TableConfig,
    columns: impl Iterator<Item = FoundColumn>,
    left_out: &mut Vec<LeftOut>,
    problem: &mut impl FnMut(Option<&str>, String),
) {
    for column in columns.filter(|column| config.syncs(&column.name, column.is_key)) {
        let why = format!("the type '{}' is not synced: declare another", column.declared);
        if is_required(&column) && config.push_policy() != PushPolicy::Disabled {
            problem(Some(&column.name), format!("{why}; {NEEDED}"));
        } else {
            let (table, what) = (config.name.clone(), format!("column {}", column.name));
            left_out.push(LeftOut { table, what, why });
        }
    }
}

impl Found {
    /// Removes a column, and what names it.
    pub(super) fn leave_out(&mut self, column: &str) {
        self.columns.retain(|other| other.name != column);
        self.references.retain(|reference| reference.column != column);
        self.indexes.retain(|(_, columns)| !columns.iter().any(|other| other == column));
    }

    /// Keeps only the synced columns; returns for each column whether it was kept.
    pub(super) fn choose(&mut self, config: &TableConfig) -> Vec<bool> {
        let stays: Vec<bool> =
            self.columns.iter().map(|column| config.syncs(&column.name, column.is_key)).collect();
        let mut at = stays.iter();
        self.columns.retain(|_| at.next().is_some_and(|stays| *stays));
        let is_there = |name: &String| self.columns.iter().any(|column| column.name == *name);
        self.references.retain(|reference| is_there(&reference.column));
        self.indexes.retain(|(_, columns)| columns.iter().all(is_there));
        stays
    }
}

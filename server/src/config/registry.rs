//! Validation of the synced tables that needs no database.

use rejoin_protocol::Policy;
use rejoin_protocol::manifest::SyncModel;

use super::{Config, TableConfig};
use crate::error::{Problem, ProblemKind};
use crate::model::resolver::Resolve;
use crate::model::{GLOBAL, OWN_PREFIX, PushPolicy};

/// Collects the problems of one table.
struct TableProblems<'a> {
    table: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl TableProblems<'_> {
    fn report(&mut self, kind: ProblemKind, key: &str, why: impl Into<String>) {
        let dot = if key.is_empty() { "" } else { "." };
        self.problems.push(Problem::of(kind, format!("tables.{}{dot}{key}", self.table), why));
    }
}

impl Config {
    pub(super) fn check_tables(&self, problems: &mut Vec<Problem>) {
        if let Some(why) = self.function_problem(self.bucket_function.as_deref()) {
            problems.push(Problem::of(ProblemKind::InvalidBucketConfig, "bucket_function", why));
        }
        if let Some(why) =
            self.resolver_problem(self.bucket_resolver.is_some(), self.bucket_function.is_some())
        {
            problems.push(Problem::of(ProblemKind::InvalidBucketConfig, "bucket_resolver", why));
        }
        if self.tables.is_empty() {
            problems.push(Problem::new("tables", "no table is synced: add a [[tables]] block"));
        }
        for (at, table) in self.tables.iter().enumerate() {
            let mut found = TableProblems { table: &table.name, problems };
            if table.name.is_empty() {
                found.report(ProblemKind::Setting, "name", "the table has no name");
            }
            if self.tables.iter().take(at).any(|other| other.name == table.name) {
                found.report(ProblemKind::DuplicateTable, "", "the table is configured twice");
            }
            check_buckets(table, &mut found);
            if table.sync == SyncModel::Log {
                check_log(table, &mut found);
                continue;
            }
            self.check_ownership(table, &mut found);
            if let Some(why) = self.function_problem(table.bucket_function.as_deref()) {
                found.report(ProblemKind::InvalidBucketConfig, "bucket_function", why);
            }
            let (resolver, function) = (&table.bucket_resolver, &table.bucket_function);
            if let Some(why) = self.resolver_problem(resolver.is_some(), function.is_some()) {
                found.report(ProblemKind::InvalidBucketConfig, "bucket_resolver", why);
            }
            check_columns(table, &mut found);
            self.check_dependencies(table, &mut found);
            check_conflicts(table, &mut found);
        }
    }

    fn check_ownership(&self, table: &TableConfig, found: &mut TableProblems<'_>) {
        if table.owner_column.is_some() && table.parent.is_some() {
            let why = "a row belongs to its owner or to its parent's, not to both";
            found.report(ProblemKind::TwoOwners, "parent_table", why);
        }
        let is_owned = table.owner_column.is_some() || table.parent.is_some();
        if table.push_policy() == PushPolicy::OwnerOnly && !is_owned {
            let why = "devices may write only rows that have an owner: set owner_column or \
                       parent_table";
            found.report(ProblemKind::MissingOwnership, "push", why);
        }
        if table.push == Some(PushPolicy::Bucket) {
            if table.parent.is_some() {
                let why = "the users who write the parent write its rows: leave out write or parent_table";
                found.report(ProblemKind::TwoOwners, "write", why);
            } else if table.bucket_by_column.is_none() {
                let why = "no column names the bucket of a row: set bucket_by_column";
                found.report(ProblemKind::MissingOwnership, "write", why);
            } else if table.bucket_by_column == table.owner_column {
                let why = "the owner's column cannot name the bucket: name another column";
                found.report(ProblemKind::InvalidBucketConfig, "bucket_by_column", why);
            }
        }
        let has_readers =
            table.parent.is_some() || table.allow_global_read || table.names_buckets();
        if table.push == Some(PushPolicy::InsertOnly) && has_readers {
            let why = "no user reads rows that are only inserted: leave out write, or parent_table, \
                       allow_global_read and the buckets";
            found.report(ProblemKind::InvalidPushPolicy, "write", why);
        }
        if table.parent.as_ref().is_some_and(|parent| parent.column.is_empty()) {
            let why = "missing: name the column that holds the parent's key";
            found.report(ProblemKind::MissingParentColumn, "parent_fk_col", why);
        }
        if let Some((kind, why)) = self.chain_problem(table) {
            found.report(kind, "parent_table", why);
        }
    }

    /// Why the chain of parents does not lead to an owner.
    fn chain_problem(&self, table: &TableConfig) -> Option<(ProblemKind, String)> {
        let mut present = table;
        for _ in 0..=self.tables.len() {
            let Some(parent) = &present.parent else {
                let ends = present.owner_column.is_some()
                    || present.push == Some(PushPolicy::Bucket)
                    || present.name == table.name;
                let why =
                    format!("the chain ends at '{}', which has no owner_column", present.name);
                return (!ends).then_some((ProblemKind::OrphanedChain, why));
            };
            let above = self.tables.iter().find(|other| other.name == parent.table);
            let Some(above) = above else {
                let why = format!("'{}' is no synced table", parent.table);
                return Some((ProblemKind::UnregisteredParent, why));
            };
            present = above;
        }
        Some((ProblemKind::Cycle, String::from("the chain of parents is a circle")))
    }

    /// Why this function cannot be called by the configured store.
    fn function_problem(&self, name: Option<&str>) -> Option<&'static str> {
        let name = name?;
        let is_word = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if !name.split('.').all(is_word) || name.split('.').count() > 2 {
            return Some("a function is called name or schema.name, of letters, digits and _");
        }
        self.store.is_none().then_some("functions are PostgreSQL's: set store, or name a column")
    }

    /// Why a bucket resolver cannot be used here.
    fn resolver_problem(&self, is_there: bool, has_function: bool) -> Option<&'static str> {
        if is_there && has_function {
            return Some("buckets are named by a function or by a resolver, not by both");
        }
        let why = "resolvers of buckets are for PostgreSQL: set store, or name a column";
        (is_there && self.store.is_none()).then_some(why)
    }

    fn check_dependencies(&self, table: &TableConfig, found: &mut TableProblems<'_>) {
        for name in &table.dependencies {
            if !self.tables.iter().any(|other| other.name == *name) {
                let why = format!("'{name}' is no synced table");
                found.report(ProblemKind::UnknownTable, "dependencies", why);
            }
        }
    }
}

fn check_log(table: &TableConfig, found: &mut TableProblems<'_>) {
    if let Some(key) = table.row_setting() {
        found.report(ProblemKind::Setting, key, "a table of the log has no such setting");
    }
    if table.bucket_by_column.is_some() && table.owner_column.is_some() {
        let why = "one column names the bucket of a row: set bucket_by_column or owner_column";
        found.report(ProblemKind::InvalidBucketConfig, "owner_column", why);
    }
    if table.bucket().is_none() {
        let why = "no user could read a row: name the column of its bucket";
        found.report(ProblemKind::InvalidBucketConfig, "bucket_by_column", why);
    }
}

fn check_buckets(table: &TableConfig, found: &mut TableProblems<'_>) {
    let mut report =
        |key: &str, why: &str| found.report(ProblemKind::InvalidBucketConfig, key, why);
    if table.global_when_bucket_null && !table.allow_global_read {
        let why = "public rows require allow_global_read";
        report("global_when_bucket_null", why);
    }
    let names_none = table.bucket_by_column.is_none() && table.owner_column.is_none();
    if table.global_when_bucket_null && names_none {
        report("global_when_bucket_null", "no column names a bucket: set bucket_by_column");
    }
    if table.bucket_by_column.as_deref() == Some("") {
        report("bucket_by_column", "the name is empty: leave the key out");
    }
    let Some(prefix) = table.bucket_prefix.as_deref() else { return };
    if names_none {
        report("bucket_prefix", "there is no column to prefix: set bucket_by_column");
    }
    if prefix.is_empty() || prefix.starts_with('#') || prefix.contains(char::is_control) {
        report("bucket_prefix", "a prefix is text such as \"team:\", and does not begin with #");
    } else if prefix != OWN_PREFIX
        && (OWN_PREFIX.starts_with(prefix)
            || prefix.starts_with(OWN_PREFIX)
            || GLOBAL.starts_with(prefix))
    {
        let why = "some values would name a user's own bucket, or the public one: choose another";
        report("bucket_prefix", why);
    }
}

fn check_columns(table: &TableConfig, found: &mut TableProblems<'_>) {
    let engine = [&table.updated_at_column, &table.deleted_at_column];
    for column in &table.protected {
        let is_engines = engine.contains(&column)
            || matches!(column.as_str(), "created_at" | "updated_at" | "deleted_at")
            || table.owner_column.as_ref() == Some(column);
        if is_engines {
            let why = format!("'{column}' is the server's to write anyway");
            found.report(ProblemKind::RedundantProtected, "protected", why);
        } else if column == table.id_column.as_deref().unwrap_or("id") {
            let why = format!("a key never changes: '{column}' needs no protection");
            found.report(ProblemKind::RedundantProtected, "protected", why);
        }
    }
    for (key, column) in [
        ("updated_at_column", Some(&table.updated_at_column)),
        ("deleted_at_column", Some(&table.deleted_at_column)),
        ("id_column", table.id_column.as_ref()),
        ("owner_column", table.owner_column.as_ref()),
    ] {
        if column.is_some_and(String::is_empty) {
            found.report(ProblemKind::Setting, key, "the name is empty: leave the key out");
        }
    }
}

fn check_conflicts(table: &TableConfig, found: &mut TableProblems<'_>) {
    let by_time = table.policy == Policy::LastWriteWins;
    if by_time && matches!(table.resolver, Resolve::ServerWins) {
        let why = "with the policy last_write_wins the later edit wins, not the server";
        found.report(ProblemKind::Setting, "resolver", why);
    }
    if !by_time && table.skew_tolerance_ms > 0 {
        let why = "only the policy last_write_wins compares times";
        found.report(ProblemKind::Setting, "skew_tolerance_ms", why);
    }
}

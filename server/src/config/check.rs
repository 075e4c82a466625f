//! What must hold of a configuration, wherever it came from. Every problem is found, not the first.

use std::collections::BTreeSet;

use rejoin_protocol::Policy;

use crate::engine::resolve::Resolve;

use super::{Auth, Config, Problem, PushPolicy, TableConfig};

impl Config {
    /// Everything that is wrong with this configuration; empty if nothing is.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.check_store(&mut problems);
        self.check_auth(&mut problems);
        self.check_limits(&mut problems);
        if let Some(least) = &self.min_app_version
            && least.split('.').count() != 3
        {
            let why = "a version is MAJOR.MINOR.PATCH";
            problems.push(Problem::new("min_app_version", why));
        }
        if self.tables.is_empty() {
            problems.push(Problem::new("tables", "no table is synced: add a [[tables]] block"));
        }
        for (at, action) in self.actions.iter().enumerate() {
            action.check(&self.actions[..at], &mut problems);
        }
        let mut names = BTreeSet::new();
        for table in &self.tables {
            if !names.insert(table.name.as_str()) {
                let why = "the table is configured twice";
                problems.push(Problem::new(format!("tables.{}", table.name), why));
            }
            self.check_table(table, &mut problems);
        }
        problems
    }

    fn check_store(&self, problems: &mut Vec<Problem>) {
        let Some(store) = &self.store else { return };
        if let Err(why) = store.parse() {
            problems.push(Problem::new("store", why));
        }
        if !self.database.as_os_str().is_empty() {
            let why = "the tables are in a file or in PostgreSQL: set database or store, not both";
            problems.push(Problem::new("database", why));
        }
    }

    fn check_auth(&self, problems: &mut Vec<Problem>) {
        match &self.auth {
            Auth::Header { name } => {
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                {
                    problems.push(Problem::new("auth.header", "this is no name of a header"));
                }
                if !self.listen.ip().is_loopback() {
                    let why = "the user header is trusted on a loopback address only: listen on \
                               127.0.0.1, or use [auth.jwt]";
                    problems.push(Problem::new("listen", why));
                }
            }
            Auth::Jwt(jwt) => {
                if jwt.secret.len() < 32 {
                    let why = "the secret has fewer than 32 bytes: HS256 needs as many";
                    problems.push(Problem::new("auth.jwt.secret", why));
                }
                if jwt.user_claim.is_empty() {
                    problems.push(Problem::new("auth.jwt.user_claim", "no claim is named"));
                }
            }
        }
    }

    fn check_limits(&self, problems: &mut Vec<Problem>) {
        let limits = &self.limits;
        if !(1..=1_000).contains(&limits.page) {
            problems.push(Problem::new("limits.page", "a page has 1 to 1000 rows"));
        }
        let least = [("body", limits.body, 1_024), ("groups", limits.groups, 1)];
        for (name, value, least) in least.into_iter().chain([("changes", limits.changes, 1)]) {
            if value < least {
                problems.push(Problem::new(format!("limits.{name}"), format!("at least {least}")));
            }
        }
        let days =
            [("log_days", self.retention.log_days), ("verdict_days", self.retention.verdict_days)];
        for (name, value) in days {
            if value == 0 {
                problems.push(Problem::new(format!("retention.{name}"), "at least 1"));
            }
        }
    }

    fn check_table(&self, table: &TableConfig, problems: &mut Vec<Problem>) {
        let mut problem = |key: &str, why: String| {
            let dot = if key.is_empty() { "" } else { "." };
            problems.push(Problem::new(format!("tables.{}{dot}{key}", table.name), why));
        };
        if table.name.is_empty() {
            problem("name", String::from("the table has no name"));
        }
        if table.owner_column.is_some() && table.parent.is_some() {
            let why = "a row belongs to its owner or to its parent's, not to both";
            problem("parent_table", String::from(why));
        }
        let is_owned = table.owner_column.is_some() || table.parent.is_some();
        if table.push_policy() == PushPolicy::OwnerOnly && !is_owned {
            let why = "devices may write only rows that have an owner: set owner_column or \
                       parent_table";
            problem("push", String::from(why));
        }
        let engine = [&table.updated_at_column, &table.deleted_at_column];
        for column in &table.protected {
            let known = engine.contains(&column)
                || column == "created_at"
                || table.owner_column.as_ref() == Some(column);
            if known {
                problem("protected", format!("'{column}' is the server's to write anyway"));
            }
        }
        let by_time = table.policy == Policy::LastWriteWins;
        if by_time && matches!(table.resolver, Resolve::ServerWins) {
            let why = "with the policy last_write_wins the later edit wins, not the server";
            problem("resolver", String::from(why));
        }
        if !by_time && table.skew_tolerance_ms > 0 {
            let why = "only the policy last_write_wins compares times";
            problem("skew_tolerance_ms", String::from(why));
        }
        if let Some(why) = self.chain_problem(table) {
            problem("parent_table", why);
        }
    }

    /// Why the chain of parents leads to no owner.
    fn chain_problem(&self, table: &TableConfig) -> Option<String> {
        let mut present = table;
        for _ in 0..=self.tables.len() {
            let Some(parent) = &present.parent else {
                let ends = present.owner_column.is_some() || present.name == table.name;
                return (!ends).then(|| {
                    format!("the chain ends at '{}', which has no owner_column", present.name)
                });
            };
            let above = self.tables.iter().find(|other| other.name == parent.table);
            let Some(above) = above else {
                return Some(format!("'{}' is no synced table", parent.table));
            };
            present = above;
        }
        Some(String::from("the chain of parents is a circle"))
    }
}

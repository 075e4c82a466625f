//! Row level security of PostgreSQL, in addition to the engine's own checks.

use super::Config;
use super::reader::{ConfigReader, TableMembers};
use crate::error::Problem;

/// The role under which requests run, so that the database itself refuses rows of other users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSecurity {
    /// The role that each request's transaction uses (SET LOCAL ROLE): not a superuser, without
    /// BYPASSRLS, not the owner of the tables. `rejoin_app` by default.
    pub role: String,
    /// Whether to start, with a warning, although the role bypasses the policies. `false` by
    /// default.
    pub allow_bypass: bool,
}

impl Default for RowSecurity {
    fn default() -> Self {
        Self { role: String::from("rejoin_app"), allow_bypass: false }
    }
}

impl RowSecurity {
    pub(super) fn problems(config: &Config, problems: &mut Vec<Problem>) {
        let Some(security) = &config.row_security else { return };
        if config.store.is_none() {
            let why = "row level security is PostgreSQL's: set store, or leave it out";
            problems.push(Problem::new("postgres.rls", why));
        }
        if security.role.is_empty() || security.role.contains('\0') {
            problems.push(Problem::new("postgres.role", "this is no name of a role"));
        }
    }

    /// Reads `[postgres]`.
    pub(super) fn read(reader: &mut ConfigReader<'_>, mut members: TableMembers) -> Option<Self> {
        let is_on = reader.truth(&mut members, "rls").unwrap_or(false);
        let mut security = Self::default();
        if let Some(role) = reader.text(&mut members, "role") {
            security.role = role;
        }
        if let Some(allowed) = reader.truth(&mut members, "allow_bypass") {
            security.allow_bypass = allowed;
        }
        reader.leftover(&members);
        is_on.then_some(security)
    }
}

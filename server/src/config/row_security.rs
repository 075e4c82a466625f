//! Row level security of PostgreSQL, as a second lock behind the predicates of the engine.

use super::Config;
use super::reader::{Members, Reader};
use crate::error::Problem;

/// As whom requests are served, so that the database itself refuses what is another user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSecurity {
    /// The role that each request takes in its transaction (SET LOCAL ROLE): no superuser, without BYPASSRLS, and not the
    /// owner of the tables. `rejoin_app` by default.
    pub role: String,
    /// Whether to serve although that role bypasses the policies: a warning instead of a refusal. `false` by default.
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
    pub(super) fn read(reader: &mut Reader<'_>, mut members: Members) -> Option<Self> {
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

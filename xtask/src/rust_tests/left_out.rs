//! Programs that some Rust tests start. Without one of them its tests are left out by name.

use crate::process::missing;
use rejoin_postgres::{URL_VARIABLE, basebackup, pgbouncer, programs};
use std::process::Command;

/// A program, parts of the names of the tests that start it, and whether it is installed.
type Optional = (&'static str, &'static [&'static str], fn() -> bool);

const POSTGRES: &str = "postgres";

/// The programs. A test that starts another one has a name of its own here. `operator_page` runs the
/// commands of `docs/operate.md`.
const OPTIONAL: [Optional; 6] = [
    ("PostgreSQL", &[POSTGRES], has_postgres),
    ("PgBouncer", &["postgres_pooled", "postgres_only::pooler"], || pgbouncer().is_some()),
    ("pg_basebackup", &["postgres_only::replica"], || basebackup().is_some()),
    ("nginx", &["nginx"], has_nginx),
    ("chromium", &["chromium"], || missing(&["chromium"]).is_none()),
    ("bash, curl, jq and sqlite3", &["operator_page"], || {
        missing(&["bash", "curl", "jq", "sqlite3"]).is_none()
    }),
];

/// On the PATH, or where Debian installs it.
fn has_nginx() -> bool {
    ["nginx", "/usr/sbin/nginx"].iter().any(|it| Command::new(it).arg("-v").output().is_ok())
}

fn has_postgres() -> bool {
    std::env::var_os(URL_VARIABLE).is_some() || programs().is_some()
}

/// The missing programs.
#[derive(Debug)]
pub(crate) struct LeftOut(Vec<&'static Optional>);

impl LeftOut {
    /// Those missing on this machine.
    pub(crate) fn here() -> Self {
        Self(OPTIONAL.iter().filter(|(.., is_installed)| !is_installed()).collect())
    }

    /// Whether PostgreSQL is there.
    pub(crate) fn has_postgres(&self) -> bool {
        !self.parts().any(|part| part == POSTGRES)
    }

    /// Parts of the names of all tests that are left out.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().flat_map(|(_, tests, _)| tests.iter().copied())
    }

    /// Prints why tests are left out.
    pub(crate) fn explain(&self) {
        for (name, tests, _) in &self.0 {
            let tests = tests.join(" or ");
            println!("skipped: tests with {tests} in their names: {name} is missing");
        }
    }

    /// Whether a test is left out.
    pub(crate) fn contains(&self, test: &str) -> bool {
        self.parts().any(|part| test.contains(part))
    }

    /// On a machine without these.
    #[cfg(test)]
    pub(crate) fn missing(names: &[&str]) -> Self {
        Self(OPTIONAL.iter().filter(|(name, ..)| names.contains(name)).collect())
    }
}

//! Programs that some Rust tests start. Without one of them its tests are left out by name.

use crate::process::missing;
use rejoin_postgres::{URL_VARIABLE, basebackup, pgbouncer, programs};
use std::process::Command;

/// A program, and a part of the names of the tests that start it.
#[derive(Debug)]
pub(crate) struct Optional {
    name: &'static str,
    tests: &'static [&'static str],
    is_installed: fn() -> bool,
}

const POSTGRES: &str = "postgres";

/// The programs. A test that starts another one has a name of its own here.
pub(crate) const OPTIONAL: [Optional; 6] = [
    Optional { name: "PostgreSQL", tests: &[POSTGRES], is_installed: has_postgres },
    Optional {
        name: "PgBouncer",
        tests: &["postgres_pooled", "postgres_only::pooler"],
        is_installed: || pgbouncer().is_some(),
    },
    Optional {
        name: "pg_basebackup",
        tests: &["postgres_only::replica"],
        is_installed: || basebackup().is_some(),
    },
    Optional {
        name: "nginx",
        tests: &["nginx"],
        // On the PATH, or where Debian installs it.
        is_installed: || {
            ["nginx", "/usr/sbin/nginx"]
                .iter()
                .any(|it| Command::new(it).arg("-v").output().is_ok())
        },
    },
    Optional {
        name: "chromium",
        tests: &["chromium"],
        is_installed: || missing(&["chromium"]).is_none(),
    },
    Optional {
        // Used by the commands of `docs/operate.md`.
        name: "bash, curl, jq and sqlite3",
        tests: &["operator_page"],
        is_installed: || missing(&["bash", "curl", "jq", "sqlite3"]).is_none(),
    },
];

fn has_postgres() -> bool {
    std::env::var_os(URL_VARIABLE).is_some() || programs().is_some()
}

/// The missing programs.
#[derive(Debug, Clone)]
pub(crate) struct LeftOut(Vec<&'static Optional>);

impl LeftOut {
    /// Those missing on this machine.
    pub(crate) fn here() -> Self {
        Self(OPTIONAL.iter().filter(|program| !(program.is_installed)()).collect())
    }

    /// Whether PostgreSQL is there.
    pub(crate) fn has_postgres(&self) -> bool {
        !self.parts().any(|part| part == POSTGRES)
    }

    /// Parts of the names of all tests that are left out.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().flat_map(|program| program.tests.iter().copied())
    }

    /// Prints why tests are left out.
    pub(crate) fn explain(&self) {
        for Optional { name, tests, .. } in &self.0 {
            println!(
                "skipped: tests with {} in their names: {name} is missing",
                tests.join(" or ")
            );
        }
    }

    /// Whether a test is left out.
    pub(crate) fn contains(&self, test: &str) -> bool {
        self.parts().any(|part| test.contains(part))
    }

    /// On a machine that has them all.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Each combination of missing programs.
    #[cfg(test)]
    pub(crate) fn combinations() -> impl Iterator<Item = Self> {
        (0..1_u32 << OPTIONAL.len()).map(|missing| {
            let programs = OPTIONAL.iter().enumerate();
            Self(programs.filter(|(at, _)| missing >> at & 1 == 1).map(|(_, it)| it).collect())
        })
    }
}

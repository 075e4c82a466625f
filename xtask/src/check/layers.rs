//! The layers: allowed dependencies between crates, and paths that files may use.
//!
//! A package or dependency that is missing in these tables is refused. ARCHITECTURE.md shows the
//! same layers.

use super::source::paths;
use crate::workspace::{File, Package};
use anyhow::Result;

/// A package, the packages of the workspace that it may use, and the crates that it must not use
/// (except in tests, or behind a feature that is off by default).
type Layer = (&'static str, &'static str, &'static str);

const NETWORK: &str = "tokio reqwest axum rusqlite anyhow";

const LAYERS: &[Layer] = &[
    ("rejoin-protocol", "", NETWORK),
    // Rows come from an injected store, time and randomness are arguments.
    ("rejoin-log", "rejoin-protocol", NETWORK),
    // The plain server in tests only.
    ("rejoin-core", "rejoin-protocol rejoin-log rejoin-plain", "axum anyhow uniffi"),
    // The suite, the plain server and a PostgreSQL in tests only.
    (
        "rejoin-server",
        "rejoin-protocol rejoin-log rejoin-conformance rejoin-plain rejoin-postgres",
        "reqwest uniffi",
    ),
    // The server in tests only.
    (
        "rejoin-bindings",
        "rejoin-protocol rejoin-core rejoin-ffi-bytes rejoin-server",
        "axum anyhow reqwest rusqlite",
    ),
    // A type of the FFI surface; the only package with `unsafe`.
    ("rejoin-ffi-bytes", "", "rejoin-core"),
    // Uses a server through its responses only.
    ("rejoin-conformance", "rejoin-protocol", "rusqlite axum reqwest"),
    ("rejoin-bindings-generator", "", "rejoin-core"),
    (
        "rejoin-tests",
        "rejoin-protocol rejoin-log rejoin-core rejoin-server rejoin-plain rejoin-postgres",
        "",
    ),
    // A foreign server: it shares no code with ours, not even the protocol.
    ("rejoin-plain", "", NETWORK),
    // Starts PostgreSQL; independent of Rejoin.
    ("rejoin-postgres", "", "rusqlite axum anyhow"),
    ("rejoin-fuzz", "rejoin-protocol rejoin-log rejoin-core", "reqwest axum tokio"),
    // A file system for SQLite; uses our crates in tests only.
    ("rejoin-vfs", "rejoin-core rejoin-server rejoin-tests", "tokio reqwest axum anyhow"),
    // Processes as run by an app and an operator, and a checker of their records.
    ("rejoin-jepsen", "rejoin-core rejoin-server rejoin-postgres", "reqwest axum"),
    ("rejoin-story-server", "rejoin-protocol rejoin-server", "reqwest uniffi"),
    (
        "rejoin-interop",
        "rejoin-protocol rejoin-core rejoin-bindings rejoin-story-server",
        "rusqlite axum",
    ),
    (
        "rejoin-bench",
        "rejoin-protocol rejoin-log rejoin-core rejoin-server rejoin-bench-extension",
        "",
    ),
    ("rejoin-bench-extension", "", ""),
    // It makes the SQLite file that a server serves, and measures two clients of it.
    ("rejoin-server-bench", "rejoin-core rejoin-postgres", ""),
    // The server in tests only, as in the next one.
    ("rejoin-cli", "rejoin-core rejoin-protocol rejoin-server", "rusqlite"),
    ("rejoin-todo", "rejoin-core rejoin-server", "rusqlite"),
    ("rejoin-demo", "rejoin-protocol rejoin-core rejoin-server rejoin-postgres", ""),
    ("xtask", "rejoin-postgres", "rusqlite tokio"),
];

fn lists(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|listed| listed == word)
}

/// Dependencies between packages that the table does not allow.
pub(crate) fn between_packages(packages: &[Package]) -> Vec<String> {
    let own: Vec<&Package> = packages.iter().filter(|package| package.source.is_none()).collect();
    let is_own = |name: &str| own.iter().any(|package| package.name == name);
    let mut problems = Vec::new();
    for package in &own {
        let Some((_, may_use, never)) = LAYERS.iter().find(|(name, ..)| *name == package.name)
        else {
            problems
                .push(format!("{}: not in the table of layers (check/layers.rs)", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let wrong_way = is_own(name) && !lists(may_use, name);
            let unwanted = lists(never, name) && !dependency.is_for_tests() && !dependency.optional;
            if wrong_way || unwanted {
                problems.push(format!("{} must not depend on {name}", package.name));
            }
        }
    }
    problems
}

/// A reason, the beginnings of some files, and the paths that they must not use.
type Border = (&'static str, &'static str, &'static str);

const BORDERS: &[Border] = &[
    (
        "the protocol does no I/O",
        "protocol/src/",
        "tokio reqwest std::fs std::net std::process rusqlite::Connection",
    ),
    (
        "the engine is synchronous and has no network",
        "core/src/engine/ core/src/engine.rs",
        "crate::sync crate::transport crate::client crate::runtime tokio reqwest",
    ),
    (
        "rows, log, capture and queue work on a connection, a schema and a queue, not on the whole engine",
        "core/src/engine/schema core/src/engine/rows core/src/engine/log core/src/engine/row_state \
         core/src/engine/capture core/src/engine/queue",
        "crate::engine::Engine",
    ),
    (
        "the session decides what to exchange and does no I/O",
        "core/src/sync/session core/src/sync/rows core/src/sync/plain",
        "crate::transport crate::client crate::runtime tokio reqwest",
    ),
    (
        "the transport moves bytes and has no engine",
        "core/src/transport/ core/src/transport.rs",
        "crate::engine crate::client rusqlite",
    ),
    (
        "a decision is a pure function and does no I/O",
        "core/src/engine/rows/patch core/src/engine/rebase/footprint core/src/sync/backoff",
        "rusqlite tokio reqwest",
    ),
    (
        "the driver of a database is used in the store alone",
        "server/src/model server/src/error server/src/hooks server/src/engine server/src/routes",
        "rusqlite tokio_postgres",
    ),
    (
        "the log works on stores, time and random numbers that it is given",
        "log/src/",
        "std::fs std::net std::process std::time",
    ),
];

/// The parts of a folder, in ascending rank, with `<` between the ranks. A part may use parts of its
/// own rank and below, and definitions of the folder's own module.
struct Order {
    folder: &'static str,
    parts: &'static str,
}

const ORDERS: &[Order] = &[
    Order {
        folder: "core/src/engine/",
        parts: "database migrate < meta < schema < rows < log < row_state < capture < queue \
                < staging < action < entries < rebase < import",
    },
    Order {
        folder: "server/src/",
        parts: "model < admission bucket_resolver clock http log_limit observe < error < hooks \
                < config < store < engine < auth events feeder listener < gauges operate ready \
                < routes",
    },
    Order {
        folder: "server/src/engine/",
        parts: "conflict_log encode naming rejection resolve verdict version < change checks \
                < conflict < bucket user_transaction < references < apply < reads resolve_conflict \
                < evaluate < cursor hook page window < describe keep pull register < push snapshot \
                < plain",
    },
];

impl Order {
    /// The rank of the part of a path: the first name after `start`.
    fn rank(&self, path: &str, start: &str) -> Option<usize> {
        let rest = path.strip_prefix(start)?;
        let part = rest.split([':', '/', '.']).next()?;
        self.parts.split('<').position(|parts| lists(parts, part))
    }

    /// `server/src/engine/` is `crate::engine::`.
    fn module(&self) -> String {
        let inside = self.folder.split_once("src/").map_or("", |(_, inside)| inside);
        format!("crate::{}", inside.replace('/', "::"))
    }

    /// The paths in a file that use a higher part.
    fn above(&self, file: &File, paths: &[String]) -> Vec<String> {
        let Some(own) = self.rank(&file.path, self.folder) else { return Vec::new() };
        let module = self.module();
        let is_above = |path: &&String| self.rank(path, &module) > Some(own);
        let paths = paths.iter().filter(is_above);
        paths.map(|path| format!("{}: names {path}, which is above it", file.path)).collect()
    }
}

/// Paths in product code that violate a layer.
pub(crate) fn between_files(files: &[File]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && !file.is_test()) {
        let starts = |prefix: &str| file.path.starts_with(prefix);
        let orders: Vec<_> = ORDERS.iter().filter(|order| starts(order.folder)).collect();
        let borders: Vec<_> =
            BORDERS.iter().filter(|border| border.1.split_whitespace().any(starts)).collect();
        if orders.is_empty() && borders.is_empty() {
            continue;
        }
        let paths = paths(file)?;
        problems.extend(orders.iter().flat_map(|order| order.above(file, &paths)));
        for (why, _, never) in borders {
            for path in &paths {
                let beyond = |never: &str| {
                    path.strip_prefix(never)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
                };
                if never.split_whitespace().any(beyond) {
                    problems.push(format!("{}: names {path}: {why}", file.path));
                }
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::{between_files, between_packages};
    use crate::workspace::{Dependency, File, Package};

    /// `dev:name` is for tests only, `optional:name` behind a feature.
    fn dependency(text: &str) -> Dependency {
        let (how, name) = text.split_once(':').unwrap_or(("", text));
        let kind = (how == "dev").then(|| how.to_owned());
        Dependency { name: name.into(), kind, optional: how == "optional" }
    }

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|name| dependency(name)).collect();
        let source = (!name.starts_with("rejoin") && name != "xtask").then(|| "registry".into());
        Package { name: name.into(), source, dependencies, ..Package::default() }
    }

    #[test]
    fn package_dependencies_point_one_way() {
        let table: [(&str, &[&str], bool); 13] = [
            ("rejoin-core", &["rejoin-protocol", "rusqlite"], true),
            ("rejoin-protocol", &["serde"], true),
            ("rejoin-protocol", &["rejoin-core"], false),
            ("rejoin-protocol", &["tokio"], false),
            ("rejoin-protocol", &["dev:rusqlite"], true),
            ("rejoin-protocol", &["optional:rusqlite"], true),
            ("rejoin-core", &["dev:rejoin-server"], false),
            ("rejoin-core", &["optional:rejoin-server"], false),
            ("rejoin-server", &["rejoin-core"], false),
            ("rejoin-core", &["rejoin-server"], false),
            ("rejoin-core", &["anyhow"], false),
            ("rejoin-todo", &["rejoin-protocol"], false),
            ("rejoin-new", &[], false),
        ];
        let layers = ["rejoin-protocol", "rejoin-core", "rejoin-server"];
        for (name, dependencies, good) in table {
            let others =
                layers.iter().filter(|layer| **layer != name).map(|layer| package(layer, &[]));
            let packages: Vec<_> = others.chain([package(name, dependencies)]).collect();
            let problems = between_packages(&packages);
            assert_eq!(problems.is_empty(), good, "{name} on {dependencies:?}: {problems:?}");
        }
    }

    #[test]
    fn paths_across_layers_are_found() {
        let table = [
            ("protocol/src/value.rs", "use rusqlite::types::ToSql;", true),
            ("protocol/src/value.rs", "use std::{fmt, fs::File};", false),
            ("core/src/engine/watch.rs", "// crate::sync\nconst S: &str = \"tokio::x\";", true),
            ("core/src/engine/watch.rs", "#[cfg(test)]\nmod tests { use tokio::test; }", true),
            ("core/src/engine/watch.rs", "use crate::synchronous::X;", true),
            ("core/src/engine/watch.rs", "use crate::{value, sync::Session};", false),
            ("core/src/engine/watch.rs", "use super::super::transport::Http;", false),
            ("core/src/engine/mod.rs", "fn f() { tokio::spawn(g()) }", false),
            ("core/src/sync/rows/push.rs", "use tokio as t;", false),
            ("core/src/sync/driver.rs", "use tokio::select;", true),
            ("core/src/engine/rows/patch/encode.rs", "use {rusqlite::Row};", false),
            ("core/src/engine/rebase/footprint.rs", "type T = rusqlite::Row;", false),
            ("log/src/clock.rs", "fn now() -> std::time::SystemTime { f() }", false),
            ("core/src/engine/rows/apply.rs", "use crate::engine::schema::model::Table;", true),
            ("core/src/engine/rows/apply.rs", "use super::super::queue::Entry;", false),
            ("core/src/engine/queue/store.rs", "fn f() { crate::engine::rebase::g() }", false),
            ("server/src/store.rs", "use crate::{config::TableConfig, model::Row};", true),
            ("server/src/store/sqlite/rows.rs", "use crate::engine::Engine;", false),
            ("server/src/engine/conflict.rs", "use super::change::Cells;", true),
            ("server/src/engine/conflict.rs", "use super::evaluate::Outcome;", false),
        ];
        for (path, text, good) in table {
            let file = File { path: path.into(), text: text.into() };
            let problems = between_files(&[file]).unwrap();
            assert_eq!(problems.is_empty(), good, "{path}: {text}: {problems:?}");
        }
    }
}

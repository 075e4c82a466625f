//! The arrows between rooms: which crate may build on which, and which files may name what.
//!
//! `design.md` (Rooms) draws them; these tables are that drawing, and a package or an arrow that is not in them
//! is refused until somebody has thought about it.

use crate::source;
use crate::workspace::{File, Package};

/// One room: its package, the rooms it may build on, and the crates of others that it must do without (but for tests, and
/// behind a feature that is off unless asked for).
struct Room {
    package: &'static str,
    may_use: &'static [&'static str],
    never: &'static [&'static str],
}

const NETWORK: &[&str] = &["tokio", "reqwest", "axum", "rusqlite", "anyhow"];

const ROOMS: &[Room] = &[
    Room { package: "rejoin-protocol", may_use: &[], never: NETWORK },
    Room {
        package: "rejoin-core",
        may_use: &["rejoin-protocol"],
        never: &["axum", "anyhow", "uniffi"],
    },
    Room {
        package: "rejoin-server",
        // The plain server and a PostgreSQL to start only in its tests.
        may_use: &["rejoin-protocol", "rejoin-plain", "rejoin-postgres"],
        never: &["reqwest", "uniffi"],
    },
    Room {
        package: "rejoin-bindings",
        // The server only in its tests.
        may_use: &["rejoin-protocol", "rejoin-core", "rejoin-server"],
        never: &["axum", "anyhow", "reqwest", "rusqlite"],
    },
    Room { package: "rejoin-bindings-generator", may_use: &[], never: &["rejoin-core"] },
    Room {
        package: "rejoin-tests",
        may_use: &[
            "rejoin-protocol",
            "rejoin-core",
            "rejoin-server",
            "rejoin-plain",
            "rejoin-postgres",
        ],
        never: &[],
    },
    // It stands for somebody else's server, and shares not even the protocol.
    Room { package: "rejoin-plain", may_use: &[], never: NETWORK },
    // It starts somebody else's program, and knows nothing of ours.
    Room { package: "rejoin-postgres", may_use: &[], never: &["rusqlite", "axum", "anyhow"] },
    Room {
        package: "rejoin-fuzz",
        may_use: &["rejoin-protocol", "rejoin-core"],
        never: &["reqwest", "axum", "tokio"],
    },
    Room {
        package: "rejoin-story-server",
        may_use: &["rejoin-protocol", "rejoin-server"],
        never: &["reqwest", "uniffi"],
    },
    Room {
        package: "rejoin-interop",
        may_use: &["rejoin-protocol", "rejoin-core", "rejoin-bindings", "rejoin-story-server"],
        never: &["rusqlite", "axum"],
    },
    Room { package: "rejoin-bench", may_use: &["rejoin-protocol", "rejoin-core"], never: &[] },
    Room {
        package: "rejoin-server-bench",
        may_use: &["rejoin-postgres"],
        never: &["rusqlite", "axum"],
    },
    Room { package: "rejoin-cli", may_use: &["rejoin-core"], never: &["rusqlite", "tokio"] },
    Room {
        package: "rejoin-todo",
        // The server only in its tests.
        may_use: &["rejoin-core", "rejoin-server"],
        never: &["rusqlite"],
    },
    Room {
        package: "rejoin-demo",
        may_use: &["rejoin-protocol", "rejoin-core", "rejoin-server", "rejoin-postgres"],
        never: &[],
    },
    Room { package: "xtask", may_use: &[], never: &["rusqlite", "tokio"] },
];

/// What breaks the arrows between packages, by what each declares.
pub(crate) fn between_packages(packages: &[Package]) -> Vec<String> {
    let own: Vec<&Package> = packages.iter().filter(|package| package.source.is_none()).collect();
    let is_own = |name: &str| own.iter().any(|package| package.name == name);
    let mut problems = Vec::new();
    for package in &own {
        let Some(room) = ROOMS.iter().find(|room| room.package == package.name) else {
            problems.push(format!("{}: not in the table of rooms (check/rooms.rs)", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let wrong_way = is_own(name) && !room.may_use.contains(&name);
            let unwanted =
                room.never.contains(&name) && !dependency.is_for_tests() && !dependency.optional;
            if wrong_way || unwanted {
                problems.push(format!("{} must not depend on {name}", package.name));
            }
        }
    }
    problems
}

/// Some files, and the paths that they never name.
struct Border {
    why: &'static str,
    files: &'static [&'static str],
    never: &'static [&'static str],
}

const BORDERS: &[Border] = &[
    Border {
        why: "the protocol does no I/O",
        files: &["protocol/src/"],
        never: &["tokio", "reqwest", "std::fs", "std::net", "std::process", "rusqlite::Connection"],
    },
    Border {
        why: "the engine is synchronous and knows no network",
        files: &["core/src/engine/", "core/src/engine.rs"],
        never: &[
            "crate::sync",
            "crate::transport",
            "crate::client",
            "crate::runtime",
            "tokio",
            "reqwest",
        ],
    },
    Border {
        why: "the session decides what to exchange and does no I/O",
        files: &["core/src/sync/session", "core/src/sync/rows", "core/src/sync/plain"],
        never: &["crate::transport", "crate::client", "crate::runtime", "tokio", "reqwest"],
    },
    Border {
        why: "the transport moves bytes and knows no engine",
        files: &["core/src/transport/", "core/src/transport.rs"],
        never: &["crate::engine", "crate::client", "rusqlite"],
    },
    Border {
        why: "a pure decision does no I/O",
        files: &[
            "core/src/engine/capture/patch",
            "core/src/engine/rebase/footprint",
            "core/src/sync/backoff",
        ],
        never: &["rusqlite", "tokio", "reqwest"],
    },
    Border {
        why: "the log decides over stores that it is given, told the time and every random number",
        files: &["core/src/sync/log"],
        never: &[
            "rusqlite",
            "tokio",
            "reqwest",
            "futures_util",
            "std::fs",
            "std::net",
            "std::time",
            "crate::client",
            "crate::engine",
            "crate::host",
            "crate::runtime",
            "crate::transport",
        ],
    },
];

/// What breaks the borders between files, by the paths its code names outside its tests.
pub(crate) fn between_files(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && !file.is_test()) {
        let starts = |prefix: &&str| file.path.starts_with(*prefix);
        for border in BORDERS.iter().filter(|border| border.files.iter().any(&starts)) {
            let code = source::code(&file.text);
            let module = source::module_of(file.path.split_once('/').map_or("", |(_, path)| path));
            for (line, path) in source::paths(source::without_tests(&code), &module) {
                let beyond = |never: &&str| {
                    path.strip_prefix(*never)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
                };
                if border.never.iter().any(beyond) {
                    problems.push(format!("{}:{line}: names {path}: {}", file.path, border.why));
                }
            }
        }
    }
    problems
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
        Package {
            name: name.into(),
            version: "1.0.0".into(),
            license: None,
            source,
            dependencies,
            manifest_path: "Cargo.toml".into(),
        }
    }

    #[test]
    fn arrows_between_rooms_point_one_way() {
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
        let rooms = ["rejoin-protocol", "rejoin-core", "rejoin-server"];
        for (name, dependencies, good) in table {
            let others = rooms.iter().filter(|room| **room != name).map(|room| package(room, &[]));
            let packages: Vec<_> = others.chain([package(name, dependencies)]).collect();
            let problems = between_packages(&packages);
            assert_eq!(problems.is_empty(), good, "{name} on {dependencies:?}: {problems:?}");
        }
    }

    #[test]
    fn borders_between_files_hold() {
        let table = [
            ("protocol/src/value.rs", "use rusqlite::types::ToSql;", true),
            ("protocol/src/value.rs", "use std::{fmt, fs::File};", false),
            ("core/src/engine/watch.rs", "use crate::value::Value;", true),
            ("core/src/engine/watch.rs", "// crate::sync does this\nlet s = \"tokio::x\";", true),
            ("core/src/engine/watch.rs", "#[cfg(test)]\nmod tests { use tokio::test; }", true),
            ("core/src/engine/watch.rs", "use crate::synchronous::X;", true),
            ("core/src/engine/watch.rs", "use crate::{value, sync::Session};", false),
            ("core/src/engine/watch.rs", "use super::super::transport::Http;", false),
            ("core/src/engine/mod.rs", "fn f() { tokio::spawn(g()) }", false),
            ("core/src/sync/session.rs", "use reqwest::Client;", false),
            ("core/src/sync/rows/push.rs", "use tokio as t;", false),
            ("core/src/sync/driver.rs", "use tokio::select;", true),
            ("core/src/sync/backoff.rs", "use rusqlite::types::Value;", false),
            ("core/src/engine/capture/patch.rs", "use rusqlite::types::Value;", false),
            ("core/src/engine/capture/patch/encode.rs", "use {rusqlite::Row};", false),
            ("core/src/engine/rebase/footprint.rs", "type T = rusqlite::Row;", false),
            ("core/src/sync/log.rs", "use tokio::sync::Mutex;", false),
            ("core/src/sync/log/fold.rs", "use crate::value::Value;", true),
            ("core/src/sync/log/fold.rs", "use crate::sync::log::row::Image;", true),
            ("core/src/sync/log/server/memory.rs", "use rusqlite::Connection;", false),
            (
                "core/src/sync/log/replica/run.rs",
                "use crate::{engine::Engine, value::Value};",
                false,
            ),
            ("core/src/sync/log/clock.rs", "fn now() -> std::time::SystemTime { todo() }", false),
            ("core/src/sync/log/replica.rs", "let id = crate::host::SystemHost::default();", false),
            ("core/src/transport/http.rs", "use crate::engine::Engine;", false),
        ];
        for (path, text, good) in table {
            let file = File { path: path.into(), text: text.into() };
            let problems = between_files(&[file]);
            assert_eq!(problems.is_empty(), good, "{path}: {text}: {problems:?}");
        }
    }
}

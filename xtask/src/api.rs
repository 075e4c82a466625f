//! `cargo xtask api`: lists the public API of each language, as text that is committed.
//!
//! A change of the API is then a line in the diff of a commit. The tools of each language make the
//! list: rustdoc, the Kotlin compiler, the Swift compiler and the TypeScript compiler. Generated
//! code below the SDKs is no part of it.

mod rust;
mod swift;

use crate::generated::{Files, Options, update};
use crate::language::{JAVASCRIPT, KOTLIN, Language, SWIFT, javascript, kotlin};
use crate::process::output;
use crate::report::{self, Count};
use anyhow::Result;
use std::process::{Command, ExitCode};

/// A language with the tools that it needs besides Rust, and the function that lists its API.
type Listed = (&'static str, Option<Language>, fn() -> Result<String>);

const LISTED: [Listed; 8] = [
    ("rust", None, rust::listing),
    ("kotlin", Some(KOTLIN), kotlin::api),
    ("swift", Some(SWIFT), swift::listing),
    ("typescript", Some(JAVASCRIPT), || typescript(".")),
    ("react", Some(JAVASCRIPT), || typescript("react")),
    ("drizzle", Some(JAVASCRIPT), || typescript("drizzle")),
    ("kysely", Some(JAVASCRIPT), || typescript("kysely")),
    ("tanstack-db", Some(JAVASCRIPT), || typescript("tanstack-db")),
];

/// Writes or compares the lists.
pub(crate) fn run(options: Options) -> ExitCode {
    report::alone("api", || update_all(options.check))
}

/// Counts the languages whose committed list is current.
pub(crate) fn compared() -> Result<Count> {
    update_all(true)
}

/// Makes the list of each language whose tools are present.
fn update_all(check: bool) -> Result<Count> {
    let mut count = Count::default();
    for (name, language, listing) in LISTED {
        let missing = language.map(|language| (language.missing)()).transpose()?.flatten();
        count += if let Some(missing) = missing {
            Count::skipped(&format!("{name}: {missing}"))
        } else {
            let files = Files::from([(format!("docs/api/{name}.txt"), listing()?)]);
            Count::one(update(None, &files, check)?)
        };
    }
    Ok(count)
}

/// The list of a package in a folder of the npm workspace.
fn typescript(package: &str) -> Result<String> {
    javascript::prepare()?;
    let mut list = Command::new("node");
    list.args(["react-native/api.mjs", package]);
    output(list)
}

//! `cargo xtask api`: lists the public API of each language, as text that is committed.
//!
//! A change of the API is then a line in the diff of a commit. The tools of each language make the
//! list: rustdoc, the Kotlin compiler, the Swift compiler and the TypeScript compiler. Generated
//! code below the SDKs is no part of it.

mod rust;
mod swift;

use crate::language::{JAVASCRIPT, KOTLIN, Language, SWIFT, javascript, kotlin};
use crate::process::output;
use crate::report::{self, Count};
use crate::workspace::root;
use anyhow::{Context as _, Result};
use std::fs;
use std::process::{Command, ExitCode};

/// Arguments of `cargo xtask api`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Change nothing; show what differs from the committed lists
    #[arg(long)]
    check: bool,
}

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
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.check {
        return Ok(report::alone("api", compared));
    }
    each(|name, listing| Ok(fs::write(root().join(path(name)), listing).map(|()| true)?))?;
    Ok(ExitCode::SUCCESS)
}

/// Counts the languages whose committed list is current.
pub(crate) fn compared() -> Result<Count> {
    each(compare)
}

/// Makes the list of each language whose tools are present.
fn each(take: impl Fn(&str, &str) -> Result<bool>) -> Result<Count> {
    let mut count = Count::default();
    for (name, language, listing) in LISTED {
        let missing = language.map(|language| (language.missing)()).transpose()?.flatten();
        count += match missing {
            Some(missing) => Count::skipped(&format!("{name}: {missing}")),
            None => Count::one(take(name, &listing()?)?),
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

fn path(name: &str) -> String {
    format!("docs/api/{name}.txt")
}

/// Shows the lines that only one side has.
fn compare(name: &str, listing: &str) -> Result<bool> {
    let path = path(name);
    let committed = fs::read_to_string(root().join(&path)).with_context(|| path.clone())?;
    let lines = differences(&committed, listing);
    if !lines.is_empty() {
        println!("{path} is not what `cargo xtask api` writes:");
    }
    for line in &lines {
        println!("  {line}");
    }
    Ok(lines.is_empty())
}

/// Removed lines, then added ones; a moved line is none.
fn differences(committed: &str, listing: &str) -> Vec<String> {
    let only = |of: &str, than: &str, sign: &str| -> Vec<String> {
        let than: std::collections::HashSet<&str> = than.lines().collect();
        let lines = of.lines().filter(|line| !than.contains(line));
        lines.map(|line| format!("{sign} {line}")).collect()
    };
    [only(committed, listing, "-"), only(listing, committed, "+")].concat()
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[test]
    fn removed_and_added_lines_differ() {
        assert_eq!(differences("a\nb\nc\n", "c\na\nd\n"), ["- b", "+ d"]);
        assert_eq!(differences("a\r\n", "a\n"), Vec::<String>::new());
    }
}

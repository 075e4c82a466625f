//! Checks that run no test; each function is a stage or, in `rules`, one of its rules.

mod cycles;
mod files;
mod layers;
mod pages;
mod source;

use crate::language::JAVASCRIPT;
use crate::process::{cargo, succeeds};
use crate::report::Count;
use crate::toolchain::cargo::DENY;
use crate::toolchain::remark;
use crate::workspace::{self, File};
use anyhow::Result;
use std::process::Command;

/// Rules that are checked by reading the files.
pub(crate) fn rules() -> Result<Count> {
    let files = workspace::files()?;
    let is_text = |file: &File| file.is_written() || file.has_extension("md");
    let each = |rule: fn(&File) -> Option<String>| -> Vec<String> {
        files.iter().filter(|file| file.is_written()).filter_map(rule).collect()
    };
    let rules = [
        ("header", each(files::header)),
        ("length", each(files::length)),
        ("ascii", files::lines(&files, File::is_rust, files::NOT_ASCII)?),
        ("finished", files::lines(&files, File::is_written, files::UNFINISHED)?),
        ("words", files::lines(&files, is_text, files::NOT_PLAIN)?),
        ("paths", files::lines(&files, |file| !file.has_extension("lock"), files::MACHINE_PATH)?),
        ("packages", layers::between_packages(&workspace::packages()?)),
        ("layers", layers::between_files(&files)?),
        ("cycles", cycles::cycles(&files)?),
        ("names", pages::undeclared(&files)),
        ("examples", pages::untested(&files)),
    ];
    let mut count = Count::default();
    for (name, problems) in rules {
        println!("{name}: {} problems", problems.len());
        for problem in &problems {
            println!("  {problem}");
        }
        count += Count::one(problems.is_empty());
    }
    Ok(count)
}

/// Every file is formatted.
pub(crate) fn format() -> Result<Count> {
    succeeded(cargo(&["fmt", "--all", "--check"], &[]))
}

/// No lint fires, in product or test code. Restrictions of shipped libraries (`unwrap`, `panic!`,
/// ...) are denied in `lib.rs` and `main.rs`.
pub(crate) fn clippy() -> Result<Count> {
    succeeded(cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]))
}

/// No lint fires in the core and the server without their default features: the core with its internals private and without
/// the Synchro importer, the server without OpenTelemetry.
pub(crate) fn features() -> Result<Count> {
    let mut count = Count::default();
    for package in ["rejoin-core", "rejoin-server"] {
        let without = ["clippy", "--package", package, "--no-default-features"];
        count += succeeded(cargo(&[&without[..], &["--", "-D", "warnings"]].concat(), &[]))?;
    }
    Ok(count)
}

/// The documentation builds without a warning.
pub(crate) fn rustdoc() -> Result<Count> {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps"], &[]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    succeeded(doc)
}

/// Every dependency has a licence that `deny.toml` allows, and comes from a registry.
pub(crate) fn licences() -> Result<Count> {
    let mut deny = DENY.command()?;
    deny.args(["--log-level", "error", "check", "licenses", "sources"]);
    succeeded(deny)
}

/// Links between pages lead to a file and a heading that exist.
pub(crate) fn links() -> Result<Count> {
    if let Some(missing) = (JAVASCRIPT.missing)()? {
        return Ok(Count::skipped(&format!("links: {missing}")));
    }
    let mut remark = remark::links()?;
    let pages = workspace::files()?.into_iter().filter(|file| file.has_extension("md"));
    remark.args(pages.map(|page| page.path));
    succeeded(remark)
}

fn succeeded(command: Command) -> Result<Count> {
    Ok(Count::one(succeeds(command)?))
}

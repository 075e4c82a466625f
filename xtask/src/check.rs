//! `cargo xtask check`: the house rules, one row each; all run, whatever failed before.

mod conformance;
mod files;
mod licences;
mod links;
mod rooms;

use crate::process::{cargo, succeeds};
use crate::report::{Count, Report, skips_allowed};
use crate::workspace::{self, File, Package};
use crate::{Cli, ledger};
use anyhow::{Context as _, Result};
use clap::{Parser as _, builder::PossibleValuesParser};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `cargo xtask check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this rule; may be repeated
    #[arg(long, value_name = "RULE", value_parser = PossibleValuesParser::new(RULES.iter().map(|rule| rule.0)))]
    only: Vec<String>,
    /// Append a tab-separated line per rule to this file
    #[arg(long, value_name = "FILE", hide = true)]
    rows: Option<PathBuf>,
}

type Check = fn(&Project) -> Result<Vec<String>>;

/// The rules in order: name, and what finds the problems. Cheap ones first.
const RULES: &[(&str, Check)] = &[
    ("header", |project| Ok(project.each(File::is_written, files::header))),
    ("length", |project| Ok(project.each(File::is_written, files::length))),
    ("ascii", |project| Ok(project.each(File::is_rust, files::ascii))),
    ("finished", |project| Ok(project.each(File::is_written, files::finished))),
    ("paths", |project| Ok(project.each(|_| true, files::no_machine_path))),
    ("links", |project| Ok(links::dangling(&project.files))),
    ("rooms", |project| Ok(rooms::between_packages(&project.packages))),
    ("borders", |project| Ok(rooms::between_files(&project.files))),
    ("licences", licences_allowed),
    ("ledger", ledger_holds),
    ("conformance", |project| Ok(conformance::problems(&project.files, &project.packages))),
    ("rustfmt", |_| cargo_is_content("cargo fmt --all --check", None)),
    ("clippy", |_| {
        cargo_is_content("cargo clippy --quiet --workspace --all-targets -- -D warnings", None)
    }),
    ("panics", |_| no_panics()),
    ("rustdoc", |_| {
        let flags = ("RUSTDOCFLAGS", "-D warnings");
        cargo_is_content("cargo doc --quiet --workspace --no-deps", Some(flags))
    }),
];

/// What the rules look at, read once.
#[derive(Debug)]
struct Project {
    files: Vec<File>,
    packages: Vec<Package>,
}

impl Project {
    fn each(&self, of: fn(&File) -> bool, rule: fn(&File) -> Option<String>) -> Vec<String> {
        self.files.iter().filter(|file| of(file)).filter_map(rule).collect()
    }
}

/// Runs the rules and closes with table and counts.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project { files: workspace::files()?, packages: workspace::packages()? };
    let mut report = Report::to(options.rows.clone());
    for (name, find) in RULES {
        if options.only.is_empty() || options.only.iter().any(|only| only == name) {
            report.stage(name, || {
                let problems = find(&project)?;
                for problem in &problems {
                    println!("{problem}");
                }
                Ok(Count::one(problems.is_empty()))
            })?;
        }
    }
    Ok(report.close(skips_allowed()))
}

/// Runs a cargo command, written as one would type it but for the quotes of a variable before it.
fn cargo_is_content(command: &str, variable: Option<(&str, &str)>) -> Result<Vec<String>> {
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let mut cargo = cargo(&words, &[]);
    cargo.envs(variable);
    Ok(if succeeds(cargo)? { Vec::new() } else { vec![format!("`{command}` is not content")] })
}

/// Shipped libraries and the server do not panic. Without `--tests` no test is compiled, so `unwrap` in a test needs
/// no excuse; where the sources know better, `#[expect(clippy::expect_used, reason = "...")]` says why.
fn no_panics() -> Result<Vec<String>> {
    let lints = ["unwrap_used", "expect_used", "panic", "unimplemented", "unreachable", "exit"];
    let lints = lints.map(|lint| format!("-D clippy::{lint}")).join(" ");
    let packages = "-p rejoin-protocol -p rejoin-core -p rejoin-server";
    cargo_is_content(&format!("cargo clippy --quiet {packages} -- -A warnings {lints}"), None)
}

fn licences_allowed(project: &Project) -> Result<Vec<String>> {
    let deny = std::fs::read_to_string(workspace::root().join("deny.toml")).context("deny.toml")?;
    Ok(licences::refused(&project.packages, &licences::allowed(&deny)?))
}

fn ledger_holds(project: &Project) -> Result<Vec<String>> {
    let lines = ledger::read(&project.files)?;
    let parses = |arguments: &[String]| {
        let words = ["cargo xtask".to_owned()].into_iter().chain(arguments.iter().cloned());
        Cli::try_parse_from(words).is_ok()
    };
    Ok(ledger::missing_in_sources(&lines, &project.packages, &project.files, parses))
}

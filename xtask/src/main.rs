//! The project's commands: `cargo xtask demo | test | deep | check | simulate | jepsen | fuzz |
//! bench | bindings | api | site | library | package | toolchain`.
//!
//! Every command prints the commands that it runs, so that each can be run manually.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod api;
mod bench;
mod bindings;
mod built;
mod check;
mod claims;
mod demo;
mod fuzz;
mod gate;
mod generated;
mod image;
mod interop;
mod invariants;
mod jepsen;
mod junit;
mod language;
mod library;
mod mutants;
mod package;
mod process;
mod report;
mod rust_tests;
mod simulate;
mod site;
mod stages;
mod test;
mod toolchain;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The commands of the project")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the main job on real data: a server, two devices, offline edits, one state at the end
    Demo(demo::Options),
    /// Run the Rust tests, a short simulation of each model and the demo; `--all` runs the gate
    Test(test::TestOptions),
    /// Run what takes too long for each commit: fresh seeds, mutants, fuzzing, the shipped library
    Deep(test::Options),
    /// Run the checks that need no test: rules, format, lints, docs, licences, links
    Check(test::Options),
    /// Run simulations of devices and servers by seed
    Simulate(process::Passed),
    /// Check causal consistency of real processes under faults
    Jepsen(process::Passed),
    /// Search for inputs that crash a decoder, with libFuzzer
    Fuzz(fuzz::Options),
    /// Measure against raw SQLite, in release
    Bench(bench::Options),
    /// Generate Kotlin, Swift and TypeScript from the library, or check that the committed code is current
    Bindings(generated::Options),
    /// List the public API of each language, or check that the committed lists are current
    Api(generated::Options),
    /// Build the documentation site in target/site and check its links
    Site,
    /// Build the library as packages ship it, and check its surface and size
    Library,
    /// Build what a platform's package contains, and the package
    Package(package::Options),
    /// Install a tool that no package manager has; kept outside the tree
    Toolchain(toolchain::Options),
    /// One stage of a run, which holds standard input open
    #[command(hide = true)]
    Stage { name: String },
}

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::test(&options),
        Command::Deep(options) => test::run(&options, stages::DEEP),
        Command::Check(options) => test::check(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Jepsen(options) => jepsen::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Bindings(options) => Ok(bindings::run(options)),
        Command::Api(options) => Ok(api::run(options)),
        Command::Site => Ok(report::alone("site", site::built)),
        Command::Library => Ok(report::alone("library", library::shipped)),
        Command::Package(options) => Ok(package::run(&options)),
        Command::Toolchain(options) => toolchain::run(&options),
        Command::Stage { name } => test::stage(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, stages};
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_stage_needs_stages_of_its_own_list() {
        for list in [stages::DAILY, stages::GATE, stages::DEEP] {
            for (at, stage) in list.iter().enumerate() {
                // Those before it come first in the list, so that no stage waits for itself.
                let comes_first = |name: &&str| list[..at].iter().any(|other| other.name == *name);
                assert!(stage.needs.iter().chain(stage.after).all(comes_first), "{}", stage.name);
                assert!(!comes_first(&stage.name), "{}", stage.name);
            }
        }
        let known = |name: &&str| stages::GATE.iter().any(|stage| stage.name == *name);
        assert!(stages::CHECKS.iter().all(known));
    }
}

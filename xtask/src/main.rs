//! The commands of the house, one file each: `cargo xtask demo | test | simulate | fuzz | check | bench | bindings |
//! library | toolchain`.
//!
//! Every command prints the commands that it runs, so that whoever wants can run them alone. Nothing here is
//! known to a shipped crate.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod bench;
mod bindings;
mod check;
mod demo;
mod fuzz;
mod ledger;
mod library;
mod libtest;
mod process;
mod report;
mod simulate;
mod source;
mod test;
mod toolchain;
mod watchdog;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What `cargo xtask` understands; the ledger's command lines are parsed by it too.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The commands of the house")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show Rejoin's main job on real data: a server, two devices, offline edits, one state
    Demo(demo::Options),
    /// Run all tests, stage by stage, and close with the counts
    Test(test::Options),
    /// Live worlds of devices and servers by seed, until one breaks its law
    Simulate(simulate::Options),
    /// Let libFuzzer look for bytes that something which reads them does not bear
    Fuzz(fuzz::Options),
    /// Hold the sources to the house rules: format, lints, docs, files, rooms, licences, ledger
    Check(check::Options),
    /// Measure against raw SQLite, in release
    Bench(bench::Options),
    /// Write the Kotlin, Swift and TypeScript of the foreign library, or check that what is committed is current
    Bindings(bindings::Options),
    /// Build the library as packages ship it, and hold it to what must be true of it
    Library(library::Options),
    /// Make a tool that the packages need and no package manager hands out; kept outside the tree
    Toolchain(toolchain::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Bindings(options) => bindings::run(&options),
        Command::Library(options) => library::run(&options),
        Command::Toolchain(options) => toolchain::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}

//! `cargo xtask simulate`: worlds of a model by seed (`tests/src/simulate`).

use crate::process::cargo;
use anyhow::Result;
use std::process::{Command, ExitCode};

/// Arguments of the simulation, unread here.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Passed on as they are, `--help` included
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the simulation and becomes it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    crate::process::become_it(command(&options.arguments))
}

fn command(arguments: &[String]) -> Command {
    let fixed = ["run", "--quiet", "--package", "rejoin-tests", "--bin", "rejoin-simulate", "--"];
    cargo(&fixed, arguments)
}

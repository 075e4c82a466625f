//! `cargo xtask demo`: builds the demo and becomes it; every further argument is the demo's own.

use crate::process::cargo;
use std::process::{Command, ExitCode};

/// Arguments of the demo, unread here.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Passed on as they are, `--help` included
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The command that runs the demo with these arguments, building it first.
pub(crate) fn command(arguments: &[String]) -> Command {
    cargo(&["run", "--quiet", "--package", "rejoin-demo", "--"], arguments)
}

/// Never returns where the system lets one process become another: Ctrl-C then reaches the demo itself, which
/// ends its server and devices.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    crate::process::become_it(command(&options.arguments))
}

//! `cargo xtask bench`: builds the workloads in release and becomes them; every further argument is theirs.

use crate::process::cargo;
use std::process::ExitCode;

/// Arguments of the bench, unread here.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Passed on as they are, `--help` included
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Never returns where the system lets one process become another.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let fixed = ["run", "--quiet", "--release", "--package", "rejoin-bench", "--"];
    crate::process::become_it(cargo(&fixed, &options.arguments))
}

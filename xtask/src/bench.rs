//! `cargo xtask bench`: builds the workloads in release and becomes them; every further argument is theirs, but for the names of
//! the other languages, which have a program each.

mod language;

use crate::process::cargo;
use language::Language;
use std::process::ExitCode;

/// Arguments of the bench, unread here.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// `kotlin`, `swift` or `javascript`; anything else is passed on as it is, `--help` included
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Never returns where the system lets one process become another, and no language is asked for.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let [name] = options.arguments.as_slice()
        && let Some(language) = Language::named(name)
    {
        return language.bench();
    }
    let fixed = ["run", "--quiet", "--release", "--package", "rejoin-bench", "--"];
    crate::process::become_it(cargo(&fixed, &options.arguments))
}

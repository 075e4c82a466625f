//! `cargo xtask bench`: builds the workloads in release and becomes them; every further argument is theirs, but for the names of
//! the other languages, which have a program each, as the server has.

mod language;

use crate::process::cargo;
use language::Language;
use std::process::ExitCode;

/// Arguments of the bench, unread here.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// `kotlin`, `swift` or `javascript`; `server` with arguments of its own; anything else is passed on as it is, `--help` included
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
    if let Some(("server", further)) =
        options.arguments.split_first().map(|(first, further)| (first.as_str(), further))
    {
        return server(further);
    }
    let fixed = ["run", "--quiet", "--release", "--package", "rejoin-bench", "--"];
    crate::process::become_it(cargo(&fixed, &options.arguments))
}

/// The server is measured as it is deployed: the binary, which its bench finds beside itself.
fn server(further: &[String]) -> anyhow::Result<ExitCode> {
    let both = ["--package", "rejoin-server", "--package", "rejoin-server-bench"];
    let build = ["build", "--quiet", "--release", "--bins"];
    if !crate::process::succeeds(cargo(&[&build[..], &both].concat(), &[]))? {
        return Ok(ExitCode::FAILURE);
    }
    let fixed = ["run", "--quiet", "--release", "--package", "rejoin-server-bench", "--"];
    crate::process::become_it(cargo(&fixed, further))
}

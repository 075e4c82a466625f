//! `cargo xtask simulate`: worlds of a model by seed (`tests/src/simulate`), and its stage in `cargo xtask test`.

use crate::process::{cargo, succeeds};
use crate::report::Count;
use crate::test::story;
use anyhow::{Result, bail};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// The models that every run of the tests simulates, with their seeds, and after how long something must hang. With nothing else
/// to do two cores need a third to a half of it; how fast they are is told, not tested.
const STAGE: &[(&str, &str, Duration)] = &[
    ("plain", "2000", Duration::from_mins(8)),
    ("log", "5000", Duration::from_mins(8)),
    ("rows", "1500", Duration::from_mins(18)),
];

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

/// Every model with its seeds, and each of its rules broken once. What is counted is claims, not worlds.
pub(crate) fn stage() -> Result<Count> {
    // Built before, so that only the worlds are timed.
    let build = ["build", "--quiet", "--package", "rejoin-tests", "--bin", "rejoin-simulate"];
    if !succeeds(cargo(&build, &[]))? {
        bail!("the simulation does not compile");
    }
    let mut count = Count::default();
    for (model, seeds, longest) in STAGE {
        let words = ["--model", model, "--seeds", seeds, "--mutants"].map(str::to_owned);
        count += story::holds(command(&words), *longest)?.0;
    }
    Ok(count)
}

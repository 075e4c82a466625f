//! `cargo xtask test`, `deep` and `check`: stages, all of them or by name.

use crate::gate::{self, Stage};
use crate::{report, stages};
use anyhow::{Context as _, Result};
use std::process::ExitCode;

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct TestOptions {
    /// The gate: every check, test and language
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    options: Options,
}

/// Arguments of `cargo xtask deep` and `check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this stage; may be repeated
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
    /// List the stages and exit
    #[arg(long)]
    list: bool,
}

/// Runs the daily tests, or the gate. `--only` finds the stages of both.
pub(crate) fn test(TestOptions { all, options }: &TestOptions) -> Result<ExitCode> {
    let is_daily = |name: &String| stages::DAILY.iter().any(|stage| stage.name == *name);
    let daily = !all && options.only.iter().all(is_daily);
    run(options, if daily { stages::DAILY } else { stages::GATE })
}

/// Runs stages of a list. One stage alone runs in this process, with its output shown and without a
/// time limit.
pub(crate) fn run(Options { only, list }: &Options, stages: &[Stage]) -> Result<ExitCode> {
    if *list {
        for stage in stages {
            println!("{}", stage.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let named = |name: &String| {
        let stage = stages.iter().find(|stage| stage.name == *name);
        stage.with_context(|| format!("there is no stage {name:?} here; `--list` names the stages"))
    };
    only.iter().try_for_each(|name| named(name).map(drop))?;
    let mut wanted = stages.to_vec();
    wanted.retain(|stage| only.is_empty() || only.iter().any(|name| name == stage.name));
    match wanted.as_slice() {
        [stage] => Ok(report::alone(stage.name, stage.run)),
        wanted => gate::run(wanted),
    }
}

/// Runs the stages of `cargo xtask check`.
pub(crate) fn check(options: &Options) -> Result<ExitCode> {
    let checks = stages::GATE.iter().filter(|stage| stages::CHECKS.contains(&stage.name));
    run(options, &checks.copied().collect::<Vec<_>>())
}

/// Runs one stage for a run, which reads its closing line.
pub(crate) fn stage(name: &str) -> Result<ExitCode> {
    gate::end_with_the_run();
    let stage = stages::named(name).context("no such stage")?;
    Ok(report::alone(stage.name, stage.run))
}

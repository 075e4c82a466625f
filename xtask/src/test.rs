//! `cargo xtask test`, `deep` and `check`: stages, all of them or by name.

use crate::gate::{self, Stage};
use crate::report::{Report, skips_allowed};
use crate::stages;
use anyhow::{Context as _, Result};
use std::path::PathBuf;
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

/// Arguments of a stage that a run starts.
#[derive(Debug, clap::Args)]
pub(crate) struct StageOptions {
    name: String,
    /// The file for its result
    #[arg(long)]
    row: PathBuf,
}

/// Runs the daily tests, or the gate. `--only` finds the stages of both.
pub(crate) fn test(TestOptions { all, options }: &TestOptions) -> Result<ExitCode> {
    let is_daily = |name: &String| stages::DAILY.iter().any(|stage| stage.name == *name);
    let daily = !all && options.only.iter().all(is_daily);
    run(options, if daily { stages::DAILY } else { stages::GATE })
}

/// Runs stages of a list. One stage alone runs in this process, with its output shown.
pub(crate) fn run(options: &Options, stages: &[Stage]) -> Result<ExitCode> {
    if options.list {
        for stage in stages {
            println!("{}", stage.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let is_known = |name: &&String| stages.iter().any(|stage| stage.name == **name);
    if let Some(unknown) = options.only.iter().find(|name| !is_known(name)) {
        anyhow::bail!("there is no stage {unknown:?} here; `--list` names the stages");
    }
    let wanted = |stage: &&Stage| {
        options.only.is_empty() || options.only.iter().any(|only| only == stage.name)
    };
    let wanted: Vec<Stage> = stages.iter().filter(wanted).copied().collect();
    let [only] = wanted.as_slice() else { return gate::run(&wanted) };
    Ok(Report { rows: vec![gate::run_here(only)] }.close(skips_allowed()))
}

/// Runs the stages of `cargo xtask check`.
pub(crate) fn check(options: &Options) -> Result<ExitCode> {
    let checks = stages::GATE.iter().filter(|stage| stages::CHECKS.contains(&stage.name));
    run(options, &checks.copied().collect::<Vec<_>>())
}

/// Runs one stage for a parent that reads its row.
pub(crate) fn stage(options: &StageOptions) -> Result<ExitCode> {
    let stage = stages::named(&options.name).context("no such stage")?;
    gate::run_here(stage).write(&options.row)?;
    Ok(ExitCode::SUCCESS)
}

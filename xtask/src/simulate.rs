//! `cargo xtask simulate`: simulation runs of a model by seed (`tests/src/simulate`), and its
//! stages.

use crate::built::Built;
use crate::claims;
use crate::process::{Passed, become_it, cargo};
use crate::report::Count;
use crate::rust_tests;
use anyhow::Result;
use rejoin_postgres::{Cluster, StartError};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// The models of the gate, with their number of runs and the first seed: always the same seeds, which
/// usually include every rare event. Otherwise more follow.
const GATE: [(&str, u32, &str); 3] =
    [("plain", 400, "0"), ("log", 1000, "2000"), ("rows", 100, "0")];

/// The models of the daily tests, with their number of runs, which may lack rare events.
const DAILY: [(&str, u32); 3] = [("plain", 300), ("log", 1000), ("rows", 80)];

/// Runs of each model with new seeds, in the gate and in the deep run. The latter are enough to
/// require every rare event five times.
const GATE_FRESH: u32 = 60;
const DEEP_FRESH: u32 = 10_000;

/// Runs of the models `rows` and `log` over PostgreSQL: with the seeds of the gate, with new seeds in
/// the gate, and in the deep run.
const POSTGRES: u32 = 10;
const POSTGRES_FRESH: u32 = 10;
const POSTGRES_DEEP: u32 = 500;

/// Builds the simulation and replaces this process with it.
pub(crate) fn run(passed: &Passed) -> Result<ExitCode> {
    let fixed = ["run", "--package", "rejoin-tests", "--bin", "rejoin-simulate", "--"];
    become_it(cargo(&fixed, &passed.arguments))
}

/// Every model with the fixed seeds of the gate, and some new ones.
pub(crate) fn gate() -> Result<Count> {
    let mut count = Count::default();
    for (model, number, from) in GATE {
        count += runs(&[(model, number)], &["--events", "--mutants", "--from", from], None)?;
    }
    count += fresh(GATE_FRESH)?;
    count += over_postgres(POSTGRES, POSTGRES_FRESH)?;
    Ok(count)
}

/// Every model with a few fixed seeds.
pub(crate) fn daily() -> Result<Count> {
    runs(&DAILY, &["--mutants"], None)
}

/// Every model with many new seeds.
pub(crate) fn deep() -> Result<Count> {
    let mut count = fresh(DEEP_FRESH)?;
    count += over_postgres(0, POSTGRES_DEEP)?;
    Ok(count)
}

/// Runs of `rows` and `log` over one shared PostgreSQL; skipped without PostgreSQL.
fn over_postgres(fixed: u32, fresh: u32) -> Result<Count> {
    let cluster = match rust_tests::postgres() {
        Ok(cluster) => cluster,
        Err(error @ StartError::NoPrograms) => {
            return Ok(Count::skipped(&format!("runs over PostgreSQL: {error}")));
        }
        Err(error) => return Err(error.into()),
    };
    let mut count = Count::default();
    let store = ["--store", "postgres"];
    let models = |runs| [("rows", runs), ("log", runs)];
    if fixed > 0 {
        count += runs(&models(fixed), &store, cluster.as_ref())?;
    }
    let from = fresh_seed()?;
    let further = [&store[..], &["--from", &from, "--every"]].concat();
    count += runs(&models(fresh), &further, cluster.as_ref())?;
    Ok(count)
}

/// Every model with new seeds, which the first line of the output names. Continues after a broken
/// run.
fn fresh(number: u32) -> Result<Count> {
    runs(&GATE.map(|(model, ..)| (model, number)), &["--from", &fresh_seed()?, "--every"], None)
}

/// The first of a range of new seeds: far from the fixed ones, and a different range each second.
fn fresh_seed() -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok((now * u64::from(DEEP_FRESH)).to_string())
}

/// A number of runs of each model. Claims are counted, not runs.
fn runs(models: &[(&str, u32)], further: &[&str], cluster: Option<&Cluster>) -> Result<Count> {
    let mut count = Count::default();
    for (model, runs) in models {
        let mut simulation = Built::now()?.program("rejoin-simulate")?;
        simulation.args(["--model", model, "--seeds", &runs.to_string()]).args(further);
        rust_tests::set_url(&mut simulation, cluster);
        count += claims::hold(simulation)?.0;
    }
    Ok(count)
}

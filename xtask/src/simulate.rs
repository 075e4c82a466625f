//! `cargo xtask simulate`: simulation runs of a model by seed (`tests/src/simulate`), and its
//! stages.

use crate::built::Built;
use crate::claims;
use crate::process::{Passed, become_it, cargo};
use crate::report::Count;
use crate::rust_tests;
use anyhow::Result;
use rejoin_postgres::StartError;
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

/// The models of the gate, with their number of runs: always the same seeds, which usually include
/// every rare event. Otherwise more follow.
const GATE: [(&str, u32); 3] = [("plain", 400), ("log", 1000), ("rows", 100)];

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

/// Every model with the fixed seeds of the gate, and some new ones. Claims are counted, not runs.
pub(crate) fn gate() -> Result<Count> {
    let mut count = Count::default();
    for (model, runs) in GATE {
        let mut simulation = simulation_of(model, runs)?;
        simulation.args(["--events", "--mutants"]);
        count += claims::hold(simulation)?.0;
    }
    count += fresh(GATE_FRESH)?;
    count += over_postgres(POSTGRES, POSTGRES_FRESH)?;
    Ok(count)
}

/// Every model with a few fixed seeds.
pub(crate) fn daily() -> Result<Count> {
    let mut count = Count::default();
    for (model, runs) in DAILY {
        let mut simulation = simulation_of(model, runs)?;
        simulation.arg("--mutants");
        count += claims::hold(simulation)?.0;
    }
    Ok(count)
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
    for (runs, is_fresh) in [(fixed, false), (fresh, true)] {
        if runs == 0 {
            continue;
        }
        for model in ["rows", "log"] {
            let mut simulation = simulation_of(model, runs)?;
            simulation.args(["--store", "postgres"]);
            if is_fresh {
                simulation.args(["--from", &fresh_seed()?, "--every"]);
            }
            rust_tests::set_url(&mut simulation, cluster.as_ref());
            count += claims::hold(simulation)?.0;
        }
    }
    Ok(count)
}

/// Every model with new seeds, which the first line of the output names. Continues after a broken
/// run.
fn fresh(runs: u32) -> Result<Count> {
    let from = fresh_seed()?;
    let mut count = Count::default();
    for (model, _) in GATE {
        let mut simulation = simulation_of(model, runs)?;
        simulation.args(["--from", &from, "--every"]);
        count += claims::hold(simulation)?.0;
    }
    Ok(count)
}

/// The first of a range of new seeds: far from the fixed ones, and a different range each second.
fn fresh_seed() -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok((now * u64::from(DEEP_FRESH)).to_string())
}

fn simulation_of(model: &str, runs: u32) -> Result<Command> {
    let mut simulation = Built::now()?.program("rejoin-simulate")?;
    simulation.args(["--model", model, "--seeds", &runs.to_string()]);
    Ok(simulation)
}

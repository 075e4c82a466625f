//! `cargo xtask simulate`: worlds of a model by seed (`tests/src/simulate`), and its stages.

use crate::built::Built;
use crate::claims;
use crate::process::{Passed, become_it, cargo};
use crate::report::Count;
use anyhow::Result;
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

/// The models of the gate, with the number of their worlds: always the same seeds, each rule that can be broken, and every
/// rare event often enough.
const GATE: [(&str, u32); 3] = [("plain", 7000), ("log", 30_000), ("rows", 1600)];

/// Worlds of each model with seeds that were never used before, in the gate and in the deep run.
const GATE_FRESH: u32 = 100;
const DEEP_FRESH: u32 = 10_000;

/// Builds the simulation and becomes it.
pub(crate) fn run(passed: &Passed) -> Result<ExitCode> {
    let fixed = ["run", "--package", "rejoin-tests", "--bin", "rejoin-simulate", "--"];
    become_it(cargo(&fixed, &passed.arguments))
}

/// Every model with the fixed seeds of the gate, and some fresh ones. What is counted are claims, not worlds.
pub(crate) fn gate() -> Result<Count> {
    let mut count = Count::default();
    for (model, worlds) in GATE {
        let mut simulation = worlds_of(model, worlds)?;
        simulation.arg("--mutants");
        count += claims::hold(simulation)?.0;
    }
    count += fresh(GATE_FRESH)?;
    Ok(count)
}

/// Every model with many fresh seeds.
pub(crate) fn deep() -> Result<Count> {
    fresh(DEEP_FRESH)
}

/// Every model with seeds never used before, which the first line of the output names. Goes on behind a broken world.
fn fresh(worlds: u32) -> Result<Count> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut count = Count::default();
    for (model, _) in GATE {
        let mut simulation = worlds_of(model, worlds)?;
        // Far from the fixed seeds, and another range for every second.
        simulation.args(["--from", &(now * u64::from(DEEP_FRESH)).to_string(), "--every"]);
        count += claims::hold(simulation)?.0;
    }
    Ok(count)
}

fn worlds_of(model: &str, worlds: u32) -> Result<Command> {
    let mut simulation = Built::now()?.program("rejoin-simulate")?;
    simulation.args(["--model", model, "--seeds", &worlds.to_string()]);
    Ok(simulation)
}

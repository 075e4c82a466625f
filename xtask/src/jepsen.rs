//! `cargo xtask jepsen`: causal consistency under faults (`tests/jepsen`), and its stage.

use crate::built::Built;
use crate::claims;
use crate::process::{Passed, become_it, cargo};
use crate::report::Count;
use anyhow::Result;
use std::process::ExitCode;

/// The seed of the gate's runs.
const GATE_SEED: &str = "1";

/// Seconds of transactions and faults per run.
const GATE_SECONDS: &str = "8";

/// Builds the workload and replaces this process with it.
pub(crate) fn run(passed: &Passed) -> Result<ExitCode> {
    become_it(cargo(&["run", "--package", "rejoin-jepsen", "--"], &passed.arguments))
}

/// A short run with all faults over each store, and one with a deliberately broken device, which
/// must be detected.
pub(crate) fn gate() -> Result<Count> {
    let built = Built::now()?;
    let fixed = ["--runs", "1", "--seed", GATE_SEED, "--devices", "5"];
    let run = |further: &[&str]| {
        let mut run = built.program("rejoin-jepsen")?;
        run.args(fixed).args(further);
        Ok(run)
    };
    let of_store = |store| run(&["--store", store, "--fault", "all", "--seconds", GATE_SECONDS]);
    let (mut count, _) = claims::hold(of_store("sqlite")?)?;
    if std::env::var_os(rejoin_postgres::URL_VARIABLE).is_none()
        && rejoin_postgres::programs().is_none()
    {
        count += Count::skipped("jepsen over PostgreSQL: there is none");
    } else {
        count += claims::hold(of_store("postgres")?)?.0;
    }
    let drops = ["--store", "sqlite", "--fault", "none", "--seconds", "3", "--break", "drop"];
    count += claims::notice(&[1], |_| run(&drops))?;
    Ok(count)
}

//! Rust's tests: by cargo-nextest where it is installed, each in a process of its own; otherwise by
//! `cargo test`. One PostgreSQL serves all of them.
//!
//! `.config/nextest.toml` has the time limit of a test. Tests that start a missing program are left
//! out and counted as skipped.

pub(crate) mod left_out;

use crate::process::{self, for_each_line, output, succeeds};
use crate::report::{Count, number_before};
use crate::toolchain::cargo::NEXTEST;
use crate::{junit, workspace};
use anyhow::{Context as _, Result, ensure};
use left_out::LeftOut;
use rejoin_postgres::{Cluster, ClusterOptions, SHARED_SETTINGS, StartError, URL_VARIABLE};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Concurrent tests. Many wait for a timer, a disk or PostgreSQL, so there are more than cores.
const AT_ONCE: &str = "4";

/// The profile of the deep run.
const DEEP: &str = "deep";

/// The variable with the factor for generated cases, and the factor of the deep run.
pub(crate) const CASES: &str = "REJOIN_CASES";
pub(crate) const MORE_CASES: &str = "24";

/// Runs all tests except doctests, from the programs that were built.
pub(crate) fn tests() -> Result<Count> {
    let (left_out, cluster) = prepared()?;
    match NEXTEST.found()? {
        Some(nextest) => by_nextest(&nextest, "default", &left_out, cluster.as_ref()),
        None => by_cargo(&left_out, cluster.as_ref()),
    }
}

/// The same by nextest, with more generated cases and longer time limits.
pub(crate) fn more_cases() -> Result<Count> {
    let (left_out, cluster) = prepared()?;
    by_nextest(&NEXTEST.ensure()?, DEEP, &left_out, cluster.as_ref())
}

/// Names the missing programs, and starts PostgreSQL if it is there.
fn prepared() -> Result<(LeftOut, Option<Cluster>)> {
    let left_out = LeftOut::here();
    left_out.explain();
    let cluster = if left_out.has_postgres() { postgres()? } else { None };
    Ok((left_out, cluster))
}

/// Runs them with a profile of `.config/nextest.toml`, and writes reports.
fn by_nextest(
    nextest: &Path,
    profile: &str,
    left_out: &LeftOut,
    cluster: Option<&Cluster>,
) -> Result<Count> {
    let reports = junit::emptied("rust")?;
    let mut run = NEXTEST.command_at(nextest);
    if profile == DEEP {
        run.env(CASES, MORE_CASES);
    }
    run.args(["run", "--profile", profile, "--workspace", "--no-fail-fast"]);
    run.args(["--test-threads", AT_ONCE]);
    run.args(["--status-level", "slow", "--final-status-level", "slow", "--hide-progress-bar"]);
    let filter = left_out.parts().map(|part| format!("test({part})")).collect::<Vec<_>>();
    let filter = filter.join(" or ");
    if !filter.is_empty() {
        run.args(["--filterset", &format!("not ({filter})")]);
    }
    set_url(&mut run, cluster);
    let well = succeeds(run)?;
    let report = workspace::root().join("target/nextest").join(profile).join("junit.xml");
    fs::rename(&report, reports.join("junit.xml")).context("nextest wrote no report")?;
    let mut count = junit::count(&junit::read(&reports)?).failed_unless(well);
    ensure!(count.passed + count.failed > 0, "no test was run");
    if !filter.is_empty() {
        let mut list = NEXTEST.command_at(nextest);
        list.args(["list", "--workspace", "--message-format", "oneline", "--filterset", &filter]);
        count.skipped += output(list)?.lines().count() as u64;
    }
    Ok(count)
}

/// Runs them with cargo alone, which writes no reports.
fn by_cargo(left_out: &LeftOut, cluster: Option<&Cluster>) -> Result<Count> {
    junit::emptied("rust")?;
    let fixed = ["test", "--workspace", "--all-targets", "--no-fail-fast", "--"];
    let mut test = process::cargo(&fixed, &[]);
    test.args(["--test-threads", AT_ONCE]);
    test.args(left_out.parts().flat_map(|part| ["--skip", part]));
    set_url(&mut test, cluster);
    counted(test)
}

/// Doctests, which nextest does not run. Only they have a line number in their names. With `--doc`
/// cargo selects other features, and compiles most of what the stage `build` has built again.
pub(crate) fn doctests() -> Result<Count> {
    let doc = process::cargo(&["test", "--workspace", "--no-fail-fast", "--", "(line "], &[]);
    // Every other test is filtered out.
    Ok(Count { skipped: 0, ..counted(doc)? })
}

/// Runs `cargo test` with its output shown, and adds up its results.
fn counted(test: Command) -> Result<Count> {
    let mut count = Count::default();
    let well = for_each_line(test, |line| {
        println!("{line}");
        count += result_line(line).unwrap_or_default();
    })?;
    ensure!(!well || count.passed > 0, "no test was run");
    Ok(count.failed_unless(well))
}

/// The counts of one `test result:` line; tests that were filtered out were skipped.
fn result_line(line: &str) -> Option<Count> {
    let line = line.trim_start().strip_prefix("test result: ")?;
    Some(Count {
        passed: number_before(line, "passed")?,
        failed: number_before(line, "failed")?,
        skipped: number_before(line, "ignored")? + number_before(line, "filtered out")?,
    })
}

/// A PostgreSQL for all tests of the run, unless the environment names one. It stops when it is dropped.
pub(crate) fn postgres() -> Result<Option<Cluster>, StartError> {
    if std::env::var_os(URL_VARIABLE).is_some() {
        return Ok(None);
    }
    let options = ClusterOptions { settings: SHARED_SETTINGS, ..ClusterOptions::default() };
    Cluster::start(&options).map(Some)
}

/// Gives the tests of a command their PostgreSQL.
pub(crate) fn set_url(command: &mut Command, cluster: Option<&Cluster>) {
    if let Some(cluster) = cluster {
        command.env(URL_VARIABLE, cluster.url("").trim_end_matches('/'));
    }
}

#[cfg(test)]
mod tests {
    use super::result_line;
    use crate::report::Count;

    #[test]
    fn result_line_is_counted_and_others_are_not() {
        let line = "test result: FAILED. 34 passed; 5 failed; 2 ignored; 0 measured; 1 filtered out; \
                    finished in 0.01s";
        assert_eq!(result_line(line), Some(Count { passed: 34, failed: 5, skipped: 3 }));
        for line in ["", "running 3 tests", "test a::b ... ok", "test result: strange"] {
            assert_eq!(result_line(line), None, "{line}");
        }
    }
}

//! Rust's tests with cargo-nextest: each in its own process, with one PostgreSQL for all of them.
//!
//! `.config/nextest.toml` has the time limit of a test. Without PostgreSQL the tests with
//! `postgres` in their path are left out and counted as skipped; so is the operator page without
//! its tools.

use crate::process::{output, succeeds};
use crate::report::Count;
use crate::toolchain::cargo::NEXTEST;
use crate::{junit, process};
use anyhow::{Context as _, Result, ensure};
use rejoin_postgres::{Cluster, ClusterOptions, SHARED_SETTINGS, StartError, URL_VARIABLE};
use std::fs;
use std::process::Command;

/// Concurrent tests. Many wait for a timer, a disk or PostgreSQL, so there are more than cores.
const AT_ONCE: &str = "4";

/// Factor for generated cases in the deep run: `REJOIN_CASES`.
const MORE_CASES: &str = "12";

/// On the PATH, or where Debian installs it.
const NGINX: [&str; 2] = ["nginx", "/usr/sbin/nginx"];

/// The tools used by the commands of `docs/operate.md`, apart from PostgreSQL's.
const TOOLS_OF_THE_PAGE: [&str; 4] = ["bash", "curl", "jq", "sqlite3"];

/// Runs all tests except doctests, from the programs that were built.
pub(crate) fn tests() -> Result<Count> {
    run("default", &[])
}

/// The same with more generated cases, each with a longer time limit than in the gate.
pub(crate) fn more_cases() -> Result<Count> {
    run("deep", &[("REJOIN_CASES", MORE_CASES)])
}

/// Runs them with a profile of `.config/nextest.toml`.
fn run(profile: &str, variables: &[(&str, &str)]) -> Result<Count> {
    let reports = junit::emptied("rust")?;
    let mut run = NEXTEST.command()?;
    run.envs(variables.iter().copied());
    run.args(["run", "--profile", profile, "--workspace", "--no-fail-fast"]);
    run.args(["--test-threads", AT_ONCE]);
    run.args(["--status-level", "slow", "--final-status-level", "slow", "--hide-progress-bar"]);
    let mut left_out = Vec::new();
    let cluster = match postgres() {
        Ok(cluster) => cluster,
        Err(error @ StartError::NoPrograms) => {
            left_out.push(("test(postgres)", error.to_string()));
            None
        }
        Err(error) => return Err(error.into()),
    };
    let has_postgres = left_out.is_empty();
    if has_postgres && rejoin_postgres::pgbouncer().is_none() {
        let why = String::from("PgBouncer is not installed");
        left_out.push(("test(/postgres_pooled|postgres_only::pooler/)", why));
    }
    if NGINX.into_iter().all(|program| process::version(program, "-v").is_none()) {
        left_out.push(("test(nginx)", String::from("nginx is not installed")));
    }
    if has_postgres && rejoin_postgres::basebackup().is_none() {
        let why = String::from("pg_basebackup is not installed");
        left_out.push(("test(postgres_only::replica)", why));
    }
    let is_missing = |tool: &&str| process::version(tool, "--version").is_none();
    if let Some(missing) = TOOLS_OF_THE_PAGE.into_iter().find(is_missing) {
        left_out.push(("test(operator_page)", format!("{missing} is not installed")));
    }
    let mut skipped = Count::default();
    for (tests, why) in &left_out {
        let listed = listed(tests)?;
        println!("skipped: {listed} tests: {why}");
        skipped.skipped += listed;
    }
    if !left_out.is_empty() {
        let tests: Vec<&str> = left_out.iter().map(|(tests, _)| *tests).collect();
        run.args(["--filterset", &format!("not ({})", tests.join(" or "))]);
    }
    set_url(&mut run, cluster.as_ref());
    let well = succeeds(run)?;
    let report = crate::workspace::root().join("target/nextest").join(profile).join("junit.xml");
    fs::rename(&report, reports.join("junit.xml")).context("nextest wrote no report")?;
    let mut count = junit::count(&junit::read(&reports)?).failed_unless(well);
    ensure!(count.passed + count.failed > 0, "no test was run");
    count += skipped;
    Ok(count)
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

/// The number of tests that match a filter.
fn listed(filter: &str) -> Result<u64> {
    let mut list = NEXTEST.command()?;
    list.args(["list", "--workspace", "--message-format", "oneline", "--filterset", filter]);
    Ok(output(list)?.lines().filter(|line| !line.trim().is_empty()).count() as u64)
}

/// Doctests, which nextest does not run. Only they have a line number in their names. With `--doc`
/// cargo selects other features, and compiles most of what the stage `build` has built again.
pub(crate) fn doctests() -> Result<Count> {
    let mut count = Count::default();
    let doc = process::cargo(&["test", "--workspace", "--no-fail-fast", "--", "(line "], &[]);
    let well = process::for_each_line(doc, |line| {
        println!("{line}");
        count += result_line(line).unwrap_or_default();
    })?;
    ensure!(
        !well || count.passed > 0,
        "no doctest has `(line ` in its name: adapt the filter to the names that rustdoc gives now"
    );
    Ok(count.failed_unless(well))
}

/// The counts of one `test result:` line.
fn result_line(line: &str) -> Option<Count> {
    let rest = line.trim_start().strip_prefix("test result: ")?;
    let number = |word: &str| {
        rest.split([';', '.']).find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    Some(Count {
        passed: number("passed")?,
        failed: number("failed")?,
        skipped: number("ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::result_line;
    use crate::report::Count;

    #[test]
    fn result_line_is_counted_and_others_are_not() {
        let line = "test result: FAILED. 34 passed; 5 failed; 2 ignored; 0 measured; 1 filtered out; \
                    finished in 0.01s";
        assert_eq!(result_line(line), Some(Count { passed: 34, failed: 5, skipped: 2 }));
        for line in ["", "running 3 tests", "test a::b ... ok", "test result: strange"] {
            assert_eq!(result_line(line), None, "{line}");
        }
    }
}

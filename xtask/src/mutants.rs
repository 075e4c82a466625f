//! Mutation testing in the deep run: cargo-mutants changes product code at one place at a time and
//! runs the tests of the crate. Mutants that no test detects are listed; the closing note of an
//! issue names the missing test.

use crate::process::{output, succeeds};
use crate::report::Count;
use crate::rust_tests;
use crate::toolchain::cargo::{MUTANTS, NEXTEST};
use crate::workspace;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The files to sample: those where an undetected defect could lose an edit.
const CORE: [&str; 5] = [
    "core/src/engine/capture/**/*.rs",
    "core/src/engine/queue/**/*.rs",
    "core/src/engine/rebase/**/*.rs",
    "server/src/engine/*.rs",
    "server/src/engine/push/*.rs",
];

/// The sample is one of this many parts, about six places; the next commit takes the next part.
/// Each place costs a build and the crate's tests: minutes on two cores.
const PARTS: u64 = 480;

/// The commit of the last release on the main branch, for finding changed files.
const BASE: &str = "REJOIN_MUTANTS_BASE";

/// Mutates every place in the files changed since `REJOIN_MUTANTS_BASE` (a commit; without it
/// none), and a sample of capture, queue, rebase and push evaluation.
pub(crate) fn sample() -> Result<Count> {
    let cluster = rust_tests::postgres()?;
    let mut count = Count::default();
    for mut mutants in [Some(sampled()?), changed()?].into_iter().flatten() {
        rust_tests::set_url(&mut mutants, cluster.as_ref());
        count += run(mutants)?;
    }
    Ok(count)
}

fn sampled() -> Result<Command> {
    let mut commits = Command::new("git");
    commits.args(["rev-list", "--count", "HEAD"]);
    let commits: u64 = output(commits)?.trim().parse()?;
    let mut mutants = command()?;
    mutants.args(["--shard", &format!("{}/{PARTS}", commits % PARTS)]);
    for files in CORE {
        mutants.args(["--file", files]);
    }
    Ok(mutants)
}

fn changed() -> Result<Option<Command>> {
    let Ok(base) = std::env::var(BASE) else { return Ok(None) };
    let mut diff = Command::new("git");
    diff.args(["diff", &base, "--", "core/src", "server/src", "protocol/src"]);
    let path = workspace::root().join("target/gate/changed.diff");
    fs::write(&path, output(diff)?).with_context(|| path.display().to_string())?;
    let mut mutants = command()?;
    mutants.arg("--in-diff").arg(path);
    Ok(Some(mutants))
}

fn command() -> Result<Command> {
    let mut mutants = MUTANTS.command()?;
    mutants.args(["--workspace", "--test-workspace=false", "--timeout-multiplier", "3"]);
    mutants.args(["--no-shuffle", "--output", "target/gate", "--test-tool", "nextest"]);
    // cargo-mutants calls `cargo nextest`, which cargo looks up in the PATH.
    let nextest = NEXTEST.ensure()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = nextest.parent().map(Path::to_path_buf).into_iter();
    mutants.env("PATH", std::env::join_paths(folders.chain(std::env::split_paths(&path)))?);
    Ok(mutants)
}

/// Runs it; detected mutants count as passed, others as failed.
fn run(mutants: Command) -> Result<Count> {
    // Its exit code is not 0 if any was missed; its lists have the details.
    succeeds(mutants)?;
    let folder = workspace::root().join("target/gate/mutants.out");
    let lines = |name: &str| -> Result<u64> {
        let text = fs::read_to_string(folder.join(name)).with_context(|| name.to_owned())?;
        if name == "missed.txt" {
            text.lines().for_each(|line| println!("not noticed: {line}"));
        }
        Ok(text.lines().count() as u64)
    };
    let passed = lines("caught.txt")? + lines("timeout.txt")?;
    Ok(Count { passed, failed: lines("missed.txt")?, skipped: 0 })
}

//! `cargo xtask fuzz TARGET`: coverage-guided fuzzing of a decoder with libFuzzer.
//!
//! Needs only the pinned toolchain and a C++ compiler. Starts with the known inputs of the target
//! (`tests/fuzz`) and ends with the first crashing input, or after the given time. New short inputs
//! are then stored in `tests/fuzz/corpus`.

use crate::process::{cargo, output, succeeds};
use crate::report::Count;
use crate::workspace;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What to fuzz: requests, answers, log, cells, rows, events, queue, row-buffer or manifests
    target: String,
    /// Minutes to run
    #[arg(long, default_value_t = 10)]
    minutes: u32,
}

/// Makes rustc instrument the code for libFuzzer; all of them are stable options.
const COVERAGE: &str = "--cfg rejoin_fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cdebug-assertions=on -Coverflow-checks=on -Ccodegen-units=1";

/// The decoders.
const TARGETS: [&str; 9] =
    ["requests", "answers", "log", "cells", "rows", "events", "queue", "row-buffer", "manifests"];

/// Minutes per decoder in the deep run.
const DEEP_MINUTES: u32 = 5;

/// Fuzzes every decoder for some minutes and keeps new inputs.
pub(crate) fn every_target() -> Result<Count> {
    let program = build()?;
    let mut count = Count::default();
    for target in TARGETS {
        let options = Options { target: target.into(), minutes: DEEP_MINUTES };
        count += Count::one(search(&program, &options)?);
    }
    Ok(count)
}

/// Builds and runs the fuzzer, and keeps new inputs.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let well = search(&build()?, options)?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the decoder survived and the new inputs were stored.
fn search(program: &Path, options: &Options) -> Result<bool> {
    let place = workspace::root().join("target/fuzz-work").join(&options.target);
    let found = empty(&place.join("found"), false)?;
    let short = empty(&place.join("short"), true)?;
    if !succeeds(corpus("seeds", &options.target, &found))? {
        bail!("there is nothing to begin with");
    }
    let fuzz = |arguments: &[String]| {
        let mut command = Command::new(program);
        command.env("REJOIN_FUZZ_TARGET", &options.target).args(arguments);
        succeeds(command)
    };
    let (seconds, bad) = (options.minutes * 60, place.join("bad-"));
    let long = [
        format!("-max_total_time={seconds}"),
        "-max_len=1024".to_owned(),
        "-timeout=10".to_owned(),
        "-print_final_stats=1".to_owned(),
        format!("-artifact_prefix={}", bad.display()),
        found.display().to_string(),
    ];
    if !fuzz(&long)? {
        println!("the input that it does not bear is beside {}", bad.display());
        return Ok(false);
    }
    // Only inputs that reach code which shorter inputs do not.
    let folders = [&short, &found].map(|folder| folder.display().to_string());
    if !fuzz(&[&["-merge=1".to_owned(), "-max_len=300".to_owned()], &folders[..]].concat())? {
        bail!("what was found could not be reduced");
    }
    succeeds(corpus("keep", &options.target, &short))
}

/// Creates a folder; `cleared`: without its previous contents.
fn empty(folder: &Path, cleared: bool) -> Result<PathBuf> {
    if cleared && folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    Ok(folder.to_path_buf())
}

/// The command that writes the corpus of a target to a folder, or stores it from there.
fn corpus(verb: &str, target: &str, folder: &Path) -> Command {
    let folder = folder.display().to_string();
    let fixed = ["run", "--package", "rejoin-fuzz", "--", verb, target];
    cargo(&fixed, &[folder])
}

/// The fuzzer, built separately, because all its crates are instrumented; with the host named,
/// build scripts are not.
fn build() -> Result<PathBuf> {
    let mut version = Command::new("rustc");
    version.arg("-vV");
    let version = output(version)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not name its host")?;
    let fixed = ["build", "--release", "--package", "rejoin-fuzz", "--target-dir", "target/fuzz"];
    let mut command = cargo(&fixed, &["--target".to_owned(), host.to_owned()]);
    command.env("RUSTFLAGS", COVERAGE).env("CARGO_PROFILE_RELEASE_LTO", "off");
    if !succeeds(command)? {
        bail!("the fuzzer does not compile");
    }
    Ok(workspace::root().join("target/fuzz").join(host).join("release/rejoin-fuzz"))
}

//! `cargo xtask fuzz TARGET`: coverage-guided fuzzing of a decoder with libFuzzer
//! (`tests/fuzz/search.sh`).

use crate::process::{become_it, succeeds};
use crate::report::Count;
use anyhow::Result;
use clap::builder::PossibleValuesParser;
use std::process::{Command, ExitCode};

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The decoder to fuzz
    #[arg(value_parser = PossibleValuesParser::new(TARGETS))]
    target: String,
    /// Minutes to run
    #[arg(long, default_value_t = 10)]
    minutes: u32,
}

/// The decoders.
const TARGETS: [&str; 9] =
    ["requests", "answers", "log", "cells", "rows", "events", "queue", "row-buffer", "manifests"];

/// Minutes per decoder in the deep run.
const DEEP_MINUTES: u32 = 5;

/// Fuzzes every decoder for some minutes and keeps new inputs.
pub(crate) fn every_target() -> Result<Count> {
    let mut count = Count::default();
    for target in TARGETS {
        count += Count::one(succeeds(search(target, DEEP_MINUTES))?);
    }
    Ok(count)
}

/// Builds and runs the fuzzer, and keeps new inputs.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    become_it(search(&options.target, options.minutes))
}

fn search(target: &str, minutes: u32) -> Command {
    let mut search = Command::new("tests/fuzz/search.sh");
    search.args([target, &minutes.to_string()]);
    search
}

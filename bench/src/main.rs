//! `cargo xtask bench`: ratios to plain SQLite in one interleaved run, and instructions if
//! callgrind is installed.
//!
//! `--json FILE` writes every line; `--gate` compares instructions with `bench/baseline.json` and
//! fails above 1.05.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_precision_loss
)]

mod action;
mod apply;
mod awaited;
mod border;
mod capture;
mod device;
mod figures;
mod instructions;
mod large;
mod log;
mod measure;
mod memory;
mod open;
mod ours;
mod powersync;
mod push;
mod query;
mod raw;
mod rebase;
mod report;
mod verdict;
mod watch;
mod workloads;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use measure::{Variant, ratio};
use report::Line;
use workloads::{TIMED, Workload};

#[derive(Parser)]
#[command(about = "What Rejoin costs, as ratios against raw SQLite")]
struct Arguments {
    #[command(subcommand)]
    only: Option<Only>,
    /// Write every line to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Count instructions only, and fail if any counts more than 1.05 times the committed baseline.
    #[arg(long)]
    gate: bool,
    /// Write the instructions to `bench/baseline.json`.
    #[arg(long)]
    write_baseline: bool,
    /// Pairs of runs per ratio.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only the workloads whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

#[derive(Subcommand)]
enum Only {
    /// Run the measurements of the language bindings in Rust: one JSON line each
    Border,
    /// Measure what a device spends with many rows, and while nothing happens
    Device {
        /// Length of the idle period, in seconds.
        #[arg(long, default_value_t = 3_600)]
        idle: u64,
        /// A first sync through a slow link, instead of the rest.
        #[arg(long)]
        link: bool,
    },
    /// A device in a process of its own.
    #[command(hide = true)]
    OnDevice {
        url: String,
        file: PathBuf,
        #[command(subcommand)]
        step: device::child::Step,
    },
    /// One large transaction in a process of its own.
    #[command(hide = true)]
    LargeTransaction { file: PathBuf },
    /// One side of a comparison of memory, in a process of its own.
    #[command(hide = true)]
    MemoryBesidePowersync {
        work: powersync::memory::Work,
        side: powersync::memory::Side,
        count: usize,
        folder: PathBuf,
    },
    /// Runs one counted workload once; callgrind calls it.
    #[command(hide = true)]
    Run { index: usize, variant: Variant, scale: usize },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.only {
        Some(Only::Run { index, variant, scale }) => {
            return instructions::run_one(index, variant, scale);
        }
        Some(Only::Border) => return border::print(),
        Some(Only::Device { idle, link }) => {
            report::print(&if link { device::link_lines()? } else { device::lines(idle)? });
            return Ok(());
        }
        Some(Only::OnDevice { url, file, step }) => return device::child::run(&url, &file, &step),
        Some(Only::LargeTransaction { file }) => return large::print(&file),
        Some(Only::MemoryBesidePowersync { work, side, count, folder }) => {
            return powersync::memory::print(&folder, work, side, count);
        }
        None => {}
    }
    let mut lines = Vec::new();
    if !arguments.gate && !arguments.write_baseline {
        timed(&arguments, &mut lines)?;
    }
    let wanted = arguments.filter.as_deref().is_none_or(|text| "instructions".contains(text));
    if instructions::available() && wanted {
        lines.extend(instructions::lines()?);
    } else if arguments.gate || arguments.write_baseline {
        anyhow::bail!("valgrind is not installed: instructions cannot be counted");
    } else {
        println!("no instructions: valgrind is not installed, or filtered out");
    }
    report::print(&lines);
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&lines)?)?;
    }
    let baseline = PathBuf::from("bench/baseline.json");
    if arguments.write_baseline {
        std::fs::write(&baseline, serde_json::to_string_pretty(&lines)? + "\n")?;
    }
    if arguments.gate {
        let beyond = instructions::beyond(&instructions::baseline(&baseline)?, &lines);
        ensure!(beyond.is_empty(), "grown beyond the gate:\n{}", beyond.join("\n"));
    }
    Ok(())
}

fn timed(arguments: &Arguments, lines: &mut Vec<Line>) -> Result<()> {
    let wanted = |name: &str| arguments.filter.as_deref().is_none_or(|text| name.contains(text));
    if TIMED.iter().any(|workload| wanted(workload.name) && !powersync::can_run(workload.name)) {
        println!("not beside PowerSync: `cargo xtask bench powersync` does that");
    }
    let wanted = |name: &str| wanted(name) && powersync::can_run(name);
    for workload in TIMED.iter().filter(|workload| wanted(workload.name)) {
        eprintln!("{} ...", workload.name);
        lines.push(timed_line(workload, arguments.rounds)?);
    }
    lines.extend(figures::lines(&wanted)?);
    Ok(())
}

fn timed_line(workload: &Workload, rounds: usize) -> Result<Line> {
    let ratio = ratio(workload.run, workload.scale, rounds)?;
    Ok(Line {
        name: workload.name.to_owned(),
        against: workload.against.to_owned(),
        ratio: Some(ratio.median),
        spread: Some([ratio.least, ratio.most]),
        goal: Some(workload.goal),
        value: Some(ratio.ours),
        unit: "ns per unit".to_owned(),
        instructions: None,
    })
}

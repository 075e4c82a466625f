//! `cargo xtask bench server`: the cost of the server over PostgreSQL, compared with plain
//! statements on the same cluster.
//!
//! The server is the real binary behind a real socket, on persistent connections; its database is a
//! cluster created for the run. `--scale` compares plans and buffers at 10,000 and 1,000,000 rows,
//! `--memory` takes a snapshot of 1,000,000, `--fanout` opens 10,000 event streams, `--fairness` has one
//! user push beside the worst requests of another, `--live` has a device watch the writes of another.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_precision_loss
)]

mod cluster;
mod device;
mod fairness;
mod fanout;
mod floor;
mod http;
mod live;
mod measure;
mod members;
mod memory;
mod plans;
mod report;
mod scale;
mod select;
mod served;
mod speed;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(about = "What the server costs over PostgreSQL")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Arguments {
    /// Plans and buffers of each request at two sizes, instead of times.
    #[arg(long)]
    scale: bool,
    /// Memory during a snapshot of 1,000,000 rows, instead of times.
    #[arg(long)]
    memory: bool,
    /// From a commit to the watched query of another device, instead of times.
    #[arg(long)]
    live: bool,
    /// Memory, time and CPU of 10,000 event streams, instead of times.
    #[arg(long)]
    fanout: bool,
    /// A user's pushes beside the worst requests of another user, instead of times.
    #[arg(long)]
    fairness: bool,
    /// The larger size of `--scale`, and the rows of `--memory`.
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// Write every line to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Pairs of runs per ratio.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only the lines whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let wanted = |name: &str| arguments.filter.as_deref().is_none_or(|text| name.contains(text));
    let mut lines = Vec::new();
    if arguments.scale {
        lines.extend(scale::lines(arguments.rows)?);
    }
    if arguments.memory {
        lines.push(memory::line(arguments.rows)?);
    }
    if arguments.live {
        lines.extend(live::lines()?);
    }
    if arguments.fanout {
        lines.extend(fanout::lines()?);
    }
    if arguments.fairness {
        lines.extend(fairness::lines()?);
    }
    if lines.is_empty() {
        lines.extend(speed::lines(arguments.rounds, &wanted)?);
    }
    report::print(&lines);
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&lines)?)?;
    }
    Ok(())
}

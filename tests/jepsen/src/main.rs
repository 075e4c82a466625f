//! Jepsen-style test of causal consistency under faults: one server process, 5 or 10 device
//! processes, seeded faults, and a checker of the recorded histories.
//!
//! Run with `cargo xtask jepsen --minutes N`. A table has 100 registers. Each transaction reads all
//! of them and writes four, with a value that is unique to the transaction. All devices belong to
//! one user, so each sees all registers.
//!
//! The table's policy is `rebase`: a conflicting edit overwrites the server row, so concurrent
//! writes are legal and nothing is parked. The option `--writes` selects which registers a device
//! writes:
//!
//! - `own`: each device writes its own share of the registers, so edits never conflict. The engine
//!   sends a device's writes in order, and the checker requires every property.
//! - `shared`: each device writes any register. A conflicting edit is sent again after later edits
//!   of other rows, which do not wait for it, so other devices can see the later edits first.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod check;
mod device;
mod history;
mod nemesis;
mod process;
mod proxy;
mod report;
mod run;
mod server;
mod site;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use check::{Property, Violation};
use nemesis::Fault;
use run::{Outcome, Plan};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask jepsen", about = "Causal consistency under faults")]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Start new runs for this long.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Stop after this many runs.
    #[arg(long)]
    runs: Option<usize>,
    /// Duration of transactions and faults in a run.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The seed of the first run; each further run uses the next one.
    #[arg(long)]
    seed: Option<u64>,
    /// Number of devices; alternates between 5 and 10 by default.
    #[arg(long)]
    devices: Option<usize>,
    /// The store of the server; alternates by default.
    #[arg(long)]
    store: Option<Store>,
    /// The kind of fault; cycles through all by default.
    #[arg(long)]
    fault: Option<Fault>,
    /// Which registers a device writes.
    #[arg(long, default_value = "own")]
    writes: Scope,
    /// Inject a bug into the devices that the checker must find.
    #[arg(long = "break")]
    broken: Option<Break>,
}

/// The processes of a run; the controller starts them.
#[derive(Debug, Subcommand)]
enum Role {
    /// Serve the registers until stdin ends.
    #[command(hide = true)]
    Server(server::Options),
    /// Run transactions until stdin ends.
    #[command(hide = true)]
    Device(device::Options),
}

/// Where the server stores its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Store {
    Sqlite,
    Postgres,
}

/// Which registers a device writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Scope {
    /// Its own share.
    Own,
    /// Any.
    Shared,
}

/// A bug in the devices that the checker must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Break {
    /// A device writes one transaction as two.
    Tear,
    /// A device reports a commit without writing anything.
    Drop,
}

/// The name of a value on the command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.role {
        Some(Role::Server(options)) => server::run(options).map(|()| true),
        Some(Role::Device(options)) => device::run(options).map(|()| true),
        None => control(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Every kind of run that the arguments allow, ordered so that stores and numbers of devices
/// alternate.
fn kinds(arguments: &Arguments) -> Vec<(Fault, usize, Store)> {
    let faults = arguments.fault.map_or_else(|| Fault::value_variants().to_vec(), |one| vec![one]);
    let devices = arguments.devices.map_or_else(|| vec![5, 10], |one| vec![one]);
    let stores = arguments.store.map_or_else(|| Store::value_variants().to_vec(), |one| vec![one]);
    let mut kinds = Vec::new();
    for fault in faults {
        for devices in &devices {
            kinds.extend(stores.iter().map(|store| (fault, *devices, *store)));
        }
    }
    kinds
}

/// Runs until the time is over. Returns whether all runs passed.
fn control(arguments: &Arguments) -> Result<bool> {
    let (begin, kinds) = (Instant::now(), kinds(arguments));
    let time = Duration::from_secs_f64(arguments.minutes.max(0.0) * 60.0);
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(0..1 << 32));
    if let Some(devices) = arguments.devices {
        ensure!((1..=25).contains(&devices), "1 to 25 devices, so that each has four registers");
    }
    println!("first seed: {seed}");
    let mut table = report::Table::default();
    for number in 0..arguments.runs.unwrap_or(usize::MAX) {
        if number > 0 && arguments.runs.is_none() && begin.elapsed() >= time {
            break;
        }
        let (fault, devices, store) = kinds[number % kinds.len()];
        let plan = Plan {
            seed: seed.wrapping_add(number as u64),
            store,
            devices,
            fault,
            writes: arguments.writes,
            length: Duration::from_secs(arguments.seconds),
            broken: arguments.broken,
        };
        table.add(&plan, &one(number + 1, &plan)?);
    }
    println!("\n{}", table.markdown());
    Ok(table.failed() == 0)
}

/// Runs that take longer to converge print what the last device was doing.
const SLOW: Duration = Duration::from_secs(10);

/// Maximum number of violations printed per run; its folder contains all of them.
const PRINTED: usize = 5;

/// Executes one run and prints its result. The folder of a failed run is kept.
fn one(number: usize, plan: &Plan) -> Result<Outcome> {
    let folder = tempfile::Builder::new().prefix("rejoin-jepsen-").tempdir()?;
    let outcome = run::run(plan, folder.path()).unwrap_or_else(|error| {
        let what = format!("the run did not end: {error:#}");
        Outcome { violations: vec![Violation::new(Property::Progress, what)], ..Outcome::default() }
    });
    println!("{}", report::line(number, plan, &outcome));
    if outcome.converged > SLOW {
        println!("    the last: {}", outcome.last);
    }
    if !outcome.violations.is_empty() {
        let folder = folder.keep();
        let all: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
        std::fs::write(folder.join("violations.txt"), all.join("\n"))?;
        all.iter().take(PRINTED).for_each(|violation| println!("    {violation}"));
        println!("    repeat: {}", report::command(plan));
        println!("    histories and all violations: {}", folder.display());
    }
    Ok(outcome)
}

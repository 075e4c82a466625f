//! `rejoin-simulate`: simulates runs of a model by seed until one breaks an invariant; started by
//! `cargo xtask simulate`.
//!
//! Prints its claims, line by line, and ends with code 1 if a claim does not hold.

#![allow(clippy::print_stdout)] // It is its own user interface.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use rejoin_postgres::Database;
use rejoin_tests::Store;
use rejoin_tests::simulate::{SimulationOptions, log::Log, plain::Plain, rows::Rows, simulate};

/// Simulated runs of a model, by seed.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Options {
    /// The kind of run
    #[arg(long, value_parser = ["plain", "rows", "log"])]
    model: String,
    /// The database under the server of the models rows and log; PostgreSQL is started unless REJOIN_TEST_POSTGRES_URL names one
    #[arg(long, value_parser = ["sqlite", "postgres"], default_value = "sqlite")]
    store: String,
    /// How many runs
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Require every expected event, with further seeds while one is missing
    #[arg(long)]
    events: bool,
    /// Break each rule of the model too, and find the run that notices
    #[arg(long)]
    mutants: bool,
    /// Break only this rule (P7, or a mutant's name) and print the run that notices
    #[arg(long, value_name = "RULE")]
    mutant: Option<String>,
    /// Continue after a run that breaks an invariant, and only name each with what it broke
    #[arg(long)]
    every: bool,
    /// Runs at the same time; by default the number of cores
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // Where the system has files in memory: the files are temporary, so no disk write is needed.
    let memory = Path::new("/dev/shm");
    if std::env::var_os("TMPDIR").is_none() && memory.is_dir() {
        // Fails only if it was set before, which is fine.
        let _ = tempfile::env::override_temp_dir(memory);
    }
    let store = match options.store.as_str() {
        "postgres" => Store::Postgres,
        _ => Store::Sqlite,
    };
    if store == Store::Postgres && options.model == "plain" {
        println!("--store postgres: the model plain has a scripted server");
        return ExitCode::FAILURE;
    }
    if store == Store::Postgres
        && let Err(error) = Database::create().map(|database| database.remove())
    {
        println!("{error}");
        return ExitCode::FAILURE;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let simulation = SimulationOptions {
        from: options.from,
        seeds: options.seeds,
        events: options.events,
        threads: options.threads.unwrap_or(cores),
        mutants: options.mutants,
        only: options.mutant,
        every: options.every,
    };
    let mut print = |line: &str| println!("{line}");
    // One arm per model.
    let holds = match options.model.as_str() {
        "plain" => simulate(&Plain, &simulation, &mut print),
        "rows" => simulate(&Rows { store }, &simulation, &mut print),
        "log" => simulate(&Log { store }, &simulation, &mut print),
        _ => false,
    };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

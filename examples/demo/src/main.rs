//! Demo of offline edits and syncing on real data: one server and two devices as processes.
//!
//! Run with `cargo xtask demo`. `--keep` keeps the files, `--pace` pauses between chapters.
//! `--sabotage N` breaks claim N; the demo then ends with an error that names it. `--log` runs the
//! demo of the log model instead.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]
#![allow(clippy::unused_self)] // For uniform methods of `Teller`.

mod claims;
mod control;
mod device;
mod digests;
mod edits;
mod interop;
mod log;
mod places;
mod proxy;
mod scene;
mod server;
mod site;
mod stock;
mod story;
mod surveys;
mod team;
mod tell;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use rejoin_postgres::Database;

use stock::claims::KOTLIN;

#[derive(Parser)]
#[command(about = "Demo of Rejoin on real data: one server, two devices, 2,500 places")]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Keep the databases and logs in `.demo` in the current folder.
    #[arg(long)]
    keep: bool,
    /// Pause for this many seconds before each chapter.
    #[arg(long, default_value_t = 0.0)]
    pace: f64,
    /// Break this claim; the demo must then fail and name it.
    #[arg(long, value_name = "N")]
    sabotage: Option<usize>,
    /// Store the server's tables in PostgreSQL, located as in the tests.
    #[arg(long)]
    postgres: bool,
    /// Add a device in Kotlin; `cargo xtask demo --kotlin` writes this file with its command line.
    #[arg(long, value_name = "FILE")]
    kotlin: Option<PathBuf>,
    /// Demonstrate the log model instead.
    #[arg(long, conflicts_with = "kotlin")]
    log: bool,
}

/// The roles of the processes that the controller starts.
#[derive(Subcommand)]
enum Role {
    /// Serve a database, a file or PostgreSQL, until stdin closes.
    #[command(hide = true)]
    Server {
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        postgres: Option<String>,
        /// With the tables of the log.
        #[arg(long)]
        log: bool,
    },
    /// Run a device that executes commands from stdin until it closes.
    #[command(hide = true)]
    Device {
        #[arg(long)]
        name: String,
        #[arg(long)]
        user: String,
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        url: String,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // `{:?}` prints the backtrace, if one was captured (`RUST_BACKTRACE=1`).
        Err(error) if std::env::var_os("RUST_BACKTRACE").is_some_and(|set| set != "0") => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.role {
        Some(Role::Server { file, postgres, log }) => server::run(file, postgres.as_deref(), *log),
        Some(Role::Device { name, user, file, url }) => device::run(name, user, file, url),
        None => run_demo(arguments),
    }
}

fn run_demo(arguments: &Arguments) -> Result<()> {
    let claims = match (arguments.log, &arguments.kotlin) {
        (true, _) => &log::claims::CLAIMS[..],
        (false, Some(_)) => &claims::CLAIMS[..],
        (false, None) => &claims::CLAIMS[..KOTLIN.first_claim - 1],
    };
    if let Some(number) = arguments.sabotage {
        let known = claims.len();
        anyhow::ensure!(
            (1..=known).contains(&number),
            "there are claims 1 to {known} (see --kotlin and --log), not {number}"
        );
    }
    let postgres = if arguments.postgres { Some(Arc::new(Database::create()?)) } else { None };
    let (folder, kept) = if arguments.keep {
        let folder = std::env::current_dir()?.join(".demo");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        (folder, None)
    } else {
        let folder = tempfile::tempdir()?;
        (folder.path().to_owned(), Some(folder))
    };
    let story = story::Story {
        scene: scene::Scene { folder: folder.clone(), postgres },
        teller: tell::Teller::new(Duration::from_secs_f64(arguments.pace.max(0.0))),
        claims,
        sabotage: arguments.sabotage,
        kotlin: arguments.kotlin.as_deref().map(interop::Program::read).transpose()?,
    };
    let result = if arguments.log { story.run_log_model() } else { story.tell() };
    if kept.is_none() {
        println!("   The files are in {}", folder.display());
    }
    result
}

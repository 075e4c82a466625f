//! Demo of offline edits and syncing on real data: one server and two devices as processes.
//!
//! Run with `cargo xtask demo`. `--keep` keeps the files, `--pace` pauses between chapters.
//! `--sabotage N` breaks claim N; the demo then ends with an error that names it.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]
#![allow(clippy::unused_self)] // For uniform methods of `Teller`.

mod claims;
mod control;
mod device;
mod digests;
mod edits;
mod interop;
mod places;
mod proxy;
mod scene;
mod server;
mod site;
mod stock;
mod story;
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
    },
    /// Run a device that executes commands from stdin until it closes.
    #[command(hide = true)]
    Device {
        #[arg(long)]
        name: String,
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        url: String,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // `{:?}` prints the backtrace, if one was captured (`cargo xtask demo --backtrace`).
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
        Some(Role::Server { file, postgres }) => server::run(file, postgres.as_deref()),
        Some(Role::Device { name, file, url }) => device::run(name, file, url),
        None => run_demo(arguments),
    }
}

fn run_demo(arguments: &Arguments) -> Result<()> {
    if let Some(number) = arguments.sabotage {
        let known = claims::CLAIMS.len();
        anyhow::ensure!(
            (1..=known).contains(&number),
            "there are claims 1 to {known}, not {number}"
        );
        anyhow::ensure!(
            number < KOTLIN.first_claim || arguments.kotlin.is_some(),
            "claim {number} needs the device in Kotlin; run with --kotlin"
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
        sabotage: arguments.sabotage,
        kotlin: arguments.kotlin.as_deref().map(interop::Program::read).transpose()?,
    };
    let result = story.tell();
    if kept.is_none() {
        println!("   The files are in {}", folder.display());
    }
    result
}

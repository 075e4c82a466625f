//! `cargo xtask demo`: builds the demo and becomes it; every further argument is the demo's own.
//!
//! `--postgres` lets the server's tables be in a PostgreSQL, found as the tests find theirs. Where there are a JDK and Maven, the device in Kotlin is built too, and the demo is told how it is started. Else it tells its
//! story without; `--rust-only` asks for that.

use crate::bindings::Built;
use crate::process::cargo;
use crate::test::language::{self, KOTLIN};
use anyhow::{Context as _, Result};
use std::process::{Command, ExitCode};

/// Arguments of the demo, unread here.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Passed on as they are, `--help` included; `--rust-only` leaves the device in Kotlin out
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Asked of us, not of the demo.
const RUST_ONLY: &str = "--rust-only";

/// The command that runs the demo with these arguments, building it first.
pub(crate) fn command(arguments: &[String]) -> Command {
    cargo(&["run", "--quiet", "--package", "rejoin-demo", "--"], arguments)
}

/// The device in Kotlin, as far as this machine has it.
#[derive(Debug)]
pub(crate) enum Kotlin {
    /// What the demo is told of it.
    Here(Vec<String>),
    /// What is missing.
    Missing(String),
}

impl Kotlin {
    /// Builds it, if that can be done.
    pub(crate) fn built() -> Result<Self> {
        if let Some(missing) = (KOTLIN.missing)()? {
            return Ok(Self::Missing(missing));
        }
        let built = Built::now()?;
        let device = (KOTLIN.device)(&built)?;
        // In a file: its class path is too long to be read where commands are printed.
        let file = built.library.with_file_name("demo-kotlin.json");
        std::fs::write(&file, language::how(&device)?.to_string())?;
        let file = file.to_str().context("a path that is no Unicode")?.to_owned();
        Ok(Self::Here(vec![String::from("--kotlin"), file]))
    }
}

/// Never returns where the system lets one process become another: Ctrl-C then reaches the demo itself, which
/// ends its server and devices.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut arguments = options.arguments.clone();
    let without = [RUST_ONLY, "--help", "-h"];
    if !arguments.iter().any(|argument| without.contains(&argument.as_str())) {
        // Whoever looks at the demo may have no network for Maven, and shall see the rest.
        match Kotlin::built() {
            Ok(Kotlin::Here(more)) => arguments.extend(more),
            Ok(Kotlin::Missing(why)) => println!("the device in Kotlin is skipped: {why}"),
            Err(why) => println!("the device in Kotlin is skipped: {why:#}"),
        }
    }
    arguments.retain(|argument| argument != RUST_ONLY);
    crate::process::become_it(command(&arguments))
}

//! The test controller. Devices in several languages, each a process, edit offline and must agree
//! through one server process.
//!
//! It starts the story server and one device per `--device`, and sends the commands of
//! `tests/interop/README.md`. It prints `[ok] 3. ...` for a claim that holds and `[BROKEN] 3. ...`
//! for one that does not. `--sabotage N` injects a fault that breaks claim N; the controller must
//! report it and fail. It sees the engine only through device responses, and the server through its
//! database file.
#![allow(clippy::print_stdout)] // Command-line output.
#![allow(clippy::disallowed_methods)] // Reads pipes in threads.

mod claims;
mod device;
mod process;
mod story;
mod values;

use anyhow::{Context as _, Result, bail};
use claims::Claims;
use clap::Parser;
use serde::Deserialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the interoperability test
#[derive(Debug, Parser)]
struct Arguments {
    /// The program `rejoin-story-server`
    #[arg(long)]
    server: PathBuf,
    /// A device: `NAME={"folder":"...","words":["program","..."]}`; at least two
    #[arg(long = "device", value_parser = named, required = true)]
    devices: Vec<Command>,
    /// Inject a fault that breaks this claim
    #[arg(long)]
    sabotage: Option<u32>,
}

/// Name and command line of a device.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    #[serde(skip)]
    name: String,
    /// Working folder; the current one by default.
    folder: Option<PathBuf>,
    /// The program and its arguments.
    words: Vec<String>,
}

fn named(text: &str) -> Result<Command> {
    let (name, how) = text.split_once('=').context("a device is NAME={...}")?;
    let command: Command =
        serde_json::from_str(how).context("the command of a device must be JSON")?;
    if command.words.is_empty() {
        bail!("the command of {name} is empty");
    }
    Ok(Command { name: name.to_owned(), ..command })
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.devices.len() < 2 {
        bail!("at least two devices are required");
    }
    let mut claims = Claims::new(arguments.sabotage);
    story::tell(&arguments.server, &arguments.devices, &mut claims)?;
    Ok(claims.close())
}

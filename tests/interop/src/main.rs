//! The referee: devices of several languages, each a process, edit offline and must agree through one server process.
//!
//! It starts the story server and one device per `--device`, tells them what to do by the lines of `tests/interop/README.md`, and
//! prints `[ok] 3. ...` for each claim that held and `[BROKEN] 3. ...` for one that did not. `--sabotage N` breaks claim N on
//! purpose; then it must say so and fail. It knows the engine by what devices answer, and the server by its own file.
#![allow(clippy::print_stdout)] // It speaks to a terminal.
#![allow(clippy::disallowed_methods)] // It reads pipes in threads of its own.

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

/// The referee of the devices.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program `rejoin-story-server`
    #[arg(long)]
    server: PathBuf,
    /// A device: its name, `=`, and how it is started, as JSON `{"folder":"...","words":["program","..."]}`; at least two
    #[arg(long = "device", value_parser = named, required = true)]
    devices: Vec<Command>,
    /// Break this claim on purpose
    #[arg(long)]
    sabotage: Option<u32>,
}

/// A device's name, and how it is started.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    #[serde(skip)]
    name: String,
    /// Where; the present folder if it is not said.
    folder: Option<PathBuf>,
    /// The program and its arguments.
    words: Vec<String>,
}

fn named(text: &str) -> Result<Command> {
    let (name, how) = text.split_once('=').context("a device is written NAME={...}")?;
    let command: Command = serde_json::from_str(how).context("how a device is started is JSON")?;
    if command.words.is_empty() {
        bail!("the command of {name} is empty");
    }
    Ok(Command { name: name.to_owned(), ..command })
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.devices.len() < 2 {
        bail!("one device cannot disagree: give at least two");
    }
    let mut claims = Claims::new(arguments.sabotage);
    story::tell(&arguments.server, &arguments.devices, &mut claims)?;
    Ok(claims.close())
}

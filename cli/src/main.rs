//! `rejoin inspect FILE`: prints the contents of a Rejoin app's file, as text or JSON.
//!
//! It writes nothing and takes no lock: it works next to a running app, and on a copy sent by a
//! user.

#![allow(clippy::print_stdout)] // Commands print their result.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rejoin_core::Inspection;

mod text;

#[derive(Debug, Parser)]
#[command(name = "rejoin", version, about = "A look into the files of Rejoin apps")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show tables and digests, pending mutations with their patches, parked mutations with
    /// reasons, and the history. Read-only
    Inspect {
        /// The database file of an app, open elsewhere or not
        file: PathBuf,
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let Command::Inspect { file, json } = Cli::parse().command;
    let found = Inspection::of(file)?;
    let shown = if json {
        format!("{}\n", serde_json::to_string_pretty(&found.to_json())?)
    } else {
        text::inspection(&found)
    };
    match std::io::stdout().write_all(shown.as_bytes()) {
        // The reader, `head` for example, has closed the pipe.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}

//! `rejoin`: tools for developers of apps.
//!
//! `inspect` prints the contents of an app's file, as text or JSON, or serves them as a page on this machine. It writes nothing
//! and takes no lock: it works next to a running app, and on a copy. `generate` writes types for an app from its schema.
//! `authority` runs actions of the log model in place of their authors.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rejoin_core::Inspection;

mod authority;
mod generate;
mod schema;
mod serve;
mod text;

#[derive(Debug, Parser)]
#[command(name = "rejoin", version, about = "Tools for developers of Rejoin apps")]
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
        #[arg(long, conflicts_with = "serve")]
        json: bool,
        /// A page for one browser on this machine, until Ctrl-C. Prints its URL, which works once
        #[arg(long)]
        serve: bool,
        /// The port of the page; default: a free one
        #[arg(long, requires = "serve", default_value_t = 0, hide_default_value = true)]
        port: u16,
    },
    /// Print the schema that a server serves, for an app to bundle: `rejoin schema --server URL >
    /// schema.json`
    Schema(schema::Options),
    /// Write row types, statements and action calls for an app's language from its schema
    Generate(generate::Options),
    /// Correct entries of the log model while their authors are offline. Prints the id to appoint
    /// with `rejoin-server log appoint`, then syncs until it is stopped
    Authority(authority::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match run() {
        // The reader, `head` for example, has closed the pipe.
        Err(error) if error.downcast_ref().is_some_and(is_closed_pipe) => Ok(ExitCode::SUCCESS),
        done => done,
    }
}

fn is_closed_pipe(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::BrokenPipe
}

fn run() -> anyhow::Result<ExitCode> {
    let (file, json) = match Cli::parse().command {
        Command::Inspect { file, serve: true, port, .. } => {
            return serve::run(file, port).map(|()| ExitCode::SUCCESS);
        }
        Command::Inspect { file, json, .. } => (file, json),
        Command::Authority(options) => return authority::run(options).map(|()| ExitCode::SUCCESS),
        Command::Schema(options) => return schema::run(options).map(|()| ExitCode::SUCCESS),
        Command::Generate(options) => return generate::run(&options).map(|()| ExitCode::SUCCESS),
    };
    let found = Inspection::of(file)?;
    let shown = if json {
        format!("{}\n", serde_json::to_string_pretty(&found.to_json())?)
    } else {
        text::inspection(&found)
    };
    std::io::stdout().write_all(shown.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}

//! The server process: a `rejoin-server` with the registers, on a free loopback port.
//!
//! It prints its address and runs until its stdin closes, so that it does not outlive the
//! controller.

use std::io::Read;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use rejoin_core::Policy;
use rejoin_server::{Config, Server, TableConfig};

/// Command-line options of the server process.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The SQLite file.
    #[arg(long)]
    file: PathBuf,
    /// The URL of a PostgreSQL database, instead of the file.
    #[arg(long)]
    postgres: Option<String>,
}

/// Serves until stdin closes.
pub(crate) fn run(options: &Options) -> Result<()> {
    let config = options
        .postgres
        .as_deref()
        .map_or_else(|| Config::new(&options.file), Config::postgres)
        .with_table(TableConfig::owned("registers", "owner_id").with_policy(Policy::Rebase));
    let server = Server::open(config)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?);
        tokio::select! {
            ended = server.serve(listener) => ended.map_err(Into::into),
            () = stdin_ends() => Ok(()),
        }
    })
}

async fn stdin_ends() {
    let reading = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let _ = reading.await;
}

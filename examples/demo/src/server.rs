//! The server process: a `rejoin-server` over the demo's tables, on a free loopback port.
//!
//! It prints its address and exits when its stdin closes, so it cannot outlive the controller.

use std::io::Read;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Result;
use rejoin_server::{Config, Server, TableConfig};

use crate::log::TABLES;
use crate::{surveys, team};

/// Serves the PostgreSQL database of this URL, or the file at this path without one; with `log`,
/// also the tables of the log.
pub(crate) fn run(file: &Path, postgres: Option<&str>, log: bool) -> Result<()> {
    let server = open(file, postgres, log)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("listening on http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move { server.serve(listener).await });
        tokio::select! {
            ended = task => ended?.map_err(Into::into),
            () = stdin_ends() => Ok(()),
        }
    })
}

/// The server over these tables, also for a command beside the serving process.
pub(crate) fn open(file: &Path, postgres: Option<&str>, log: bool) -> Result<Server> {
    let mut config = postgres
        .map_or_else(|| Config::new(file), Config::postgres)
        .with_table(TableConfig::owned("places", "owner_id"))
        .with_table(TableConfig::child("visits", "places", "place_id"))
        .with_table(TableConfig::child("notes", "visits", "visit_id"))
        .with_table(TableConfig::owned("parts", "owner_id"))
        .with_table(team::inspections())
        .with_membership(team::membership())
        .with_table(surveys::table())
        .with_stream(surveys::stream());
    for table in TABLES.into_iter().filter(|_| log) {
        config = config.with_table(TableConfig::log(table, "country", "country:"));
    }
    Ok(Server::open(config)?)
}

async fn stdin_ends() {
    let reading = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let _ = reading.await;
}

//! `rejoin-mortal`: a device as a process of its own, which stories kill to see that a crash changes nothing.
//!
//! It opens its file, writes some transactions, syncs, writes one more and lets the rows come afresh, syncs, moves the log into
//! the file, and ends. Of each transaction it says
//! when it begins and when its commit has returned, and of each place of [`rejoin_core::death`] that it passes it. At the
//! place where it shall die it stays until it is killed. It ends with its standard input, so it outlives nobody.

#![allow(clippy::disallowed_methods, clippy::print_stderr)] // A program of its own.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::Parser;
use rejoin_core::death::{self, Place};
use rejoin_core::{CheckpointMode, Client, Config, Error, Keep};
use rejoin_tests::mortal::{Said, place};

/// A life.
#[derive(Debug, Parser)]
struct Life {
    /// The device's file
    #[arg(long)]
    file: PathBuf,
    /// Where the server is
    #[arg(long)]
    url: String,
    /// The tables that it was shipped with, as JSON
    #[arg(long)]
    schema: PathBuf,
    /// What the names of its transactions begin with
    #[arg(long)]
    name: String,
    /// Transactions, before it syncs, and while it does
    #[arg(long, default_value_t = 3)]
    acts: u32,
    /// Where to wait for death
    #[arg(long, value_parser = place)]
    die: Option<Place>,
    /// At which passing of that place
    #[arg(long, default_value_t = 1)]
    nth: u32,
    /// Write and sync at the same time, so that nothing is in order
    #[arg(long)]
    busy: bool,
}

/// Longer than any life; who waits longer has hung.
const PATIENCE: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    let life = Life::parse();
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(2);
    });
    expect_death(life.die, life.nth);
    match live(&life) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Says what is passed; where it shall die, the thread that came there goes no further.
fn expect_death(die: Option<Place>, nth: u32) {
    let passed = AtomicU32::new(0);
    death::watch(move |place| {
        Said::At(place).say();
        if die == Some(place) && passed.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            loop {
                std::thread::park();
            }
        }
    });
}

fn live(life: &Life) -> rejoin_core::Result<()> {
    let schema = std::fs::read(&life.schema).map_err(|error| Error::Io(error.to_string()))?;
    let schema = serde_json::from_slice(&schema).map_err(|error| Error::Io(error.to_string()))?;
    let client = Client::open(Config {
        schema: Some(schema),
        server_url: Some(life.url.clone()),
        user_id: Some("ana".to_owned()),
        sync_interval: Duration::from_hours(1),
        push_debounce: Duration::ZERO,
        page_size: 100,
        ..Config::new(&life.file)
    })
    .wait()?;
    if life.busy {
        client.start()?;
    }
    for number in 0..life.acts {
        act(&client, &life.name, number)?;
    }
    if life.busy {
        let synced = client.sync_and_wait(Some(PATIENCE));
        for number in life.acts..2 * life.acts {
            act(&client, &life.name, number)?;
        }
        synced.wait()?;
    }
    client.sync_and_wait(Some(PATIENCE)).wait()?;
    begin_afresh(&client, life)?;
    client.checkpoint(CheckpointMode::Truncate).wait()?;
    client.shutdown().wait()?;
    Said::Ended.say();
    Ok(())
}

/// The rows of the server go and come again, under a transaction that nobody has sent.
fn begin_afresh(client: &Client, life: &Life) -> rejoin_core::Result<()> {
    if !life.busy {
        client.stop().wait()?;
    }
    act(client, &life.name, if life.busy { 2 * life.acts } else { life.acts })?;
    client.reset(Keep::Pending, Vec::new()).wait()?;
    client.sync_and_wait(Some(PATIENCE)).wait().map(drop)
}

/// One transaction: a place and a visit to it, and a note on the place of the one before. All bear its name.
fn act(client: &Client, life: &str, number: u32) -> rejoin_core::Result<()> {
    let name = format!("{life}-{number}");
    Said::Begun(name.clone()).say();
    let (id, before) = (name.clone(), number.checked_sub(1).map(|last| format!("{life}-{last}")));
    let wrote = client.transaction(move |transaction| {
        transaction.execute("INSERT INTO places (id, name) VALUES (?1, ?1)", (&*id,))?;
        transaction.execute("INSERT INTO visits (id, place_id) VALUES (?1, ?1)", (&*id,))?;
        if let Some(before) = &before {
            let note = "UPDATE places SET note = ?1 WHERE id = ?2";
            transaction.execute(note, (&*id, &**before))?;
        }
        Ok(())
    });
    wrote.wait()?;
    Said::Done(name).say();
    Ok(())
}

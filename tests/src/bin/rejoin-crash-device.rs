//! `rejoin-crash-device`: a device as a separate process, which crash tests kill.
//!
//! It opens its file, writes some transactions and syncs. It writes one more, resets the server
//! rows and syncs again. Then it checkpoints the write-ahead log and ends. It reports the beginning
//! of each transaction, the return of each commit, and each point of [`rejoin_core::death`] that it
//! passes. At the point where it is to be killed it waits. It ends with its standard input, so no
//! process is left over.

#![allow(clippy::disallowed_methods, clippy::print_stderr)] // A separate program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::Parser;
use rejoin_core::death::{self, Failpoint};
use rejoin_core::{Actions, CheckpointMode, Client, Config, Error, Keep, Services, StorageFault};
use rejoin_tests::crash_device::{COUNT, OutputLine, failpoint};

/// The arguments of one run.
#[derive(Debug, Parser)]
struct Options {
    /// The device's file
    #[arg(long)]
    file: PathBuf,
    /// The server's URL
    #[arg(long)]
    url: String,
    /// The bundled tables, as JSON
    #[arg(long)]
    schema: PathBuf,
    /// Prefix of the names of its transactions
    #[arg(long)]
    name: String,
    /// The row of the log on which it counts
    #[arg(long)]
    counter: String,
    /// Number of transactions before the sync, and again during it when busy
    #[arg(long, default_value_t = 3)]
    transactions: u32,
    /// The point at which to wait to be killed
    #[arg(long, value_parser = failpoint)]
    failpoint: Option<Failpoint>,
    /// At which pass of that point, counted from 1
    #[arg(long, default_value_t = 1)]
    nth: u32,
    /// Write and sync at the same time, in no fixed order
    #[arg(long)]
    busy: bool,
}

/// Longer than any run: a process that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    let options = Options::parse();
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(2);
    });
    watch_failpoints(options.failpoint, options.nth);
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Reports each point that is passed. At the point where it is to be killed, the thread waits
/// forever.
fn watch_failpoints(failpoint: Option<Failpoint>, nth: u32) {
    let passed = AtomicU32::new(0);
    death::watch(move |place| {
        OutputLine::At(place).print();
        if failpoint == Some(place) && passed.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            loop {
                std::thread::park();
            }
        }
    });
}

fn run(options: &Options) -> rejoin_core::Result<()> {
    let schema = std::fs::read(&options.schema)
        .map_err(|error| Error::Storage(StorageFault::Io(error.to_string())))?;
    let schema = serde_json::from_slice(&schema)
        .map_err(|error| Error::Storage(StorageFault::Io(error.to_string())))?;
    let services =
        Services { actions: Some(Actions::new().declare(COUNT).into()), ..Services::default() };
    let client = Client::open_with(
        Config::new(&options.file)
            .schema(schema)
            .server(options.url.clone())
            .user_id("ana")
            .sync_interval(Duration::from_hours(1))
            .push_debounce(Duration::ZERO)
            .page_size(100),
        services,
    )
    .wait()?;
    if options.busy {
        client.start()?;
    }
    for number in 0..options.transactions {
        write_transaction(&client, options, number)?;
    }
    if options.busy {
        let synced = client.sync().run(Some(PATIENCE));
        for number in options.transactions..2 * options.transactions {
            write_transaction(&client, options, number)?;
        }
        synced.wait()?;
    }
    client.sync().run(Some(PATIENCE)).wait()?;
    reset_and_sync(&client, options)?;
    client.storage().checkpoint(CheckpointMode::Truncate).wait()?;
    client.shutdown().wait()?;
    OutputLine::Ended.print();
    Ok(())
}

/// Resets the server rows and fetches them again, below a transaction that is not sent yet.
fn reset_and_sync(client: &Client, options: &Options) -> rejoin_core::Result<()> {
    if !options.busy {
        client.stop().wait()?;
    }
    let number = if options.busy { 2 * options.transactions } else { options.transactions };
    write_transaction(client, options, number)?;
    client.storage().reset(Keep::Pending, Vec::new()).wait()?;
    client.sync().run(Some(PATIENCE)).wait().map(drop)
}

/// Writes of the log that wait at the same time: each inserts a seat with its name. Then an action,
/// which runs again when another device's arrives that is earlier.
fn write_log(client: &Client, options: &Options, number: u32) -> rejoin_core::Result<()> {
    let (prefix, counter) = (&options.name, &options.counter);
    let names = ["a", "b", "c"].map(|which| format!("seat-{prefix}-{number}{which}"));
    let tasks = names.map(|name| {
        OutputLine::Begun(name.clone()).print();
        let insert = "INSERT INTO seats (id, event) VALUES (?1, 'e1')";
        (client.execute(insert, (&*name,)), name)
    });
    for (task, name) in tasks {
        task.wait()?;
        OutputLine::Done(name).print();
    }
    let name = format!("count-{prefix}-{number}");
    OutputLine::Begun(name.clone()).print();
    let performed = client.perform("count", serde_json::json!({ "id": counter })).wait()?;
    // Before the first sync there is no row.
    let end = if performed.id.is_some() { OutputLine::Done(name) } else { OutputLine::Empty(name) };
    end.print();
    Ok(())
}

/// A transaction of rows: inserts a place and a visit to it, and updates the note of the previous
/// place. All carry its name. Then those of the log.
fn write_transaction(client: &Client, options: &Options, number: u32) -> rejoin_core::Result<()> {
    let of = &options.name;
    let name = format!("{of}-{number}");
    OutputLine::Begun(name.clone()).print();
    let (id, before) = (name.clone(), number.checked_sub(1).map(|last| format!("{of}-{last}")));
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
    OutputLine::Done(name).print();
    write_log(client, options, number)
}

//! A device process: an app with a Rejoin client and its own database file, which runs transactions
//! continuously.
//!
//! Each transaction reads all registers and writes four. The device also watches a query of all
//! registers, which shows nearly every state that a sync commits. The controller sends one command
//! per line on stdin (`Order`), and gets one JSON line on stdout. The process ends when stdin
//! closes, so that it does not outlive the controller.

use std::io::{BufRead, Write as _, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use rejoin_core::{Client, Config, MutationState, RowBuffer};
use serde::{Deserialize, Serialize};

use crate::history::{self, Event, Recorder};
use crate::site::{READ_ALL, REGISTERS, USER};
use crate::{Break, Scope};

/// Command-line options of a device process.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The number of the device.
    #[arg(long)]
    number: usize,
    /// Number of devices.
    #[arg(long)]
    devices: usize,
    /// The folder of its database and its history.
    #[arg(long)]
    folder: PathBuf,
    /// The address of the server.
    #[arg(long)]
    url: String,
    /// The seed of its random choices.
    #[arg(long)]
    seed: u64,
    /// Which registers it writes.
    #[arg(long)]
    writes: Scope,
    /// A fault of the device that the checker must find.
    #[arg(long = "break")]
    broken: Option<Break>,
}

/// A command from the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Wait for the first sync, then run transactions until [`Order::Hold`].
    Run,
    /// Stop running transactions; the response is sent when none is in progress.
    Hold,
    /// Return the counters of the queue.
    Queue,
    /// Return the rows of the registers.
    Rows,
}

/// The response of the device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Mutations without a verdict.
    pub(crate) waiting: u64,
    /// Mutations that were parked.
    pub(crate) parked: u64,
    /// The reason of the first parked mutation.
    pub(crate) why: String,
    /// The registers.
    pub(crate) rows: Vec<String>,
    /// What syncing does.
    pub(crate) status: String,
}

/// Registers that a transaction writes.
const WRITES: usize = 4;

/// The longest pause between two transactions.
const PAUSE_MS: u64 = 600;

/// Timeouts shorter than the defaults, so that a run has many timeouts and retries. A server in a
/// debug build on a loaded machine must still answer a push of 100 mutations in time.
pub(crate) const ACK_DEADLINE: Duration = Duration::from_secs(5);
/// Sync interval without notifications from the server.
pub(crate) const SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// Whether transactions may run, and whether one is in progress.
#[derive(Debug, Default)]
struct Load {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

/// Runs until stdin ends.
pub(crate) fn run(options: &Options) -> Result<()> {
    let name = format!("device-{}", options.number);
    let config = Config::new(file_of(&options.folder, options.number))
        .server(options.url.clone())
        .user_id(USER.to_owned())
        .device_name(name.clone())
        .page_size(100)
        .batch_size(100)
        .ack_deadline(ACK_DEADLINE)
        .sync_interval(SYNC_INTERVAL)
        .push_debounce(Duration::from_millis(50));
    let client = Client::open(config).wait()?;
    client.start()?;
    let load = Arc::new(Load::default());
    let writer =
        Writer::new(client.clone(), options, &history_of(&options.folder, options.number))?;
    let shared = Arc::clone(&load);
    let (watching, watcher) = (client.clone(), Arc::clone(&writer.recorder));
    thread::spawn(move || {
        if let Err(error) = watch(&watching, &watcher) {
            eprintln!("the watch of device: {error:#}");
            process::exit(3);
        }
    });
    thread::spawn(move || {
        if let Err(error) = writer.run(&shared) {
            eprintln!("device {}: {error:#}", writer.device);
            process::exit(3);
        }
    });
    for line in stdin().lock().lines() {
        let answer = follow(&client, &load, serde_json::from_str(&line?)?)?;
        println!("{}", serde_json::to_string(&answer)?);
        stdout().flush()?;
    }
    // Exits without closing anything, like a crash.
    process::exit(0);
}

/// Records each result of a watched query.
fn watch(client: &Client, recorder: &Mutex<Recorder>) -> Result<()> {
    // A query can only be watched once its table exists.
    client.sync().first_sync(None).wait()?;
    let watched = client.watch("SELECT value, id FROM registers ORDER BY id", (), &["id"]);
    let mut watched = rejoin_core::block_on(watched)?;
    while let Some(update) = rejoin_core::block_on(watched.next()) {
        record(recorder, &Event::Watched { reads: registers(&update?.rows)? })?;
    }
    Ok(())
}

/// The path of a device's database.
pub(crate) fn file_of(folder: &Path, device: usize) -> PathBuf {
    folder.join(format!("device-{device}.db"))
}

/// The path of a device's history.
pub(crate) fn history_of(folder: &Path, device: usize) -> PathBuf {
    folder.join(format!("device-{device}.jsonl"))
}

fn follow(client: &Client, load: &Load, order: Order) -> Result<Answer> {
    let status = serde_json::to_string(&client.status().state)?;
    let mut answer = Answer { status, ..Answer::default() };
    match order {
        Order::Run => {
            client.sync().first_sync(None).wait()?;
            load.set(true);
        }
        Order::Hold => load.set(false),
        Order::Queue => {
            let counts = client.queue().counts().wait()?;
            answer.waiting = counts.pending + counts.sent + counts.uncertain;
            answer.parked = counts.parked;
            if counts.parked > 0 {
                let pending = client.queue().all().wait()?;
                let parked = pending.iter().find(|one| one.state == MutationState::Parked);
                answer.why = parked.map(|one| format!("{one:?}")).unwrap_or_default();
            }
        }
        Order::Rows => answer.rows = registers(&client.query(READ_ALL, ()).wait()?)?,
    }
    Ok(answer)
}

/// The values of the registers in their order.
fn registers(rows: &RowBuffer) -> rejoin_core::Result<Vec<String>> {
    rows.iter().map(|row| row.get::<String>(0)).collect()
}

impl Load {
    /// Lets transactions run, or waits until none does.
    fn set(&self, runs: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = runs;
        self.changed.notify_all();
        while !state.0 && state.1 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until a transaction may run, and runs it.
    fn one(&self, transaction: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.1 = true;
        drop(state);
        let done = transaction();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = false;
        self.changed.notify_all();
        done
    }
}

/// The app: one transaction after another.
#[derive(Debug)]
struct Writer {
    client: Client,
    device: usize,
    devices: usize,
    scope: Scope,
    broken: Option<Break>,
    seed: u64,
    next: u64,
    recorder: Arc<Mutex<Recorder>>,
}

impl Writer {
    fn new(client: Client, options: &Options, path: &Path) -> Result<Self> {
        Ok(Self {
            client,
            device: options.number,
            devices: options.devices,
            scope: options.writes,
            broken: options.broken,
            seed: options.seed,
            next: history::next_number(&history::load(path)?),
            recorder: Arc::new(Mutex::new(Recorder::open(path)?)),
        })
    }

    fn run(&self, load: &Load) -> Result<()> {
        for number in self.next.. {
            // Seeded by its number, so that a transaction does not depend on earlier ones.
            let stream = number << 8 | self.device as u64;
            let mut random =
                fastrand::Rng::with_seed(self.seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            thread::sleep(Duration::from_millis(random.u64(0..PAUSE_MS)));
            load.one(|| self.transaction(number, self.choose(&mut random)))?;
        }
        Ok(())
    }

    /// Four different registers.
    fn choose(&self, random: &mut fastrand::Rng) -> Vec<usize> {
        let mut own: Vec<usize> = match self.scope {
            Scope::Own => (self.device..REGISTERS).step_by(self.devices).collect(),
            Scope::Shared => (0..REGISTERS).collect(),
        };
        random.shuffle(&mut own);
        own.truncate(WRITES);
        own
    }

    fn transaction(&self, number: u64, writes: Vec<usize>) -> Result<()> {
        let recorder = Arc::clone(&self.recorder);
        let value = history::value(self.device, number);
        let torn = self.broken == Some(Break::Tear);
        let (now, later) = writes.split_at(if torn { WRITES / 2 } else { WRITES });
        let (now, later) = (now.to_vec(), later.to_vec());
        let drops = self.broken == Some(Break::Drop) && number.is_multiple_of(10);
        let again = value.clone();
        let done = self.client.transaction(move |transaction| {
            let reads = registers(&transaction.query(READ_ALL, ())?)?;
            for register in now.iter().filter(|_| !drops) {
                write(transaction, *register, &value)?;
            }
            let begun = Event::Begun { number, reads, writes };
            record(&recorder, &begun).map_err(|error| {
                rejoin_core::Error::Storage(rejoin_core::StorageFault::Io(format!("{error:#}")))
            })
        });
        let done = done.wait().and_then(|()| {
            let rest = move |transaction: &mut rejoin_core::Transaction<'_, '_>| {
                later.iter().try_for_each(|register| write(transaction, *register, &again))
            };
            if torn { self.client.transaction(rest).wait() } else { Ok(()) }
        });
        let event = match done {
            Ok(()) => Event::Committed { number },
            Err(error) => Event::Failed { number, why: error.to_string() },
        };
        record(&self.recorder, &event)
    }
}

fn write(
    transaction: &mut rejoin_core::Transaction<'_, '_>,
    register: usize,
    value: &str,
) -> rejoin_core::Result<()> {
    let sql = "UPDATE registers SET value = ?1 WHERE id = ?2";
    transaction.execute(sql, (value, crate::site::id(register).as_str())).map(drop)
}

fn record(recorder: &Mutex<Recorder>, event: &Event) -> Result<()> {
    let mut recorder = recorder.lock().map_err(|_| anyhow!("the recorder is poisoned"))?;
    recorder.record(event).context("cannot record an event")
}

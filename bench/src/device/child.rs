//! The process of a device: does one step with a file, and prints what it took.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use rejoin_core::{Client, Config, Durability};
use rusqlite::Connection;

use super::SETTLE;

const FIRST: &str = "SELECT id, title, body, count FROM notes ORDER BY id LIMIT 50";

/// What a device does.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Step {
    /// A first sync.
    Sync,
    /// Opens the file and reads the first rows.
    Open,
    /// Syncs while nothing happens.
    Idle { seconds: u64 },
    /// Writes a row in each of so many transactions, offline.
    Write {
        count: usize,
        #[arg(long)]
        full: bool,
    },
}

impl Step {
    /// The arguments that name it.
    pub(super) fn arguments(&self) -> Vec<String> {
        match self {
            Self::Sync => vec![String::from("sync")],
            Self::Open => vec![String::from("open")],
            Self::Idle { seconds } => vec![String::from("idle"), seconds.to_string()],
            Self::Write { count, full } => {
                let full = full.then(|| String::from("--full"));
                [String::from("write"), count.to_string()].into_iter().chain(full).collect()
            }
        }
    }
}

/// Does a step, and prints its figures.
pub(crate) fn run(url: &str, file: &Path, step: &Step) -> Result<()> {
    match step {
        Step::Sync => {
            let client = open(url, file)?;
            let begun = Instant::now();
            client.sync().run(None).wait()?;
            println!("sync_us {}", begun.elapsed().as_micros());
            let rows = client.query_scalar::<i64>("SELECT count(*) FROM notes", ()).wait()?;
            println!("rows {}", rows.unwrap_or_default());
            println!("peak_kib {}", status("VmHWM")?);
            client.shutdown().wait()?;
        }
        Step::Open => {
            // Both files are in the page cache by then; each is opened for the first time here.
            let begun = Instant::now();
            plain(file)?;
            println!("plain_first_row_us {}", begun.elapsed().as_micros());
            let begun = Instant::now();
            let client = open(url, file)?;
            client.query(FIRST, ()).wait()?;
            println!("first_row_us {}", begun.elapsed().as_micros());
            println!("resident_kib {}", status("VmRSS")?);
            println!("threads {}", status("Threads")?);
            client.shutdown().wait()?;
        }
        Step::Idle { seconds } => {
            let client = open(url, file)?;
            client.start()?;
            std::thread::sleep(Duration::from_secs(SETTLE));
            let before = wakes()?;
            std::thread::sleep(Duration::from_secs(seconds - SETTLE));
            // This thread's own wake-up is not the client's.
            println!("wakes {}", wakes()?.saturating_sub(before + 1));
            client.shutdown().wait()?;
        }
        Step::Write { count, full } => {
            let mut config = config(url, file);
            config.durability = if *full { Durability::Full } else { Durability::Normal };
            let client = Client::open(config).wait()?;
            for number in 0..*count {
                let id = format!("written {number} {full}");
                client.execute("INSERT INTO notes(id, title) VALUES (?, 'note')", (id,)).wait()?;
            }
            client.shutdown().wait()?;
        }
    }
    Ok(())
}

fn config(url: &str, file: &Path) -> Config {
    let mut config = Config::new(file);
    config.server = Some(url.to_owned());
    config.user_id = Some(String::from("ana"));
    config
}

fn open(url: &str, file: &Path) -> Result<Client> {
    Ok(Client::open(config(url, file)).wait()?)
}

fn plain(file: &Path) -> Result<()> {
    let connection = Connection::open(file)?;
    let mut first = connection.prepare(FIRST)?;
    let mut rows = first.query([])?;
    while let Some(row) = rows.next()? {
        row.get::<_, String>(0)?;
    }
    Ok(())
}

/// A number of this process, in KiB if it is a size.
fn status(name: &str) -> Result<u64> {
    number("/proc/self/status", name)
}

/// How often a thread of this process has waited so far.
fn wakes() -> Result<u64> {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path().join("status");
        total += number(&path.to_string_lossy(), "voluntary_ctxt_switches")?;
    }
    Ok(total)
}

fn number(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| *key == name).context("no such number")?;
    let digits = value.split_whitespace().next().context("no number")?;
    Ok(digits.parse()?)
}

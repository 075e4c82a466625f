//! What the narrator and a device process say to each other: one JSON object a line, over the device's stdin and stdout.
//!
//! A device ends when its stdin closes, so that it cannot outlive the narrator, however that one ends.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::interop;

/// What a device is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Start to sync, and say when the first sync is done.
    FirstSync,
    /// Run these statements in one transaction, as the app would.
    Write { statements: Vec<String> },
    /// Perform a declared action.
    Perform { action: String, arguments: serde_json::Value },
    /// Take a mutation back.
    Undo { id: String },
    /// Take the undo of a mutation back.
    Redo { id: String },
    /// Push and pull, once, and say what came of it.
    Sync,
    /// Push and pull behind the narrator's back; answers at once.
    SyncInBackground,
    /// The mutations of the queue.
    Pending,
    /// Close the database and end.
    Shutdown,
}

/// What a device answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub(crate) enum Report {
    /// How far a sync is.
    Progress { done: u64, total: u64, rate: f64 },
    /// The order was carried out.
    Done { detail: String },
    /// The action was performed, or the undo made: the mutation that it is, and what it gave back.
    Made { id: Option<String>, value: serde_json::Value },
    /// The rules of the action refused it, or other work stands on what was to be undone: nothing was changed.
    Refused { why: String },
    /// Nobody could be reached; everything is kept.
    Offline,
    /// The queue.
    Queue { mutations: Vec<QueueItem> },
    /// The order failed.
    Failed { why: String },
}

/// A mutation as the app sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct QueueItem {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) detail: Option<String>,
}

/// A child process that follows orders.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    name: String,
    /// Whether it is a device of another language, which has words of its own.
    interop: bool,
}

/// How long anything in the story may take; far above what it takes.
const PATIENCE: Duration = Duration::from_secs(20);

impl Process {
    /// Starts this same program with other arguments.
    pub(crate) fn start(name: &str, arguments: &[&str], log: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Self::of(name, command, log)
    }

    /// Starts any program that takes its orders from stdin and answers on stdout.
    pub(crate) fn of(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let errors = std::fs::File::options().create(true).append(true).open(log)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no stdout")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, stdin, lines, name: name.to_owned(), interop: false })
    }

    /// From here on it is given orders in the words of `tests/interop`.
    pub(crate) fn speaks_interop(&mut self) {
        self.interop = true;
    }

    /// The next line that the process prints.
    pub(crate) fn line(&self) -> Result<String> {
        self.lines
            .recv_timeout(PATIENCE)
            .with_context(|| format!("{} said nothing for {} s", self.name, PATIENCE.as_secs()))
    }

    /// Gives an order without waiting for the answer.
    pub(crate) fn order(&mut self, order: &Order) -> Result<()> {
        self.write(order)
    }

    /// Writes a line.
    pub(crate) fn write(&mut self, order: &impl Serialize) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the process was ended")?;
        writeln!(stdin, "{}", serde_json::to_string(order)?)?;
        Ok(stdin.flush()?)
    }

    /// Gives an order and waits for its end; `progress` hears what comes between.
    pub(crate) fn carry_out(
        &mut self,
        order: &Order,
        mut progress: impl FnMut(u64, u64, f64),
    ) -> Result<Report> {
        if self.interop {
            return interop::carry_out(self, order).with_context(|| self.name.clone());
        }
        self.order(order)?;
        loop {
            let line = self.line()?;
            match serde_json::from_str(&line).with_context(|| format!("{}: {line}", self.name))? {
                Report::Progress { done, total, rate } => progress(done, total, rate),
                Report::Failed { why } => bail!("{}: {order:?} failed: {why}", self.name),
                report => return Ok(report),
            }
        }
    }

    /// The process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as the power going out would: SIGKILL, and nothing is flushed or said.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.stdin = None;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None; // Its stdin ends, and with it the process ...
        for _ in 0..50 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill(); // ... or after a second, without being asked.
        let _ = self.child.wait();
    }
}

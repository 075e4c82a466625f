//! The protocol between the controller and a device process: one JSON object per line over
//! stdin and stdout.
//!
//! A device exits when its stdin closes, so it cannot outlive the controller.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::interop;

/// A command to a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Start syncing, and report when the first sync is complete.
    FirstSync,
    /// Run these statements in one transaction.
    Write { statements: Vec<String> },
    /// Perform a declared action.
    Perform { action: String, arguments: serde_json::Value },
    /// Undo a mutation.
    Undo { id: String },
    /// Redo an undone mutation.
    Redo { id: String },
    /// Discard a parked mutation or entry.
    Discard { id: String },
    /// Subscribe to a stream.
    Subscribe { stream: String, parameters: BTreeMap<String, String> },
    /// End this subscription.
    Unsubscribe { stream: String, parameters: BTreeMap<String, String> },
    /// Push and pull once, and report the result.
    Sync,
    /// Push and pull in the background; answers at once.
    SyncInBackground,
    /// Report the mutations of the queue.
    Pending,
    /// Close the database and exit.
    Shutdown,
}

/// An answer of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub(crate) enum Report {
    /// The progress of a sync.
    Progress { done: u64, total: u64, rate: f64 },
    /// The command succeeded.
    Done { detail: String },
    /// The action, undo or redo succeeded: its mutation and its return value.
    Made { id: Option<String>, value: serde_json::Value },
    /// A precondition of the action failed, or later changes prevent the undo. Nothing was changed.
    Refused { why: String },
    /// The server did not respond; all mutations stay queued.
    Offline,
    /// The queue.
    Queue { mutations: Vec<QueueItem> },
    /// The command failed.
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

/// A child process that executes commands.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    name: String,
    /// Whether it is a device in another language, which uses the protocol of `tests/interop`.
    interop: bool,
}

/// Timeout of each answer; far above the normal duration.
const TIMEOUT: Duration = Duration::from_secs(20);

impl Process {
    /// Starts this program with other arguments.
    pub(crate) fn start(name: &str, arguments: &[&str], log: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Self::of(name, command, log)
    }

    /// Starts a program that reads commands from stdin and answers on stdout.
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

    /// Switches to the protocol of `tests/interop`.
    pub(crate) fn speaks_interop(&mut self) {
        self.interop = true;
    }

    /// The next line that the process prints.
    pub(crate) fn line(&self) -> Result<String> {
        self.lines
            .recv_timeout(TIMEOUT)
            .with_context(|| format!("{} printed nothing for {} s", self.name, TIMEOUT.as_secs()))
    }

    /// Sends a command without waiting for the answer.
    pub(crate) fn order(&mut self, order: &Order) -> Result<()> {
        self.write(order)
    }

    /// Writes a line.
    pub(crate) fn write(&mut self, order: &impl Serialize) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the process was killed")?;
        writeln!(stdin, "{}", serde_json::to_string(order)?)?;
        Ok(stdin.flush()?)
    }

    /// Sends a command and waits for its answer; calls `progress` for each progress report.
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

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process with SIGKILL: it cannot flush or report anything.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.stdin = None;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None; // The process exits when its stdin closes ...
        for _ in 0..50 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill(); // ... or is killed after a second.
        let _ = self.child.wait();
    }
}

//! Child processes of a run, and the signals sent to them. A process is killed when dropped.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::device::{Answer, Order};

/// Response timeout of a process on a loaded machine.
const ANSWER_DEADLINE: Duration = Duration::from_mins(2);

/// This program, started in another role.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// Starts the process; its standard error is appended to `NAME.log` in the folder.
    pub(crate) fn start(name: &str, arguments: &[String], folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(log)?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("a piped child has a standard output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { name: name.to_owned(), child, stdin, lines })
    }

    /// The address that a server prints once it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.line()?.parse()?)
    }

    /// Sends a command to a device without waiting for the response.
    pub(crate) fn send(&mut self, order: Order) -> Result<()> {
        let stdin = self.stdin.as_mut().context("no standard input")?;
        writeln!(stdin, "{}", serde_json::to_string(&order)?)
            .with_context(|| format!("{} has ended", self.name))
    }

    /// The response to the oldest unanswered command.
    pub(crate) fn answer(&self) -> Result<Answer> {
        let line = self.line()?;
        serde_json::from_str(&line).with_context(|| format!("{}: {line}", self.name))
    }

    /// Sends a command to a device and waits for the response.
    pub(crate) fn ask(&mut self, order: Order) -> Result<Answer> {
        self.send(order)?;
        self.answer()
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether the process is still running.
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Stops the process with SIGSTOP.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Continues the process with SIGCONT.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("no process id")?;
        Ok(kill_process(pid, signal)?)
    }

    fn line(&self) -> Result<String> {
        let line = self.lines.recv_timeout(ANSWER_DEADLINE);
        line.with_context(|| format!("{} does not respond; see its log", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A child process with a line protocol: one response line per command line. Killed when dropped.

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Response timeout. It covers the start of a virtual machine on a busy computer, and a device that
/// waits 30 s for a server.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(90);

#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    log: PathBuf,
}

impl Process {
    /// Starts the process; its standard error is written to a log file in `folder`.
    pub(crate) fn start(how: &crate::Command, folder: &Path) -> Result<Self> {
        let crate::Command { name, folder: working_folder, words } = how;
        let log = folder.join(format!("{name}.log"));
        let errors = File::options().create(true).append(true).open(&log)?;
        let (program, arguments) = words.split_first().context("no command")?;
        let mut command = Command::new(program);
        if let Some(working_folder) = working_folder {
            command.current_dir(working_folder);
        }
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {name}: {program}"))?;
        let orders = child.stdin.take();
        let output = child.stdout.take().context("the child has no standard output")?;
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { name: name.clone(), child, orders, answers, log })
    }

    /// Sends a command without waiting.
    pub(crate) fn order(&mut self, order: &Json) -> Result<()> {
        let orders = self.orders.as_mut().context("the process was killed")?;
        let written = writeln!(orders, "{order}").and_then(|()| orders.flush());
        written.with_context(|| format!("{} has exited{}", self.name, self.log_tail()))
    }

    /// The next response.
    pub(crate) fn answer(&self) -> Result<Json> {
        let Ok(line) = self.answers.recv_timeout(RESPONSE_TIMEOUT) else {
            bail!("{} does not respond{}", self.name, self.log_tail());
        };
        serde_json::from_str(&line)
            .with_context(|| format!("{}: response is not JSON: {line}", self.name))
    }

    /// Sends a command and returns any response.
    pub(crate) fn ask(&mut self, order: &Json) -> Result<Json> {
        self.order(order)?;
        self.answer()
    }

    /// Sends a command that must succeed.
    pub(crate) fn must(&mut self, order: &Json) -> Result<Json> {
        let answer = self.ask(order)?;
        if let Some(error) = answer.get("error") {
            let reason = answer.get("reason").and_then(Json::as_str).unwrap_or_default();
            bail!("{}: {order} failed: {error} {reason}", self.name);
        }
        Ok(answer)
    }

    /// Kills the process without warning and waits for its exit.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.orders = None;
        // The pipe closes with the last process that holds it: this also waits for the child of a
        // killed wrapper.
        while self.answers.recv_timeout(RESPONSE_TIMEOUT).is_ok() {}
        Ok(())
    }

    /// Waits for the process to exit; returns whether its exit code is 0.
    pub(crate) fn ended(&mut self) -> Result<bool> {
        self.orders = None;
        if self.answers.recv_timeout(RESPONSE_TIMEOUT).is_ok() {
            bail!("{} sent an unexpected line", self.name);
        }
        Ok(self.child.wait()?.success())
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(20)..].join("\n");
        if last.is_empty() { last } else { format!("; end of its log:\n{last}") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A child process that answers each line by a line. It is ended when it is dropped.

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// No answer takes as long, the start of a virtual machine on a busy computer included; a device may wait 30 s for a server.
const PATIENCE: Duration = Duration::from_secs(90);

/// A process to speak with.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it says on standard error is kept in the folder.
    pub(crate) fn start(how: &crate::Command, folder: &Path) -> Result<Self> {
        let crate::Command { name, folder: place, words } = how;
        let log = folder.join(format!("{name}.log"));
        let errors = File::options().create(true).append(true).open(&log)?;
        let (program, arguments) = words.split_first().context("no command")?;
        let mut command = Command::new(program);
        if let Some(place) = place {
            command.current_dir(place);
        }
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {name}: {program}"))?;
        let orders = child.stdin.take();
        let output = child.stdout.take().context("a piped child has a standard output")?;
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

    /// Gives an order without waiting.
    pub(crate) fn order(&mut self, order: &Json) -> Result<()> {
        let orders = self.orders.as_mut().context("the process was ended")?;
        let written = writeln!(orders, "{order}").and_then(|()| orders.flush());
        written.with_context(|| format!("{} is gone{}", self.name, self.said()))
    }

    /// The next answer.
    pub(crate) fn answer(&self) -> Result<Json> {
        let Ok(line) = self.answers.recv_timeout(PATIENCE) else {
            bail!("{} does not answer{}", self.name, self.said());
        };
        serde_json::from_str(&line).with_context(|| format!("{} says no JSON: {line}", self.name))
    }

    /// Gives an order and waits for the answer, whatever it is.
    pub(crate) fn ask(&mut self, order: &Json) -> Result<Json> {
        self.order(order)?;
        self.answer()
    }

    /// Gives an order that must not fail.
    pub(crate) fn must(&mut self, order: &Json) -> Result<Json> {
        let answer = self.ask(order)?;
        if let Some(error) = answer.get("error") {
            let reason = answer.get("reason").and_then(Json::as_str).unwrap_or_default();
            bail!("{}: {order} failed: {error} {reason}", self.name);
        }
        Ok(answer)
    }

    /// Ends it as the power going out would, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.orders = None;
        // The pipe ends with the last process that holds it: where a wrapper was killed, what it wrapped is waited for.
        while self.answers.recv_timeout(PATIENCE).is_ok() {}
        Ok(())
    }

    /// Waits until it has ended by itself; whether with code 0.
    pub(crate) fn ended(&mut self) -> Result<bool> {
        self.orders = None;
        if self.answers.recv_timeout(PATIENCE).is_ok() {
            bail!("{} says something that nobody asked for", self.name);
        }
        Ok(self.child.wait()?.success())
    }

    fn said(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(20)..].join("\n");
        if last.is_empty() { last } else { format!("; its last words:\n{last}") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A device under test: its process, its database file, and the edits that it made.

use crate::Command;
use crate::process::Process;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How a device is opened. All devices share it, except for the database file.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) token: String,
    pub(crate) schema: Json,
}

/// One edit: a mutation of the device's queue, read right after the write.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) id: String,
    /// The written rows and columns, without old values.
    pub(crate) payload: Json,
}

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) edits: Vec<Edit>,
    command: Command,
    folder: PathBuf,
    process: Process,
    account: Account,
    /// Skips the next write, to simulate a device that drops an edit.
    pub(crate) drops_next: bool,
}

impl Device {
    /// Starts the process and opens its file.
    pub(crate) fn start(command: &Command, folder: &Path, account: &Account) -> Result<Self> {
        let process = Process::start(command, folder)?;
        let mut device = Self {
            name: command.name.clone(),
            edits: Vec::new(),
            command: command.clone(),
            folder: folder.to_owned(),
            process,
            account: account.clone(),
            drops_next: false,
        };
        device.open()?;
        Ok(device)
    }

    fn open(&mut self) -> Result<()> {
        let Account { url, user, token, schema } = &self.account;
        let order = json!({
            "do": "open", "path": self.file(), "url": url, "user": user, "token": token, "schema": schema,
            "actions": crate::story::actions_of(&self.name),
        });
        self.process.must(&order).map(drop)
    }

    fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.db", self.name))
    }

    /// Kills the process and restarts it with the same database file, or without it.
    pub(crate) fn crash(&mut self, file_is_lost: bool) -> Result<()> {
        self.process.kill()?;
        if file_is_lost {
            for suffix in ["", "-wal", "-shm"] {
                let path = format!("{}{suffix}", self.file().display());
                let _ = std::fs::remove_file(path);
            }
        }
        self.process = Process::start(&self.command, &self.folder)?;
        self.open()
    }

    /// Sends a command that must succeed.
    pub(crate) fn must(&mut self, order: &Json) -> Result<Json> {
        self.process.must(order)
    }

    /// Sends a command and returns any response.
    pub(crate) fn ask(&mut self, order: &Json) -> Result<Json> {
        self.process.ask(order)
    }

    /// Sends a command that must fail, and returns the kind of the error.
    pub(crate) fn refusal(&mut self, order: &Json) -> Result<String> {
        let answer = self.ask(order)?;
        let error = answer.get("error").and_then(Json::as_str);
        Ok(error
            .with_context(|| format!("{}: {order} did not fail: {answer}", self.name))?
            .to_owned())
    }

    /// Sends many commands without waiting, then waits for the first `expected` responses.
    pub(crate) fn flood(&mut self, orders: &[Json], expected: usize) -> Result<()> {
        for order in orders {
            self.process.order(order)?;
        }
        for _ in 0..expected {
            let answer = self.process.answer()?;
            ensure!(answer.get("error").is_none(), "{}: {answer}", self.name);
        }
        Ok(())
    }

    /// One write with one statement. It must be in the queue at once, as one mutation.
    pub(crate) fn edit(&mut self, sql: &str, params: &[Json]) -> Result<()> {
        self.write(&json!({"do": "exec", "sql": sql, "params": params}))
    }

    /// One write with several statements in one transaction.
    pub(crate) fn edit_together(&mut self, statements: &[Json]) -> Result<()> {
        self.write(&json!({"do": "transaction", "steps": statements}))
    }

    fn write(&mut self, order: &Json) -> Result<()> {
        if !std::mem::take(&mut self.drops_next) {
            self.must(order)?;
        }
        let fresh = self.note()?;
        ensure!(fresh == 1, "{}: {order} made {fresh} mutations in the queue", self.name);
        Ok(())
    }

    /// Records new mutations of the queue and returns their number.
    pub(crate) fn note(&mut self) -> Result<usize> {
        let recorded: BTreeSet<String> = self.edits.iter().map(|edit| edit.id.clone()).collect();
        let pending = self.pending()?;
        let fresh = pending.into_iter().filter(|(edit, _)| !recorded.contains(&edit.id));
        let before = self.edits.len();
        self.edits.extend(fresh.map(|(edit, _)| edit));
        Ok(self.edits.len() - before)
    }

    /// The queue: each mutation with its state.
    pub(crate) fn pending(&mut self) -> Result<Vec<(Edit, String)>> {
        let answer = self.must(&json!({"do": "pending"}))?;
        let list = answer["pending"].as_array().context("no list of what is pending")?;
        list.iter()
            .map(|entry| {
                let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                let reason =
                    entry["reason"].as_str().map_or(String::new(), |why| format!(" {why}"));
                let edit = Edit { id: text("id"), payload: payload(entry)? };
                Ok((edit, text("state") + &reason))
            })
            .collect()
    }

    /// The rows of a query, without loss of precision.
    pub(crate) fn rows(&mut self, sql: &str) -> Result<Vec<Json>> {
        let answer = self.must(&json!({"do": "rows", "sql": sql, "params": []}))?;
        let rows = answer["rows"].as_array().with_context(|| format!("no rows: {answer}"))?;
        Ok(rows.clone())
    }

    /// Pushes and pulls. Returns whether anything changed.
    pub(crate) fn sync(&mut self) -> Result<bool> {
        let report = self.must(&json!({"do": "sync"}))?;
        let number = |name: &str| {
            report[name].as_u64().with_context(|| format!("{}: no {name} in {report}", self.name))
        };
        let numbers = ["accepted", "parked", "pulled", "still_pending"].map(number);
        numbers.into_iter().try_fold(false, |any, number| Ok(any | (number? > 0)))
    }

    /// Quits the device and waits until its process has exited.
    pub(crate) fn quit(&mut self) -> Result<()> {
        self.must(&json!({"do": "quit"}))?;
        if !self.process.ended()? {
            bail!("{} ended badly", self.name);
        }
        Ok(())
    }
}

/// Table, key, operation and written columns of every row.
fn payload(entry: &Json) -> Result<Json> {
    let rows = entry["rows"].as_array().with_context(|| format!("no rows in {entry}"))?;
    let row = |row: &Json| {
        let columns = row["columns"].as_array().with_context(|| format!("no columns in {row}"))?;
        let written: Vec<Json> =
            columns.iter().map(|column| json!([column["name"], column["new"]])).collect();
        Ok(json!([row["table"], row["key"], row["operation"], written]))
    };
    Ok(Json::Array(rows.iter().map(row).collect::<Result<_>>()?))
}

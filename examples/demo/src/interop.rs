//! A device in another language: the device program of `tests/interop`, which has its own protocol.
//!
//! One JSON object per line, each answered by one line. A file contains the command line of the
//! program as `{"words": [..], "folder": .. | null}`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::control::{Order, Process, Report};
use crate::scene::USER;
use crate::stock::TAKE_PART;

/// The command line of the program.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Program {
    words: Vec<String>,
    folder: Option<String>,
}

impl Program {
    /// Reads the command line from a file.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read(file).with_context(|| file.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| file.display().to_string())
    }

    /// Starts the program and makes it open its database file.
    pub(crate) fn open(&self, name: &str, file: &Path, url: &str, log: &Path) -> Result<Process> {
        let [program, arguments @ ..] = self.words.as_slice() else { bail!("{name}: no program") };
        let mut command = Command::new(program);
        command.args(arguments);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let mut process = Process::of(name, command, log)?;
        let actions: Json = serde_json::from_str(TAKE_PART)?;
        let order =
            json!({"do": "open", "path": file, "url": url, "user": USER, "actions": [actions]});
        exchange(&mut process, &order)?;
        process.speaks_interop();
        Ok(process)
    }
}

/// Sends a command in the protocol of `tests/interop`.
pub(crate) fn carry_out(process: &mut Process, order: &Order) -> Result<Report> {
    let text = match order {
        Order::Perform { action, arguments } => {
            json!({"do": "perform", "action": action, "arguments": arguments})
        }
        Order::Undo { id } => json!({"do": "undo", "id": id}),
        Order::Redo { id } => json!({"do": "redo", "id": id}),
        Order::Sync => json!({"do": "sync"}),
        Order::Shutdown => json!({"do": "quit"}),
        other => bail!("a device in another language has no command for {other:?}"),
    };
    let answer = exchange(process, &text)?;
    if let Some(why) = answer["reason"].as_str() {
        return Ok(Report::Refused { why: why.to_owned() });
    }
    Ok(match order {
        Order::Perform { .. } | Order::Undo { .. } | Order::Redo { .. } => Report::Made {
            id: answer["id"].as_str().map(str::to_owned),
            value: answer["value"].clone(),
        },
        Order::Sync => Report::Done {
            detail: format!(
                "pushed and pulled: {} accepted, {} parked, {} rows pulled",
                answer["accepted"], answer["parked"], answer["pulled"]
            ),
        },
        _ => Report::Done { detail: String::new() },
    })
}

/// Writes one line and reads one. A refusal is a valid answer; any other error fails.
fn exchange(process: &mut Process, order: &Json) -> Result<Json> {
    process.write(order)?;
    let line = process.line()?;
    let answer: Json = serde_json::from_str(&line).with_context(|| line.clone())?;
    match answer["error"].as_str() {
        None | Some("Action" | "Changed") => Ok(answer),
        Some(_) => bail!("{order} failed: {line}"),
    }
}

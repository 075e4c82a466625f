//! Reports the outcome of each scenario, as text or JSON.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::client::Exchange;
use crate::scenarios::Scenario;

/// Maximum characters of a body in the text report.
const SHOWN: usize = 2_000;

/// Outcome of a scenario.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    Failed(String, Vec<Exchange>),
    NotApplicable(String),
}

/// The outcomes so far.
pub(crate) struct Report<'o> {
    out: &'o mut dyn Write,
    url: String,
    table: String,
    json: bool,
    entries: Vec<Value>,
    passed: usize,
    failed: usize,
    skipped: usize,
    /// Rows that could not be deleted.
    pub(crate) left: Vec<String>,
}

impl<'o> Report<'o> {
    pub(crate) fn new(
        url: &str,
        table: &str,
        json: bool,
        out: &'o mut dyn Write,
    ) -> io::Result<Self> {
        let (url, table) = (url.to_owned(), table.to_owned());
        if !json {
            writeln!(out, "{url}: creating rows in {table}")?;
        }
        Ok(Self {
            out,
            url,
            table,
            json,
            entries: Vec::new(),
            passed: 0,
            failed: 0,
            skipped: 0,
            left: Vec::new(),
        })
    }

    /// Adds the outcome of a scenario.
    pub(crate) fn add(&mut self, scenario: &Scenario, outcome: Outcome) -> io::Result<()> {
        let name = scenario.name;
        let mut entry = json!({"name": name, "fixes": scenario.fixes});
        match outcome {
            Outcome::Passed => {
                self.passed += 1;
                entry["outcome"] = json!("passed");
                self.line(|| format!("passed          {name}"))?;
            }
            Outcome::NotApplicable(why) => {
                self.skipped += 1;
                entry["outcome"] = json!("not_applicable");
                entry["why"] = json!(why);
                self.line(|| format!("not applicable  {name}: {why}"))?;
            }
            Outcome::Failed(why, exchanges) => {
                self.failed += 1;
                entry["outcome"] = json!("failed");
                entry["why"] = json!(why);
                entry["exchange"] = exchanges.last().map_or(Value::Null, as_json);
                self.line(|| format!("failed          {name}: {why}"))?;
                if let Some(fixes) = scenario.fixes {
                    self.line(|| format!("                (v0.1.2 fails it too: {fixes})"))?;
                }
                if let Some(exchange) = exchanges.last() {
                    self.line(|| as_lines(exchange))?;
                }
            }
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Writes the totals; returns an error if a scenario failed.
    pub(crate) fn close(mut self) -> anyhow::Result<()> {
        let Self { passed, failed, skipped, .. } = self;
        let left = std::mem::take(&mut self.left);
        for row in &left {
            self.line(|| format!("left behind     {row}"))?;
        }
        self.line(|| format!("{passed} passed, {failed} failed, {skipped} not applicable"))?;
        if self.json {
            let whole = json!({
                "url": self.url, "table": self.table, "passed": passed, "failed": failed,
                "not_applicable": skipped, "left_behind": left, "scenarios": self.entries,
            });
            writeln!(self.out, "{whole:#}")?;
        }
        anyhow::ensure!(failed == 0, "{failed} of {} scenarios failed", passed + failed + skipped);
        Ok(())
    }

    fn line(&mut self, line: impl FnOnce() -> String) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(self.out, "{}", line()) }
    }
}

fn as_json(exchange: &Exchange) -> Value {
    let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let Exchange { method, path, sent, status, received, .. } = exchange;
    let headers: serde_json::Map<String, Value> =
        exchange.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "request": {"method": method, "path": path, "body": read(sent)},
        "answer": {"status": status, "headers": headers, "body": read(received)},
    })
}

fn as_lines(exchange: &Exchange) -> String {
    let cut = |text: &str| match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{} ... ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    };
    let Exchange { method, path, sent, status, received, .. } = exchange;
    format!("    {method} {path} {}\n    {status} {}", cut(sent), cut(received))
}

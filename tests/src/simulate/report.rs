//! The report of a run: always counts, and a trace where it is printed.

use std::collections::BTreeMap;

/// Counts and trace of one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RunReport {
    lines: Option<Vec<String>>,
    counts: BTreeMap<&'static str, u64>,
}

impl RunReport {
    /// A report that also keeps every trace line.
    pub fn with_trace() -> Self {
        Self { lines: Some(Vec::new()), ..Self::default() }
    }

    /// Adds a line to the trace; the closure runs only if the trace is kept.
    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(line());
        }
    }

    /// Counts an event once.
    pub fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    /// Counts an event `times` times.
    pub fn add(&mut self, what: &'static str, times: u64) {
        if times > 0 {
            *self.counts.entry(what).or_default() += times;
        }
    }

    /// Every event, with its count.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// The trace, if it is kept.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

//! What a run reports: counts always, its trace only where it is printed.

use std::collections::BTreeMap;

/// Counts and trace of one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    lines: Option<Vec<String>>,
    counts: BTreeMap<&'static str, u64>,
}

impl Told {
    /// Counts, and keeps every line.
    pub fn telling() -> Self {
        Self { lines: Some(Vec::new()), ..Self::default() }
    }

    /// A line of the trace; it is made only where the trace is kept.
    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(line());
        }
    }

    /// Something happened once more.
    pub fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    /// Something happened so many times.
    pub fn add(&mut self, what: &'static str, times: u64) {
        if times > 0 {
            *self.counts.entry(what).or_default() += times;
        }
    }

    /// Everything that happened, with how often.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// The trace, where it is kept.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

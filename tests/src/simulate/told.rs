//! What a world tells of itself: counts always, its story only to who asks for it.

use std::collections::BTreeMap;

/// Counts and story of one world.
#[derive(Debug, Default)]
pub struct Told {
    telling: bool,
    lines: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Told {
    /// Counts, and nothing is written down: most worlds hold, and nobody reads of them.
    pub fn counting() -> Self {
        Self::default()
    }

    /// Counts, and every line is kept.
    pub fn telling() -> Self {
        Self { telling: true, ..Self::default() }
    }

    /// A line of the story; it is made only if somebody listens.
    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if self.telling {
            self.lines.push(line());
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

    /// How often something happened.
    pub fn times(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    /// Everything that happened, with how often.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// The story, where it was asked for.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

//! What the log model costs: worlds without faults, in which only contention differs, and the figures that come of them.
//!
//! Even seeds are quiet: many rows, everybody on his own mostly. Odd seeds are hot: one row, everybody on it.

use super::super::{Model, Rule, Sum, Told};
use super::live;
use super::setting::Setting;
use super::step::{self, Step, What};

/// Worlds in which costs are measured.
#[derive(Debug, Clone, Copy)]
pub struct LogCost;

impl Model for LogCost {
    type Step = Step;

    fn name(&self) -> &'static str {
        "log-cost"
    }

    fn steps(&self, seed: u64) -> Vec<Step> {
        let common = [What::Write, What::Fetch, What::Publish, What::Sync];
        step::steps(seed, |what| common.contains(&what).into())
    }

    fn live(&self, seed: u64, steps: &[Step], told: &mut Told) -> Result<(), String> {
        let hot = seed % 2 == 1;
        let before = counts(told);
        live(Setting::contended(seed, hot), seed, steps, told)?;
        let names = if hot { HOT } else { QUIET };
        for ((name, now), before) in names.into_iter().zip(counts(told)).zip(before) {
            told.add(name, now - before);
        }
        Ok(())
    }

    fn expected(&self) -> &'static [&'static str] {
        &["quiet: entries", "hot: entries", "hot: corrections"]
    }

    fn limited(&self) -> &'static [(&'static str, u64)] {
        &[]
    }

    fn mutants(&self) -> &'static [(&'static str, Rule)] {
        &[]
    }

    fn figures(&self, sum: &Sum) -> Vec<String> {
        [("quiet", QUIET), ("hot", HOT)]
            .into_iter()
            .map(|(worlds, names)| figures(worlds, names, sum))
            .collect()
    }
}

const COUNTED: [&str; 5] = [
    "an entry is accepted",
    "a correction is accepted",
    "an entry arrives late",
    "an item is sent",
    "an item is sent again for its view",
];
const QUIET: [&str; 5] = [
    "quiet: entries",
    "quiet: corrections",
    "quiet: late arrivals",
    "quiet: items",
    "quiet: items for their views",
];
const HOT: [&str; 5] = [
    "hot: entries",
    "hot: corrections",
    "hot: late arrivals",
    "hot: items",
    "hot: items for their views",
];

fn counts(told: &Told) -> [u64; 5] {
    COUNTED.map(|what| told.times(what))
}

fn figures(worlds: &str, names: [&'static str; 5], sum: &Sum) -> String {
    let times = names.map(|name| sum.counts.get(name).copied().unwrap_or_default());
    let per_entry = |times: u64| thousandths(times, times_of(sum, names[0]));
    format!(
        "{worlds} worlds: {} entries, of which {} late; per entry {} corrections, {} items sent, {} of them only because a view changed",
        times[0],
        times[2],
        per_entry(times[1]),
        per_entry(times[3]),
        per_entry(times[4]),
    )
}

/// What all worlds together cost.
pub(super) fn corrections(sum: &Sum) -> String {
    let (entries, corrections) = (times_of(sum, COUNTED[0]), times_of(sum, COUNTED[1]));
    format!(
        "{entries} entries, per entry {} corrections by authors",
        thousandths(corrections, entries)
    )
}

fn times_of(sum: &Sum, name: &str) -> u64 {
    sum.counts.get(name).copied().unwrap_or_default()
}

/// A fraction with three digits.
fn thousandths(part: u64, whole: u64) -> String {
    let thousandths = part * 1_000 / whole.max(1);
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}

//! Output: a line per run, and a Markdown table of all runs by store, number of devices and fault.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::check;
use crate::nemesis::Fault;
use crate::run::{Outcome, Plan};
use crate::{Scope, Store, name};

/// The command that repeats a run.
pub(crate) fn command(plan: &Plan) -> String {
    let Plan { seed, store, devices, fault, writes, length, broken } = plan;
    let broken = broken.map(|broken| format!(" --break {}", name(&broken))).unwrap_or_default();
    format!(
        "cargo xtask jepsen --runs 1 --seed {seed} --store {} --devices {devices} --fault {} --writes {} --seconds {}{broken}",
        name(store),
        name(fault),
        name(writes),
        length.as_secs(),
    )
}

/// The result line of a run.
pub(crate) fn line(number: usize, plan: &Plan, outcome: &Outcome) -> String {
    let Plan { seed, store, devices, fault, writes, .. } = plan;
    let mark = if outcome.violations.is_empty() { "[ok]" } else { "[BROKEN]" };
    let counts = check::counts(&outcome.violations);
    let counts: Vec<String> =
        counts.iter().map(|(property, count)| format!("{count} x {property:?}")).collect();
    format!(
        "{mark} {number}. seed {seed}, {}, {devices} devices, {}, writes {}: {} transactions, {} faults, {} reads of stopped files, queues empty after {:.1} s, same rows after {:.1} s{}{}",
        name(store),
        name(fault),
        name(writes),
        outcome.transactions,
        outcome.faults,
        outcome.stopped,
        outcome.drained.as_secs_f64(),
        outcome.converged.as_secs_f64(),
        if counts.is_empty() { "" } else { "; " },
        counts.join(", "),
    )
}

/// Totals of the runs of one kind.
#[derive(Debug, Default)]
struct Sum {
    runs: usize,
    failed: usize,
    transactions: usize,
    faults: usize,
    drained: Duration,
    converged: Duration,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.failed += other.failed;
        self.transactions += other.transactions;
        self.faults += other.faults;
        self.drained = self.drained.max(other.drained);
        self.converged = self.converged.max(other.converged);
    }
}

/// All runs.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<(Scope, Store, usize, Fault), Sum>);

impl Table {
    /// Adds a run.
    pub(crate) fn add(&mut self, plan: &Plan, outcome: &Outcome) {
        let sum = self.0.entry((plan.writes, plan.store, plan.devices, plan.fault)).or_default();
        sum.add(&Sum {
            runs: 1,
            failed: usize::from(!outcome.violations.is_empty()),
            transactions: outcome.transactions,
            faults: outcome.faults,
            drained: outcome.drained,
            converged: outcome.converged,
        });
    }

    /// Number of failed runs.
    pub(crate) fn failed(&self) -> usize {
        self.0.values().map(|sum| sum.failed).sum()
    }

    /// The table in Markdown, with the total as its last row.
    pub(crate) fn markdown(&self) -> String {
        let head = "| Writes | Store | Devices | Fault | Runs | Failed | Transactions | Faults | Queue empty after | Same rows after |\n\
                    |---|---|---|---|---|---|---|---|---|---|";
        let mut lines = vec![head.to_owned()];
        let mut total = Sum::default();
        for ((writes, store, devices, fault), sum) in &self.0 {
            let kind = format!("{} | {} | {devices} | {}", name(writes), name(store), name(fault));
            lines.push(row(&kind, sum));
            total.add(sum);
        }
        lines.push(row("all | | |", &total));
        lines.join("\n")
    }
}

fn row(kind: &str, sum: &Sum) -> String {
    let Sum { runs, failed, transactions, faults, drained, converged } = sum;
    let (drained, converged) = (drained.as_secs_f64(), converged.as_secs_f64());
    format!(
        "| {kind} | {runs} | {failed} | {transactions} | {faults} | {drained:.1} s | {converged:.1} s |"
    )
}

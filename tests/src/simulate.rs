//! Simulation: generates runs of devices and servers by seed, and checks invariants in each of them.
//!
//! A [`Model`] defines a run: the steps that follow from a seed, and how they are executed. This
//! module has what all models share: threads, counts, limits, shrinking, and the check that each
//! mutation switch is noticed. It depends on no device, server or SQLite; only `exchange` and `wire`
//! do, which the models `rows` and `plain` share.
//!
//! The same seed and steps give the same run on every machine. Each step works without the others,
//! so that shrinking can leave out steps one by one. A run fails by a named invariant or by another
//! error; only a named invariant notices a mutant.

mod claims;
mod exchange;
mod executor;
pub mod log;
pub mod plain;
mod report;
pub mod rows;
mod shrink;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;

use rejoin_protocol::mutant::Mutant;

pub use claims::{SimulationOptions, simulate};
pub use executor::{FailedRun, RunTotals, execute_run, execute_runs};
pub use report::RunReport;
pub use shrink::shrink;

/// How often each expected event must happen in [`Model::coverage_runs`] runs.
pub const MIN_OCCURRENCES: u64 = 5;

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// An invariant does not hold: its name, and what was found.
    Invariant(&'static str, String),
    /// Anything else: an unexpected error, or a panic.
    Other(String),
}

/// What a check returns.
pub type Checked<T = ()> = Result<T, Failure>;

/// The named invariant does not hold; what was found is formatted as by `format!`.
macro_rules! broken {
    ($invariant:expr, $($detail:tt)+) => {
        Err($crate::simulate::Failure::Invariant($invariant, format!($($detail)+)))
    };
}
use broken;

impl Failure {
    /// The name of the invariant, or `unexpected`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Invariant(name, _) => name,
            Self::Other(_) => "unexpected",
        }
    }
}

impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self::Other(what)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Invariant(_, detail) | Self::Other(detail)) = self;
        write!(out, "{}: {detail}", self.name())
    }
}

/// A mutation switch of the product, and the invariants of which one must report it.
#[derive(Debug, Clone, Copy)]
pub struct Switch {
    /// The rule of the product that it breaks, as `--mutant` names it.
    pub rule: &'static str,
    /// What it switches.
    pub mutant: Mutant,
    /// A run that notices it, which is tried first. A change of the product or of the simulation may
    /// change the run: then all seeds are searched.
    pub seed: u64,
    /// The names of the invariants that notice it.
    pub noticed_by: &'static [&'static str],
}

/// A table of switches: the rule, what is switched, the seed of a run that notices it, and the
/// names of the invariants that notice it.
macro_rules! switches {
    ($($rule:literal, $mutant:expr, $seed:literal => $($name:literal),+;)*) => {
        &[$($crate::simulate::Switch {
            rule: $rule,
            mutant: $mutant,
            seed: $seed,
            noticed_by: &[$($name),+],
        }),*]
    };
}
use switches;

/// A kind of run.
pub trait Model: Sync {
    /// One operation. It contains all its input, random numbers included, and can be left out.
    type Step: Clone + Send + Sync;

    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Further arguments on the command line that give the same run, with a space before each.
    fn arguments(&self) -> &'static str {
        ""
    }

    /// The steps of a run. The rest of the run (how many devices, which server) follows from the
    /// seed in [`Model::execute`], so that a subset of the steps belongs to the same run.
    fn steps(&self, seed: u64) -> Vec<Self::Step>;

    /// Executes a run to its end and checks the invariants. May panic, which fails the run as well.
    ///
    /// # Errors
    /// Why it failed.
    fn execute(&self, seed: u64, steps: &[Self::Step], report: &mut RunReport) -> Checked;

    /// Events that must happen at least once in all runs together; without them the runs would not
    /// cover the rules.
    fn expected_events(&self) -> &'static [&'static str];

    /// The number of runs in which each of them must happen [`MIN_OCCURRENCES`] times, and within
    /// which each must happen at all.
    fn coverage_runs(&self) -> u64;

    /// Events that may happen in few runs only: the name, and the limit per thousand runs.
    fn limited_events(&self) -> &'static [(&'static str, u64)] {
        &[]
    }

    /// The mutation switches, each of which must be noticed.
    fn switches(&self) -> &'static [Switch];
}

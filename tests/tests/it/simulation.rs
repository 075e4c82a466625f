//! A few runs of each model of the simulation, and that a seed gives the same run again, for a run
//! of the tests alone. The stage `simulate` executes thousands, these among them.

use rejoin_tests::Store;
use rejoin_tests::simulate::{
    Model, RunReport, execute_run, execute_runs, log::Log, plain::Plain, rows::Rows,
};

fn holds<M: Model>(model: &M, runs: u64) {
    let totals = execute_runs(model, 0, runs, 2, None);
    assert_eq!((totals.failed, totals.runs), (None, runs));
}

/// The tag of a position is random, and so is the length of a response that contains one.
fn without_length(line: &str) -> String {
    line.split(" column ").next().unwrap_or_default().to_owned()
}

fn is_the_same_again<M: Model, const N: usize>(model: &M, seeds: [u64; N], marker: &str) {
    let trace = |seed| {
        let mut report = RunReport::with_trace();
        execute_run(model, seed, &model.steps(seed), None, &mut report).unwrap();
        report.lines().iter().map(|line| without_length(line)).collect::<Vec<_>>()
    };
    for seed in seeds {
        let first = trace(seed);
        assert!(first.iter().any(|line| line.contains(marker)), "{first:#?}");
        assert_eq!(first, trace(seed));
    }
}

#[test]
fn rows_invariants_hold_in_the_first_runs() {
    holds(&Rows::default(), 10);
}

#[test]
fn plain_invariants_hold_in_the_first_runs() {
    holds(&Plain, 10);
}

#[test]
fn log_invariants_hold_in_the_first_runs() {
    holds(&Log::default(), 50);
}

#[test]
fn seed_gives_the_same_run_again() {
    is_the_same_again(&Rows::default(), [7, 11], "Pushing");
    is_the_same_again(&Plain, [7, 11], "Pushing");
    is_the_same_again(&Log::default(), [7, 11], "publishes");
}

/// Without PostgreSQL these are skipped, by the word in their path.
mod postgres {
    use super::*;

    const ROWS: Rows = Rows { store: Store::Postgres };

    #[test]
    fn rows_invariants_hold_in_the_first_runs() {
        holds(&ROWS, 2);
    }

    const LOG: Log = Log { store: Store::Postgres };

    #[test]
    fn log_invariants_hold_in_the_first_runs() {
        holds(&LOG, 4);
    }

    #[test]
    fn seed_gives_the_same_run_again() {
        is_the_same_again(&ROWS, [7], "Pushing");
    }
}

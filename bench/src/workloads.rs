//! All workloads: name, reference, and goal.

use crate::measure::Run;
use crate::{action, apply, capture, log, open, push, query, rebase, stream, verdict, watch};

/// A ratio of two variants.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) against: &'static str,
    pub(crate) run: Run,
    /// The number of units of a run.
    pub(crate) scale: usize,
    /// The goal, an upper bound.
    pub(crate) goal: f64,
}

/// Workloads measured by time.
pub(crate) const TIMED: &[Workload] = &[
    Workload {
        name: "capture: insert, 1 row a transaction",
        against: "the floor (row and one queue row)",
        run: capture::ONE_INSERT,
        scale: 5_000,
        goal: 1.10,
    },
    Workload {
        name: "capture: update, 1 row a transaction",
        against: "the floor (row and one queue row)",
        run: capture::ONE_UPDATE,
        scale: 5_000,
        goal: 1.10,
    },
    Workload {
        name: "capture: delete, 1 row a transaction",
        against: "the floor (row and one queue row)",
        run: capture::ONE_DELETE,
        scale: 5_000,
        goal: 1.10,
    },
    Workload {
        name: "capture: insert, 1,000 rows a transaction",
        against: "plain SQLite",
        run: capture::THOUSAND_INSERTS,
        scale: 50_000,
        goal: 1.25,
    },
    Workload {
        name: "capture: update, 1,000 rows a transaction",
        against: "plain SQLite",
        run: capture::THOUSAND_UPDATES,
        scale: 50_000,
        goal: 1.30,
    },
    Workload {
        name: "capture: delete, 1,000 rows a transaction",
        against: "plain SQLite",
        run: capture::THOUSAND_DELETES,
        scale: 50_000,
        goal: 1.40,
    },
    Workload {
        name: "capture: insert, 1,000 rows a transaction, keys that rise",
        against: "plain SQLite",
        run: capture::THOUSAND_RISING,
        scale: 50_000,
        goal: 1.25,
    },
    Workload {
        name: "log: insert, 1 row a transaction",
        against: "the floor (row and one queue row)",
        run: capture::LOG_INSERT,
        scale: 2_000,
        goal: 10.0,
    },
    Workload {
        name: "log: update, 1 row a transaction",
        against: "the floor (row and one queue row)",
        run: capture::LOG_UPDATE,
        scale: 2_000,
        goal: 10.0,
    },
    Workload {
        name: "log: action, 1 a transaction",
        against: "the floor (row and one queue row)",
        run: action::PERFORM_IN_LOG,
        scale: 5_000,
        goal: 10.0,
    },
    Workload {
        name: "log: insert, 1,000 rows a transaction",
        against: "plain SQLite",
        run: capture::LOG_THOUSAND,
        scale: 10_000,
        goal: 10.0,
    },
    Workload {
        name: "log: fetch 10,000 entries of a row each",
        against: "plain sorted INSERT in one transaction",
        run: log::FETCH,
        scale: 10_000,
        goal: 3.0,
    },
    Workload {
        name: "log: an entry before 1,050 others",
        against: "their updates in one plain transaction",
        run: log::LATE,
        scale: 1_050,
        goal: 1.0,
    },
    Workload {
        name: "log: snapshot of 100,000 rows",
        against: "the first sync of the row model",
        run: log::SNAPSHOT,
        scale: 100_000,
        goal: 1.2,
    },
    Workload {
        name: "first sync: page bytes to rows",
        against: "plain sorted INSERT in one transaction",
        run: apply::FIRST_SYNC,
        scale: 100_000,
        goal: 1.0,
    },
    Workload {
        name: "rebase: 1,000 pending, none met",
        against: "the batch with nothing pending",
        run: rebase::NONE_MET,
        scale: 1_000,
        goal: 1.2,
    },
    Workload {
        name: "rebase: 1,000 pending, all met",
        against: "the floor (the same SQL, one transaction)",
        run: rebase::ALL_MET,
        scale: 1_000,
        goal: 1.5,
    },
    Workload {
        name: "rebase: 1,000 pending actions, all run again",
        against: "the floor (the same SQL, one transaction)",
        run: rebase::ALL_RUN_AGAIN,
        scale: 1_000,
        goal: 1.5,
    },
    Workload {
        name: "action: performed, two statements",
        against: "the same two, captured in one transaction",
        run: action::PERFORM,
        scale: 5_000,
        goal: 1.5,
    },
    Workload {
        name: "verdict: 1,000 accepted, each end kept for the app",
        against: "the same, of delivered verdicts",
        run: verdict::ACCEPTED,
        scale: 1_000,
        goal: 1.25,
    },
    Workload {
        name: "query: 10,000 x 8 to a row buffer",
        against: "stepping and reading every cell",
        run: query::TO_BUFFER,
        scale: 10_000,
        goal: 1.15,
    },
    Workload {
        name: "watch: a commit that touches 5 of 100 queries",
        against: "the commit and the 5 queries by hand",
        run: watch::FIVE_OF_A_HUNDRED,
        scale: 100,
        goal: 1.2,
    },
    Workload {
        name: "watch: a stream of remote batches, 20 queries of one table",
        against: "the batches and the 20 queries by hand",
        run: stream::TWENTY,
        scale: 100,
        goal: 1.2,
    },
    Workload {
        name: "open: a pending mutation of 20,000",
        against: "one of 2,000 (linear is 1)",
        run: open::PENDING,
        scale: 20_000,
        goal: 1.25,
    },
];

/// Workloads counted in instructions per unit.
pub(crate) const COUNTED: &[Workload] = &[
    Workload {
        name: "instructions: insert, 1 row a transaction",
        against: "the floor (row and one queue row)",
        run: capture::ONE_INSERT,
        scale: 400,
        goal: 1.40,
    },
    Workload {
        name: "instructions: insert, 100 rows a transaction",
        against: "plain SQLite",
        run: capture::HUNDRED_INSERTS,
        scale: 2_000,
        goal: 1.85,
    },
    Workload {
        name: "instructions: action performed, two statements",
        against: "the same two, captured in one transaction",
        run: action::PERFORM,
        scale: 400,
        goal: 1.5,
    },
    Workload {
        name: "instructions: first sync of a row",
        against: "plain sorted INSERT",
        run: apply::FIRST_SYNC,
        scale: 500,
        goal: 1.05,
    },
    Workload {
        name: "instructions: row synced, updated, and met by a remote row",
        against: "the floor (the same SQL)",
        run: rebase::EVERY_ROW_MET,
        scale: 200,
        goal: 1.5,
    },
    Workload {
        name: "instructions: 100 x 8 to a row buffer",
        against: "stepping and reading every cell",
        run: query::HUNDRED_TO_BUFFER,
        scale: 20,
        goal: 1.10,
    },
    Workload {
        name: "instructions: log: fetched entry of a row",
        against: "plain sorted INSERT",
        run: log::FETCH,
        // A page of fewer entries is written with triggers.
        scale: 300,
        goal: 3.0,
    },
    Workload {
        name: "instructions: push of a created row, by 100",
        against: "plain INSERT, by 100",
        run: push::CREATES,
        scale: 200,
        goal: 2.5,
    },
];

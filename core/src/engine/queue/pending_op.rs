//! A mutation while a rebase has undone it, with its recorded data and its outcome.

use std::collections::HashSet;

use crate::engine::queue::Intent;
use crate::engine::queue::mutation::{Basis, MutationState, ParkReason};
use crate::engine::queue::part::DecidedRows;
use crate::engine::queue::policy_state::PolicyState;
use crate::engine::queue::seen::SeenRow;
use crate::engine::rows::patch::{Effect, RowKey, RowPatch};
use crate::engine::rows::row_index::IndexedEffect;
use crate::ids::{MutationId, Seq, TableNumber};
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// Outcome of an undone mutation in this transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OpOutcome {
    /// It is applied again.
    Stays,
    /// The server has accepted it: it moves to the history.
    Accepted,
    /// It waits for the app's decision.
    Parked(Parking),
    /// The app has discarded it.
    Discarded,
    /// The app has discarded a mutation that a server may have, together with this one.
    Withdrawn(MutationId),
    /// It is applied again in the same transaction, at the end of the queue.
    Lifted,
}

/// Why a mutation is parked, and because of which other one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parking {
    pub(crate) reason: ParkReason,
    pub(crate) because_of: Option<MutationId>,
    pub(crate) detail: Option<String>,
}

/// A mutation that a rebase has undone.
#[derive(Debug, Clone)]
pub(crate) struct PendingOp {
    pub(crate) seq: Seq,
    pub(crate) id: MutationId,
    pub(crate) state: MutationState,
    pub(crate) time_ms: i64,
    /// For an action: its intent and the reads of its last run.
    pub(crate) intent: Option<Intent>,
    pub(crate) attempt: i64,
    pub(crate) effect: IndexedEffect,
    pub(crate) basis: Basis,
    /// What was frozen when it was sent.
    pub(crate) frozen: Option<Vec<u8>>,
    /// The undo as stored; `None` if it is the effect's own.
    pub(crate) undo: Option<Vec<u8>>,
    /// What it really changed on the server, as an effect, if that differs from what it wrote.
    pub(crate) displaced: Option<Vec<u8>>,
    /// State of the tables' policies.
    pub(crate) policy_state: PolicyState,
    /// Rows that already have their verdict.
    pub(crate) parts: DecidedRows,
    /// Whether rows have left the effect in this transaction.
    pub(crate) reduced: bool,
    /// Whether it has run again, and names other rows or tables than before.
    pub(crate) rewritten: bool,
    /// The server's error if it has found the current effect in conflict: it is not sent again
    /// unchanged.
    pub(crate) conflicted: Option<String>,
    /// Rows in which a plain server has decided against it by time: there it is compared like any
    /// other edit.
    pub(crate) outdated: HashSet<RowKey>,
    pub(crate) outcome: OpOutcome,
    /// Whether state, attempt, basis, policy_state or frozen content differ from the stored values.
    pub(crate) changed: bool,
}

impl PendingOp {
    /// Whether a server may already have it: sent, and no verdict.
    pub(crate) fn is_uncertain(&self) -> bool {
        matches!(self.state, MutationState::Sent | MutationState::Uncertain)
    }

    /// Whether it is an action that runs again instead of applying its recorded effect: no server
    /// can have it or a part of it.
    pub(crate) fn replays(&self) -> bool {
        let unsent = self.state == MutationState::Pending || mutant::on(Mutant::UncertainRunAgain);
        unsent && self.parts.is_empty() && !self.reads().is_empty()
    }

    /// Whether it is an action, reverses one, or was derived from one.
    pub(crate) fn is_of_action(&self) -> bool {
        self.intent.is_some() || self.policy_state.old_only
    }

    /// The tables that its last run read.
    pub(crate) fn reads(&self) -> &[TableNumber] {
        self.intent.as_ref().map_or(&[], |intent| &intent.reads)
    }

    /// The rows that its last run read by key.
    pub(crate) fn seen(&self) -> &[SeenRow] {
        self.intent.as_ref().map_or(&[], |intent| &intent.seen)
    }

    /// Whether it is applied again.
    pub(crate) fn stays(&self) -> bool {
        self.outcome == OpOutcome::Stays
    }

    /// Its patch of a row, with its index.
    pub(crate) fn patch(&self, row: &RowKey) -> Option<(usize, &RowPatch)> {
        self.effect.find(row)
    }

    /// The old value that the current attempt compares.
    pub(crate) fn old(&self, row: usize, column: usize) -> &Value {
        old_of(&self.effect, &self.basis, row, column)
    }
}

/// The old value of an attempt with this basis.
pub(crate) fn old_of<'a>(
    effect: &'a Effect,
    basis: &'a Basis,
    row: usize,
    column: usize,
) -> &'a Value {
    basis.get(&(row, column)).unwrap_or(&effect.rows[row].columns[column].old)
}

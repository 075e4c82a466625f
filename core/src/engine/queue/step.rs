//! A step above the base, while it is undone: a mutation with what was recorded of it and what becomes of it.

use crate::engine::queue::Intent;
use crate::engine::queue::mutation::{BasisValue, ParkReason, State};
use crate::engine::queue::part::Parts;
use crate::engine::queue::seen::SeenRow;
use crate::engine::queue::stance::Stance;
use crate::engine::rows::patch::{Effect, RowKey, RowPatch};
use crate::ids::{MutationId, Seq, TableNumber};
use crate::value::Value;
use rejoin_protocol::mutant::{self, Mutant};

/// What becomes of a step in this transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fate {
    /// It comes back.
    Stays,
    /// The server has it: into the history.
    Accepted,
    /// It waits for the app's decision.
    Parked(Parking),
    /// The app has given it up.
    Discarded,
    /// The app has given up what a server may have, with this mutation (O12).
    Withdrawn(MutationId),
    /// It comes back in the same transaction, at the end of the queue.
    Lifted,
}

/// Why and by whom a step is parked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parking {
    pub(crate) reason: ParkReason,
    pub(crate) because_of: Option<MutationId>,
    pub(crate) detail: Option<String>,
}

/// A mutation in the hands of a rebase.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) seq: Seq,
    pub(crate) id: MutationId,
    pub(crate) state: State,
    pub(crate) time_ms: i64,
    /// Of an action: what was meant, and what its last run read.
    pub(crate) intent: Option<Intent>,
    pub(crate) attempt: i64,
    pub(crate) effect: Effect,
    pub(crate) basis: Vec<BasisValue>,
    /// What was frozen when it was sent.
    pub(crate) frozen: Option<Vec<u8>>,
    /// The undo as stored; `None` while it is the effect's own.
    pub(crate) undo: Option<Vec<u8>>,
    /// What it did to the server's rows in truth, as an effect, where that is not what it wrote (O13).
    pub(crate) displaced: Option<Vec<u8>>,
    /// What the tables' policies remember of it.
    pub(crate) stance: Stance,
    /// Rows that have their verdict already (P8).
    pub(crate) parts: Parts,
    /// Whether rows have left the effect in this transaction.
    pub(crate) reduced: bool,
    /// Whether it has run again, and names other rows or tables than before.
    pub(crate) rewritten: bool,
    /// The server has found the present effect in conflict, in these words: it is not offered again (O10).
    pub(crate) conflicted: Option<String>,
    /// Rows in which a plain server has decided against it by time: there it is compared like any other edit.
    pub(crate) outdated: Vec<RowKey>,
    pub(crate) fate: Fate,
    /// Whether state, attempt, basis, stance or what was frozen differ from what is stored.
    pub(crate) changed: bool,
}

impl Step {
    /// Whether a server may have it already: sent, and no verdict (R7).
    pub(crate) fn is_uncertain(&self) -> bool {
        matches!(self.state, State::Sent | State::Uncertain)
    }

    /// Whether it is an action that may run again, rather than be laid down as recorded: no server can have it or a part
    /// of it (R7).
    pub(crate) fn replays(&self) -> bool {
        let unsent = self.state == State::Pending || mutant::on(Mutant::UncertainRunAgain);
        unsent && self.parts.is_empty() && !self.reads().is_empty()
    }

    /// Whether it is an action, or takes one back, or was made of one.
    pub(crate) fn is_of_action(&self) -> bool {
        self.intent.is_some() || self.stance.old_only
    }

    /// The tables that its last run read.
    pub(crate) fn reads(&self) -> &[TableNumber] {
        self.intent.as_ref().map_or(&[], |intent| &intent.reads)
    }

    /// The rows that its last run read by their keys.
    pub(crate) fn seen(&self) -> &[SeenRow] {
        self.intent.as_ref().map_or(&[], |intent| &intent.seen)
    }

    /// Whether it comes back.
    pub(crate) fn stays(&self) -> bool {
        self.fate == Fate::Stays
    }

    /// Its patch of a row, with its index.
    pub(crate) fn patch(&self, row: &RowKey) -> Option<(usize, &RowPatch)> {
        self.effect.rows.iter().enumerate().find(|(_, patch)| patch.row == *row)
    }

    /// The old value that the present attempt compares.
    pub(crate) fn old(&self, row: usize, column: usize) -> &Value {
        old_of(&self.effect, &self.basis, row, column)
    }
}

/// The old value of an attempt with this basis.
pub(crate) fn old_of<'a>(
    effect: &'a Effect,
    basis: &'a [BasisValue],
    row: usize,
    column: usize,
) -> &'a Value {
    let mine = basis.iter().find(|value| value.row == row && value.column == column);
    mine.map_or(&effect.rows[row].columns[column].old, |value| &value.old)
}

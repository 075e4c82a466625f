//! A mutation and its states; plain data.

use std::collections::BTreeMap;

use rejoin_protocol::Policy;

use super::policy_state::PolicyState;
use crate::engine::rows::patch::{Effect, PatchKind};
use crate::engine::schema::model::Table;
use crate::ids::{MutationId, Seq};
use crate::value::Value;

pub use crate::engine::row_state::MutationState;

/// Why a mutation is parked. The numbers are stored in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParkReason {
    /// A rule of the server rejects the content.
    Rejected = 0,
    /// A row has changed since.
    Conflicted = 1,
    /// The server does not evaluate it.
    Refused = 2,
    /// An action cannot run again.
    Unreplayable = 3,
    /// A mutation that it depends on was parked; `because_of` names it.
    Depends = 4,
    /// The refused rows of a partly accepted mutation.
    PartlyAccepted = 5,
    /// The server has failed on it too often, or for too long; its last error is in the detail.
    ServerFault = 6,
}

impl ParkReason {
    /// All reasons, each at the index of its stored number.
    pub(crate) const ALL: [Self; 7] = [
        Self::Rejected,
        Self::Conflicted,
        Self::Refused,
        Self::Unreplayable,
        Self::Depends,
        Self::PartlyAccepted,
        Self::ServerFault,
    ];

    /// The number that is stored for it.
    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    /// The reason for a stored number.
    pub(crate) fn of_number(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// A mutation of the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutation {
    /// Its number.
    pub seq: Seq,
    /// Its id.
    pub id: MutationId,
    /// When it was written: milliseconds since 1970.
    pub time_ms: i64,
    /// Orders mutations of one millisecond.
    pub counter: i64,
    /// The action's name; `None` for plain SQL.
    pub action: Option<String>,
    /// Its state.
    pub state: MutationState,
    /// Increases when the content is sent again after a verdict.
    pub attempt: i64,
    /// The last request that carried it.
    pub request: Option<i64>,
    /// The mutation whose parking parked this one.
    pub because_of: Option<MutationId>,
    /// Why it is parked.
    pub reason: Option<ParkReason>,
    /// The server's error, and both rows of a conflict, as JSON.
    pub detail: Option<String>,
    /// What the user wrote; never changes.
    pub effect: Effect,
    /// Old values of the current attempt, where they differ from the effect's.
    pub basis: Basis,
    /// State of its tables' policies.
    pub(crate) policy_state: PolicyState,
    /// Approximate number of bytes of an action's arguments and reads.
    pub(crate) meant: usize,
}

impl Mutation {
    /// Whether a create was rebased onto a live row: then it is an edit of that row.
    pub(crate) fn is_onto(&self, row: usize) -> bool {
        is_onto(&self.effect, &self.basis, row)
    }

    /// Whether the server may decide by time in this table: for plain SQL, unless an earlier epoch
    /// had accepted it.
    pub(crate) fn is_by_time(&self, table: &Table) -> bool {
        let excepted = self.action.is_some() || self.policy_state.compare_only;
        !excepted && table.policy == Policy::LastWriteWins
    }
}

/// Whether a create was rebased onto a live row: only then does its attempt have old values.
pub(crate) fn is_onto(effect: &Effect, basis: &Basis, row: usize) -> bool {
    let mut olds = basis.range((row, 0)..(row + 1, 0));
    effect.rows[row].kind == PatchKind::Insert && olds.next().is_some()
}

/// Old values that replace the effect's own in the current attempt, by the index of the patch in
/// the effect and that of the column in the patch.
pub type Basis = BTreeMap<(usize, usize), Value>;

//! A mutation and its states; plain data.

use rejoin_protocol::Policy;

use super::stance::Stance;
use crate::engine::rows::patch::{Effect, PatchKind};
use crate::engine::schema::model::Table;
use crate::ids::{MutationId, Seq};
use crate::value::Value;

pub use crate::engine::row_state::State;

/// Why a mutation is parked. The numbers are those that the file stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParkReason {
    /// A rule of the server refuses the content.
    Rejected = 0,
    /// A row has changed since.
    Conflicted = 1,
    /// The server will not look at it.
    Refused = 2,
    /// An action cannot run again.
    Unreplayable = 3,
    /// Something it stands on was parked (R10); `because_of` names it.
    Depends = 4,
    /// What is left of a partly accepted mutation (D9).
    Remainder = 5,
    /// The server has failed on it too often, or for too long; its last words are in the detail.
    ServerFault = 6,
}

impl ParkReason {
    /// All reasons, each at the place of its stored number.
    pub(crate) const ALL: [Self; 7] = [
        Self::Rejected,
        Self::Conflicted,
        Self::Refused,
        Self::Unreplayable,
        Self::Depends,
        Self::Remainder,
        Self::ServerFault,
    ];

    /// The number that is stored for it.
    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    /// The reason of a stored number.
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
    /// When it was written: milliseconds since 1970, and a counter within one.
    pub time_ms: i64,
    /// Orders mutations of one millisecond.
    pub counter: i64,
    /// The action's name; `None` for plain SQL.
    pub action: Option<String>,
    /// Its state.
    pub state: State,
    /// Rises when the content is offered anew after a verdict (O2).
    pub attempt: i64,
    /// The request that carried it last.
    pub request: Option<i64>,
    /// The mutation whose parking parked this one.
    pub because_of: Option<MutationId>,
    /// Why it is parked.
    pub reason: Option<ParkReason>,
    /// The server's words, and both rows of a conflict, as JSON.
    pub detail: Option<String>,
    /// What the user wrote; never changes (R1).
    pub effect: Effect,
    /// Old values of the present attempt, where they differ from the effect's (R11).
    pub basis: Vec<BasisValue>,
    /// What its tables' policies remember.
    pub(crate) stance: Stance,
    /// About how many bytes name an action's arguments, and what it has read.
    pub(crate) meant: usize,
}

impl Mutation {
    /// Whether a create was rebased onto a live row: then it is an edit of that row (O11).
    pub(crate) fn is_onto(&self, row: usize) -> bool {
        is_onto(&self.effect, &self.basis, row)
    }

    /// Whether the server may decide by time in this table: of plain SQL, and not of what another life of it had accepted.
    pub(crate) fn is_by_time(&self, table: &Table) -> bool {
        let excepted = self.action.is_some() || self.stance.compare_only;
        !excepted && table.policy == Policy::LastWriteWins
    }
}

/// Whether a create was rebased onto a live row: its attempt has old values, which no create has by itself.
pub(crate) fn is_onto(effect: &Effect, basis: &[BasisValue], row: usize) -> bool {
    effect.rows[row].kind == PatchKind::Insert && basis.iter().any(|value| value.row == row)
}

/// An old value that replaces the effect's own in the present attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct BasisValue {
    /// Index of the patch in the effect.
    pub row: usize,
    /// Index of the column in the patch.
    pub column: usize,
    /// The value to send as old.
    pub old: Value,
}

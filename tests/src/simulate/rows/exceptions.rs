//! The invariants that a restore or a reset suspends, for which mutations, and why. All other
//! invariants are still checked, and a listed one for every other mutation.

use super::mutations::WrittenMutation;
use super::run::RowsRun;

/// A restored or removed state, as it affects one mutation.
#[derive(Debug, Clone, Copy)]
enum Restore {
    /// The server was restored from a backup, and the author's device had not finished a pass with
    /// the restored server.
    Server,
    /// It was written more than thirty days, by the server's clock, before a later event: the
    /// history drops older mutations.
    Aged,
    /// Its push changed no row, so the log does not show that a restore has lost its verdict.
    Unlogged,
    /// The mutation was in a file that was copied, pending or accepted: both copies offer it,
    /// perhaps again.
    Copy,
    /// It was written after a reset, before the rows were fetched again.
    Reset,
}

pub(super) const REJECTED: &str = "rejected-for-a-reason";
pub(super) const CONFLICTED: &str = "conflict-for-a-reason";
pub(super) const POLICY: &str = "policy-resolves-the-conflict";
pub(super) const FOLLOWS: &str = "reader-follows-writer";
pub(super) const READS: &str = "action-reads-are-current";
pub(super) const SAW: &str = "edit-names-a-version-it-saw";
pub(super) const DISPLACED: &str = "undo-restores-what-was-displaced";
pub(super) const ONCE: &str = "verdict-is-reported-once";
pub(super) const PARKED: &str = "parked-is-not-applied";
pub(super) const SURVIVES: &str = "acceptance-survives-restore";

const EXCEPTIONS: &[(&str, Restore, &str)] = &[
    (REJECTED, Restore::Server, "the backup may have an older schema"),
    (CONFLICTED, Restore::Server, "its base is a row that the backup does not have"),
    (CONFLICTED, Restore::Copy, "the other copy may have sent it first"),
    (CONFLICTED, Restore::Reset, "the device did not show what its user had written before"),
    (POLICY, Restore::Server, "it is offered again compare-only, whatever the policy"),
    (FOLLOWS, Restore::Server, "it is offered again as it was, and alone"),
    (READS, Restore::Server, "it is offered again as it was, with what it read then"),
    (SAW, Restore::Server, "it is offered again, and names a version of the restored server"),
    (SAW, Restore::Copy, "the other copy may have seen it"),
    (DISPLACED, Restore::Server, "it displaced other values when it was offered again"),
    (ONCE, Restore::Server, "both epochs have accepted it"),
    (PARKED, Restore::Copy, "the other copy may have sent it"),
    (
        PARKED,
        Restore::Server,
        "its late request may reach the restored server, which has lost the verdict",
    ),
    (SURVIVES, Restore::Aged, "the history keeps thirty days"),
    (SURVIVES, Restore::Unlogged, "only its verdict is lost"),
];

impl RowsRun<'_> {
    /// Whether a restore suspends this invariant for this mutation.
    pub(super) fn is_excepted(&self, invariant: &str, one: &WrittenMutation) -> bool {
        EXCEPTIONS.iter().filter(|(name, ..)| *name == invariant).any(|(_, restore, _)| {
            match restore {
                Restore::Server => one.epoch < self.epoch,
                Restore::Aged => {
                    self.mutations.written[..self.aged].iter().any(|old| old.id == one.id)
                }
                Restore::Unlogged => self.server.is_unlogged(&self.mutation_key(one.id)),
                Restore::Copy => one.copied,
                Restore::Reset => one.after_reset,
            }
        })
    }
}

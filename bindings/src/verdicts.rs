//! Delivery of verdicts, repeated until the app acknowledges them.

use rejoin_core as core;

use crate::detail::VerdictDetail;
use crate::error::Result;
use crate::pending::ParkReason;
use crate::value::small;

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum VerdictKind {
    /// The server has it, and the rows show it.
    Accepted,
    /// It was not accepted and awaits the app's decision; `reason` says why.
    Parked,
    /// The app discarded it after it was sent, and the verdict has arrived. If the server had
    /// accepted it, `because_of` is the mutation that reverts it.
    Withdrawn,
    /// In the log model: it was accepted earlier, and the authority has run it again after earlier
    /// changes arrived. It now has the effect that `detail` shows.
    Corrected,
}

/// The verdict on one attempt of a mutation.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct VerdictEntry {
    /// Rises and is never reused; for `acknowledge_verdicts`.
    pub number: i64,
    /// The mutation's id.
    pub id: String,
    /// The attempt, from 1: each `retry` is a new attempt with its own verdict.
    pub attempt: i64,
    /// The result.
    pub kind: VerdictKind,
    /// Why it is parked, if it is.
    pub reason: Option<ParkReason>,
    /// The mutation that caused the parking, or that reverts this one.
    pub because_of: Option<String>,
    /// The action's name; nothing for plain SQL.
    pub action: Option<String>,
    /// The server's message, and both rows of a conflict. Nothing if there is none or it exceeds 64
    /// KiB; the `detail` of `pending` has it in full.
    pub detail: Option<VerdictDetail>,
    /// When the verdict arrived: milliseconds since 1970, by the device's clock.
    pub at_ms: i64,
}

/// Verdicts that the app has not acknowledged.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Verdicts {
    /// Oldest first.
    pub entries: Vec<VerdictEntry>,
    /// Number of older verdicts that were dropped: the newest 10,000 are kept.
    pub missed: u32,
}

/// Observes verdicts.
///
/// Called on a thread of the engine, one call at a time. It may call the client but must not block
/// on it. An exception is logged and ignored; unacknowledged verdicts go to the next subscription
/// again.
#[uniffi::export(with_foreign)]
pub trait VerdictObserver: Send + Sync {
    /// Called with the unacknowledged verdicts, and then with each new one, once per subscription.
    fn on_verdicts(&self, verdicts: Verdicts) -> Result<()>;
}

impl From<core::VerdictEntry> for VerdictEntry {
    fn from(entry: core::VerdictEntry) -> Self {
        let (kind, reason) = match entry.kind {
            core::VerdictKind::Accepted => (VerdictKind::Accepted, None),
            core::VerdictKind::Parked(reason) => (VerdictKind::Parked, Some(reason.into())),
            core::VerdictKind::Withdrawn => (VerdictKind::Withdrawn, None),
            core::VerdictKind::Corrected => (VerdictKind::Corrected, None),
        };
        Self {
            number: entry.number,
            id: entry.id.to_string(),
            attempt: entry.attempt,
            kind,
            reason,
            because_of: entry.because_of.map(|id| id.to_string()),
            action: entry.action,
            detail: entry.detail.map(VerdictDetail::from),
            at_ms: entry.at_ms,
        }
    }
}

impl From<core::Verdicts> for Verdicts {
    fn from(verdicts: core::Verdicts) -> Self {
        let entries = verdicts.entries.into_iter().map(VerdictEntry::from).collect();
        Self { entries, missed: small(verdicts.missed) }
    }
}

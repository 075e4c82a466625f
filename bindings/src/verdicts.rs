//! How mutations ended, told until the app has said that it knows.

use std::sync::Arc;

use rejoin_core as core;

use crate::RejoinClient;
use crate::client::subscribed;
use crate::error::Result;
use crate::queue::ParkReason;
use crate::subscription::Subscription;
use crate::value::small;

/// How an attempt of a mutation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum VerdictKind {
    /// The server has it, and the rows show it.
    Accepted,
    /// It was not accepted, and waits for the app's decision; `reason` says why.
    Parked,
    /// The app gave it up after it was sent, and the server's word is here. If it had it, `because_of` names the mutation that
    /// takes it back.
    Withdrawn,
}

/// The end of one attempt of a mutation.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct VerdictEntry {
    /// Rises, and is never given again; for `acknowledge_verdicts`.
    pub number: i64,
    /// The mutation's name.
    pub id: String,
    /// Which of its attempts, from 1: `retry` makes another, which has an end of its own.
    pub attempt: i64,
    /// How it ended.
    pub kind: VerdictKind,
    /// Why it is parked, if it is.
    pub reason: Option<ParkReason>,
    /// The mutation that parked it, or takes it back.
    pub because_of: Option<String>,
    /// The action's name; nothing for plain SQL.
    pub action: Option<String>,
    /// The server's words, and both rows of a conflict, as JSON. Nothing if there are none or more than 64 KiB: then they stand
    /// in the `detail` of `pending`.
    pub detail: Option<String>,
    /// When it came: milliseconds since 1970, by the device's clock.
    pub at_ms: i64,
}

/// Verdicts that the app has not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Verdicts {
    /// Oldest first.
    pub entries: Vec<VerdictEntry>,
    /// How many before them are not kept any more: the newest 10,000 are.
    pub missed: u32,
}

/// Hears how mutations ended.
///
/// Called on a thread of the engine, one call after the other; it may call anything of the client that it need not wait for. An
/// exception is written to the log and changes nothing else: what was not acknowledged is told again to the next subscription.
#[uniffi::export(with_foreign)]
pub trait VerdictObserver: Send + Sync {
    /// Called with the verdicts that are not acknowledged, and then with new ones as they come, each once to each subscription.
    fn on_verdicts(&self, verdicts: Verdicts) -> Result<()>;
}

#[uniffi::export]
impl RejoinClient {
    /// How mutations ended that the app has not acknowledged, oldest first, at most `most`. Each end of each attempt is one entry,
    /// in the file since the moment when it came: no crash and no restart loses one.
    pub async fn verdicts(&self, most: u32) -> Result<Verdicts> {
        Ok(self.inner.verdicts(usize::try_from(most).unwrap_or(usize::MAX)).await?.into())
    }

    /// Says that the app has dealt with the verdicts up to this number: they are not told again.
    pub async fn acknowledge_verdicts(&self, through: i64) -> Result<()> {
        Ok(self.inner.acknowledge_verdicts(through).await?)
    }

    /// Tells the observer the verdicts that are not acknowledged, and then new ones as they come, until the subscription is
    /// cancelled. What was not acknowledged by then is told again to the next, and after the next start: at least once.
    pub fn watch_verdicts(&self, observer: Arc<dyn VerdictObserver>) -> Arc<Subscription> {
        subscribed(self.inner.watch_verdicts(move |verdicts| {
            if let Err(error) = observer.on_verdicts(verdicts.into()) {
                tracing::warn!(%error, "a verdict observer threw");
            }
        }))
    }
}

impl From<core::VerdictEntry> for VerdictEntry {
    fn from(entry: core::VerdictEntry) -> Self {
        let (kind, reason) = match entry.kind {
            core::VerdictKind::Accepted => (VerdictKind::Accepted, None),
            core::VerdictKind::Parked(reason) => (VerdictKind::Parked, Some(reason.into())),
            core::VerdictKind::Withdrawn => (VerdictKind::Withdrawn, None),
        };
        Self {
            number: entry.number,
            id: entry.id.to_string(),
            attempt: entry.attempt,
            kind,
            reason,
            because_of: entry.because_of.map(|id| id.to_string()),
            action: entry.action,
            detail: entry.detail,
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

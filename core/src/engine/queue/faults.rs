//! Mutations on which the server fails: the limit of failures, and what they block meanwhile.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::attempt::{Faults, Frozen};
use super::mutation::MutationState;
use super::store;
use super::view::QueueView;
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// Number of failures after which a mutation is parked; the app may change it.
pub(crate) const ATTEMPTS: u32 = 50;

/// Time of failures after which a mutation is parked; the app may change it.
pub(crate) const AGE: Duration = Duration::from_hours(24);

/// How long the server may fail on one attempt. Then the attempt is sent once more, and the server
/// is asked to reject it if it fails again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FaultLimit {
    count: u32,
    age_ms: i64,
}

impl Default for FaultLimit {
    fn default() -> Self {
        Self::of(ATTEMPTS, AGE)
    }
}

impl FaultLimit {
    pub(crate) fn of(attempts: u32, age: Duration) -> Self {
        Self { count: attempts, age_ms: i64::try_from(age.as_millis()).unwrap_or(i64::MAX) }
    }

    /// Whether one of the limits is reached. If the clock was set back, only the number counts.
    pub(crate) fn is_reached(self, faults: Faults, now_ms: i64) -> bool {
        faults.count >= self.count || now_ms.saturating_sub(faults.since_ms) >= self.age_ms
    }
}

/// Pending mutations that wait for one on which the server has failed, with that one. Reads the
/// sent mutations and, after a failure only, the rest of the queue.
pub(crate) fn blocked(view: &QueueView<'_>) -> Result<HashMap<Seq, MutationId>> {
    let mut failing = HashSet::new();
    for entry in view.queue.entries().filter(|entry| entry.state == MutationState::Uncertain) {
        let content = store::read_content(view.conn, entry.seq)?;
        let frozen = content.and_then(|content| content.frozen);
        let frozen = frozen.as_deref().map(Frozen::decode).transpose()?;
        if frozen.is_some_and(|frozen| frozen.faults.is_some()) {
            failing.insert(entry.id);
        }
    }
    if failing.is_empty() {
        return Ok(HashMap::new());
    }
    let live = view.queue.entries().filter(|entry| entry.state != MutationState::Parked);
    let seqs: Vec<Seq> = live.map(|entry| entry.seq).collect();
    let links = view.links(&seqs)?.into_iter();
    let blocked = links.filter_map(|(seq, before)| {
        Some((seq, before.into_iter().find(|id| failing.contains(id))?))
    });
    Ok(blocked.collect())
}

//! The authority: a replica that sees all rows and has the handlers. It evaluates entries while
//! their authors are offline.
//!
//! It runs an entry as its author, on the rows in the author's buckets, and corrects the entry if
//! the run gives other effects. The server accepts the correction if the content is still the one
//! that was read. It is a replica like any other, so it runs an entry again only when something
//! before it has changed, and its corrections end like those of authors. A correction that the
//! server refuses is dropped: the entry counts as the server has it. Which replica it is, the
//! server decides: it sends each entry of another author whole to the appointed one.

use super::message::{Correct, Correction};
use super::replica::Replica;
use super::replica::store::{ReplicaStore, Waiting};
use super::store::StoreError;
use crate::replica::snapshot;

/// At most `limit` corrections, in key order; `None` without one, and while a snapshot is needed.
/// They repeat until the feed shows their result.
pub fn corrections<S: ReplicaStore>(
    replica: &Replica<S>,
    limit: usize,
) -> Result<Option<Correct>, StoreError> {
    let Some(stamp) = replica.facts().stamp.filter(|_| !snapshot::needs_snapshot(replica)) else {
        return Ok(None);
    };
    let mut corrections = Vec::new();
    for id in replica.store().waiting_ids(Waiting::Correction, limit)? {
        if let Some(authority) = replica.store().record(id)?.and_then(|record| record.authority) {
            let (version, effects) = (authority.whole.version, authority.effects);
            corrections.push(Correction { id, version, effects });
        }
    }
    Ok((!corrections.is_empty()).then_some(Correct { stamp, corrections }))
}

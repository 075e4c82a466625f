//! Handles tables and columns that the server has removed: an unsent mutation that names one is
//! parked whole, with its values, before the tables change. Mutations that depend on it are parked,
//! too.

use rejoin_protocol::wire::error::code;
use rejoin_protocol::wire::push::{Ending, Verdict};

use super::park;
use crate::engine::Engine;
use crate::engine::queue::QueueEntry;
use crate::engine::queue::mutation::{MutationState, ParkReason};
use crate::engine::queue::pending_op::Parking;
use crate::engine::queue::store;
use crate::engine::rows::removed::Missing;
use crate::engine::schema::model::Schema;
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// Parks each pending mutation that names something missing from `new`, in the open transaction.
/// The verdict is the one that the server would give. Sent mutations wait for the server's own
/// verdict, because they may have been accepted.
pub(crate) fn park(engine: &mut Engine, new: &Schema) -> Result<Vec<MutationId>> {
    let mut naming: Vec<(Seq, Parking)> = Vec::new();
    for entry in engine.queue.entries().filter(|entry| entry.state == MutationState::Pending) {
        let effect = store::read_effect(engine.db.conn(), entry.seq)?;
        let missing = effect.as_ref().and_then(|effect| new.missing(&effect.rows));
        naming.extend(missing.map(|missing| (entry.seq, parking(entry, missing))));
    }
    if naming.is_empty() {
        return Ok(Vec::new());
    }
    let applied = engine.rebased(|work, _| {
        naming.iter().try_for_each(|(seq, parking)| park::park(work, *seq, parking.clone()))
    })?;
    Ok(applied.parked)
}

fn parking(entry: &QueueEntry, missing: Missing<'_>) -> Parking {
    let (ending, reason, code) = match missing.column {
        Some(_) => (Ending::Rejected, ParkReason::Rejected, code::COLUMN_UNKNOWN),
        None => (Ending::Refused, ParkReason::Refused, code::TABLE_UNKNOWN),
    };
    let verdict = Verdict {
        code: Some(code.to_owned()),
        table_name: Some(missing.table.to_owned()),
        column: missing.column.map(ToOwned::to_owned),
        message: Some(missing.to_string()),
        ..Verdict::new(entry.id.to_string(), entry.attempt, ending)
    };
    let detail = serde_json::to_string(&verdict).ok();
    Parking { reason, because_of: None, detail }
}

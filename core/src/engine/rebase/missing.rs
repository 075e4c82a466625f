//! What the server has removed takes no edit away (S2): a mutation that waits to be sent and names it is parked whole, with
//! its values, before the tables change. What stands on it follows (R10); everything else goes on.

use rejoin_protocol::wire::error::code;
use rejoin_protocol::wire::push::{Ending, Verdict};

use super::park;
use crate::engine::Engine;
use crate::engine::queue::Entry;
use crate::engine::queue::mutation::{ParkReason, State};
use crate::engine::queue::step::Parking;
use crate::engine::queue::store;
use crate::engine::rows::removed::Missing;
use crate::engine::schema::model::Schema;
use crate::error::Result;
use crate::ids::{MutationId, Seq};

/// Parks each pending mutation that names what `new` has no more, in the transaction that is open. The verdict is the one
/// that the server would give. What was sent has to wait for the server's own: it may have been accepted.
pub(crate) fn park(engine: &mut Engine, new: &Schema) -> Result<Vec<MutationId>> {
    let mut naming: Vec<(Seq, Parking)> = Vec::new();
    for entry in engine.queue.entries().filter(|entry| entry.state == State::Pending) {
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

fn parking(entry: &Entry, missing: Missing<'_>) -> Parking {
    let (ending, reason, code) = match missing.column {
        Some(_) => (Ending::Rejected, ParkReason::Rejected, code::COLUMN_UNKNOWN),
        None => (Ending::Refused, ParkReason::Refused, code::TABLE_UNKNOWN),
    };
    let verdict = Verdict {
        id: entry.id.to_string(),
        attempt: entry.attempt,
        verdict: ending,
        code: Some(code.to_owned()),
        retryable: false,
        table_name: Some(missing.table.to_owned()),
        record_id: None,
        column: missing.column.map(ToOwned::to_owned),
        displaced: Vec::new(),
        message: Some(missing.to_string()),
    };
    let detail = serde_json::to_string(&verdict).ok();
    Parking { reason, because_of: None, detail }
}

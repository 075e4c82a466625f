//! Reports what the database stored instead of what mutations have sent.

use rejoin_protocol::wire::push::{Ending, Group, Verdict};

use crate::engine::budget::Budget;
use crate::engine::own_writes::{Left, OwnWrites};
use crate::engine::user_transaction::UserTransaction;
use crate::engine::verdict::from_stored;
use crate::error::Fault;
use crate::model::{ReadScope, StoredVerdict};
use crate::store::Writing;

/// Reads the rows that this transaction has written: another writer may follow it.
pub(super) fn compare(
    writing: &dyn Writing,
    held: &[String],
    own: &OwnWrites,
) -> Result<(), Fault> {
    let scope = ReadScope::of(held);
    for (number, ids) in own.written() {
        let mut tables = writing.schema().tables.iter();
        let Some(table) = tables.find(|table| table.number == number) else { continue };
        let keys: Vec<_> = ids.iter().map(|id| table.key_of(id)).collect();
        let mut ids = ids.iter();
        writing.images(table, &keys, &scope, &mut |row| {
            let id = ids.next();
            if let (Some(id), Some(row)) = (id, &row) {
                own.compare(table, id, row);
            }
            id.is_some()
        })?;
    }
    Ok(())
}

/// Adds the values that differ to the verdicts of their mutations, stored and in the response. Most
/// pushes have none.
pub(super) fn report(
    transaction: &UserTransaction<'_>,
    own: &OwnWrites,
    budget: &Budget<'_>,
    (groups, found): (&[Group], &mut [Verdict]),
) -> Result<(), Fault> {
    let tables = &transaction.schema().tables;
    let left = own.left(groups, |number| tables.iter().find(|table| table.number == number))?;
    let mut again: Vec<(String, StoredVerdict)> = Vec::new();
    for (mutation, left) in left {
        let verdict = found.iter_mut().find(|verdict| verdict.id == mutation);
        let stored = transaction.verdict(&mutation)?;
        let is_accepted = |verdict: &&mut Verdict| verdict.verdict == Ending::Accepted;
        let (Some(verdict), Some(stored)) = (verdict.filter(is_accepted), stored) else { continue };
        let Left { left, computed } = left;
        let kept = Verdict {
            left: left.clone(),
            computed: computed.clone(),
            displaced: Vec::new(),
            ..from_stored(&stored, stored.attempt)?
        };
        let data = left.iter().filter_map(|image| image.data.as_ref());
        if budget.sends_images(data.map(|data| data.get().len()).sum()) {
            (verdict.left, verdict.computed) = (left, computed);
        }
        again.push((mutation, StoredVerdict { verdict: serde_json::to_string(&kept)?, ..stored }));
    }
    transaction.put_verdicts(&again)
}

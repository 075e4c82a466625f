//! Repairs named rows: gives them the server's base and the items that touch them, and applies the
//! steps on them again. Own entries stay; actions that read these tables run again, because the rows
//! that they read may have been wrong.

use std::collections::BTreeSet;

use super::super::effect::Effects;
use super::super::ids::EntryId;
use super::super::key::Key;
use super::super::message::rows::{NamedRows, RowsRequest};
use super::super::row::RowName;
use super::super::store::StoreError;
use super::edit::RecordEdit;
use super::store::{ReplicaStore, Shown};
use super::{Replica, fetch};

/// The request for these rows; `None` while a snapshot is needed, which replaces all rows.
pub fn rows_request<S: ReplicaStore>(
    replica: &Replica<S>,
    rows: Vec<RowName>,
) -> Option<RowsRequest> {
    let stamp = replica.facts.stamp.filter(|_| !replica.facts.needs_snapshot)?;
    Some(RowsRequest { stamp, horizon: replica.facts.horizon, rows })
}

/// Repairs the requested rows. An answer to a request with another horizon, epoch or membership is
/// ignored. The cursor stays: items that moved meanwhile come again with the feed.
pub fn take_rows<S: ReplicaStore>(
    replica: &mut Replica<S>,
    request: &RowsRequest,
    answer: &NamedRows,
) -> Result<(), StoreError> {
    if rows_request(replica, request.rows.clone()).as_ref() != Some(request) {
        return Ok(());
    }
    let mut edit = replica.edit();
    let shown: BTreeSet<EntryId> = answer.items.iter().map(|seen| seen.key.id).collect();
    let requested: BTreeSet<&RowName> = request.rows.iter().collect();
    edit.change.base = request.rows.iter().map(|row| (row.clone(), None)).collect();
    for (row, image) in answer.base.iter().filter(|(row, _)| requested.contains(row)) {
        edit.change.base.insert(row.clone(), Some(image.clone()));
    }
    // Of a row that does not exist for this user the server shows no items. Those here stay: a change
    // of one of them would not bring back the others.
    let shown_rows = answer.items.iter().flat_map(|seen| seen.effects.iter().map(|(row, _)| row));
    let answered: BTreeSet<&RowName> =
        answer.base.iter().map(|(row, _)| row).chain(shown_rows).collect();
    for row in requested.intersection(&answered) {
        for step in replica.store.steps().naming(row, &Key::FIRST)? {
            if !shown.contains(&step.id) {
                leave_out(replica, &mut edit, step.id, &requested)?;
            }
        }
    }
    for seen in &answer.items {
        fetch::take(replica, &mut edit, seen)?;
    }
    replica.commit(edit)
}

/// Removes the effects on these rows from an item of another author that the server does not show
/// with them. Own entries keep theirs: the feed has news of them.
fn leave_out<S: ReplicaStore>(
    replica: &Replica<S>,
    edit: &mut RecordEdit,
    id: EntryId,
    rows: &BTreeSet<&RowName>,
) -> Result<(), StoreError> {
    let Some(mut record) = replica.edited(edit, id)? else { return Ok(()) };
    if record.own.is_some() || record.authority.is_some() {
        return Ok(());
    }
    let Some(item) = record.item.take() else { return Ok(()) };
    let kept = item.effects.iter().filter(|(row, _)| !rows.contains(row));
    let effects: Effects = kept.map(|(row, effect)| (row.clone(), effect.clone())).collect();
    let keep = effects.iter().next().is_some();
    record.item = Some(Shown { effects, ..item });
    replica.set(edit, id, keep.then_some(record))
}

//! Invariants of a push's content: beside what was written, it carries only values that the server
//! had. Also, what a mutation in the queue must keep, and what is parked with it.

use rejoin_core::engine::queue::mutation::{Mutation, MutationState};
use rejoin_core::engine::rows::patch::PatchKind;
use rejoin_core::engine::schema::model::Schema;
use rejoin_core::ids::MutationId;
use rejoin_protocol::wire::push::{Change, Group, Operation};
use serde_json::value::RawValue;

use super::device_state;
use super::history::{Name, Rows};
use super::pushes::cells;
use super::run::RowsRun;
use super::schema::TINT;
use crate::simulate::{Checked, broken};

/// Columns in which no two writes have the same value, except those of actions.
const DISTINCT: [&str; 3] = ["name", "note", TINT];

impl RowsRun<'_> {
    /// The version in a change is that of the base, which a server assigned: apps write times of
    /// their own into their rows.
    pub(super) fn check_version(&self, at: usize, change: &Change) -> Checked {
        let Some(version) = change.version.as_ref().filter(|_| !is_of_removed(change)) else {
            return Ok(());
        };
        let name = (change.table_name.clone(), change.id.clone());
        if self.server.history().ever(&name, "updated_at", version) {
            return Ok(());
        }
        broken!(
            "version-is-the-servers",
            "{at} sent {version} for {name:?}, which no server assigned"
        )
    }

    /// A row that is created again has what this mutation wrote, and otherwise what the server had:
    /// nothing of other edits.
    pub(super) fn check_recreated_row(&self, group: &Group, change: &Change) -> Checked {
        let written = MutationId::parse(&group.id).and_then(|id| self.mutations.get(id));
        let plain = written.filter(|one| one.first.action.is_none());
        let is_create = change.operation == Operation::Create && !is_of_removed(change);
        let Some(written) = plain.filter(|_| is_create) else {
            return Ok(());
        };
        let name = (change.table_name.clone(), change.id.clone());
        for (column, value) in cells(change.data.as_deref().map(RawValue::get)) {
            let Some(text) = value.as_ref().filter(|_| DISTINCT.contains(&column.as_str())) else {
                continue;
            };
            if !written.cells.contains(&(name.clone(), column.clone(), value.clone()))
                && !self.server.history().ever(&name, &column, text)
            {
                return broken!(
                    "created-row-has-no-other-edit",
                    "{} creates {name:?} again with {column} {text}, which is another edit's",
                    group.id
                );
            }
        }
        Ok(())
    }
}

/// Whether the server has removed its table. The device no longer has its name, and uses one that
/// no table has.
fn is_of_removed(change: &Change) -> bool {
    change.table_name.starts_with('(')
}

/// A sent mutation keeps the content that was sent until its verdict.
pub(super) fn check_sent_unchanged(was: &Mutation, one: &Mutation) -> Checked {
    let is_sent =
        |one: &Mutation| matches!(one.state, MutationState::Sent | MutationState::Uncertain);
    if is_sent(was) && is_sent(one) && was.attempt == one.attempt && was.effect != one.effect {
        return broken!(
            "sent-stays-as-sent",
            "{one:?} has no verdict, and was sent as {:?}",
            was.effect
        );
    }
    Ok(())
}

/// When a create is parked, no edit of its row remains in the queue.
pub(super) fn check_dependents_parked(
    schema: &Schema,
    base: &Rows,
    queue: &[Mutation],
    parked: &Mutation,
) -> Checked {
    let of = |one: &Mutation, kind: PatchKind| -> Vec<Name> {
        let rows = one.effect.rows.iter().filter(|patch| patch.kind == kind);
        rows.filter_map(|patch| device_state::name(schema, patch)).collect()
    };
    let mut made = of(parked, PatchKind::Insert);
    made.retain(|name| !base.contains_key(name));
    for one in queue.iter().filter(|one| one.state != MutationState::Parked) {
        // A later edit may depend on any other mutation that also created the row.
        let makes = of(one, PatchKind::Insert);
        made.retain(|name| !makes.contains(name));
        let is_left =
            one.seq > parked.seq && one.state == MutationState::Pending && one.action.is_none();
        let edits = of(one, PatchKind::Update);
        if let Some(name) = made.iter().find(|name| is_left && edits.contains(name)) {
            return broken!(
                "dependents-are-parked-together",
                "{name:?} is parked with {parked:?}, and not {one:?}"
            );
        }
    }
    Ok(())
}

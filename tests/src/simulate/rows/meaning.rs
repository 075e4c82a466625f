//! What a mutation in the queue must stay, and what is parked with it.

use rejoin_core::engine::capture::patch::PatchKind;
use rejoin_core::engine::queue::mutation::{Mutation, State};
use rejoin_core::engine::schema::model::Schema;

use super::history::{Name, Rows};
use super::sight;
use crate::simulate::{Checked, broken};

/// R7: what a server may have is what was sent, until its verdict.
pub(super) fn is_as_sent(was: &Mutation, one: &Mutation) -> Checked {
    let is_sent = |one: &Mutation| matches!(one.state, State::Sent | State::Uncertain);
    if is_sent(was) && is_sent(one) && was.attempt == one.attempt && was.effect != one.effect {
        return broken!(
            "sent-stays-as-sent",
            "{one:?} has no verdict, and was sent as {:?}",
            was.effect
        );
    }
    Ok(())
}

/// R10: where a create was parked just now, no edit of its row goes on without it.
pub(super) fn leaves_none_behind(
    schema: &Schema,
    base: &Rows,
    queue: &[Mutation],
    parked: &Mutation,
) -> Checked {
    let of = |one: &Mutation, kind: PatchKind| -> Vec<Name> {
        let rows = one.effect.rows.iter().filter(|patch| patch.kind == kind);
        rows.filter_map(|patch| sight::name(schema, patch)).collect()
    };
    let mut made = of(parked, PatchKind::Insert);
    made.retain(|name| !base.contains_key(name));
    for one in queue.iter().filter(|one| one.state != State::Parked) {
        // Whatever made the row too is what later ones stand upon.
        let makes = of(one, PatchKind::Insert);
        made.retain(|name| !makes.contains(name));
        let is_left = one.seq > parked.seq && one.state == State::Pending && one.action.is_none();
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

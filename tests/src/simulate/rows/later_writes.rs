//! An edit of a pending mutation does not change what later mutations wrote over it.

use std::collections::BTreeMap;

use rejoin_core::engine::queue::mutation::{Mutation, MutationState};
use rejoin_core::engine::rows::patch::PatchKind;

use super::device_state::{self, DeviceState};
use super::history::{Name, Row};
use super::run::RowsRun;
use crate::simulate::{Checked, broken};

impl RowsRun<'_> {
    /// Checks that a cell that a later mutation had written when `replaced` was edited still has
    /// that value.
    pub(super) fn check_later_writes(
        &mut self,
        at: usize,
        replaced: &Mutation,
        before: &DeviceState,
    ) -> Checked {
        if replaced.state != MutationState::Pending {
            return Ok(());
        }
        let schema = self.slots[at].device.engine().schema().clone();
        let mut last: BTreeMap<(Name, String), bool> = BTreeMap::new();
        for one in before.queue.iter().filter(|one| one.state != MutationState::Parked) {
            for patch in &one.effect.rows {
                let Some(name) = device_state::name(&schema, patch) else { continue };
                // An action runs again, and may write something else; an insert may leave a column
                // out.
                let is_update = patch.kind == PatchKind::Update && one.action.is_none();
                for (column, _) in device_state::written(&schema, patch) {
                    last.insert((name.clone(), column), is_update && one.seq > replaced.seq);
                }
            }
        }
        let view = &self.slots[at].state.view;
        for ((name, column), _) in last.iter().filter(|(cell, later)| **later && cell.1 == "note") {
            let cell = |row: Option<&Row>| row.map(|row| row.get(column).cloned());
            let (was, is) = (cell(before.view.get(name)), cell(view.get(name)));
            if was.is_some() && is.is_some() && was != is {
                return broken!(
                    "edit-keeps-later-writes",
                    "{column} of {name:?} was {was:?}, and is {is:?}: {replaced:?}"
                );
            }
        }
        Ok(())
    }
}

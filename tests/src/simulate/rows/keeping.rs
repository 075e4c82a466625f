//! What is mended leaves alone what was written over it.

use std::collections::BTreeMap;

use rejoin_core::engine::capture::patch::PatchKind;
use rejoin_core::engine::queue::mutation::{Mutation, State};

use super::history::Name;
use super::sight::{self, Sight};
use super::world::World;

impl World<'_> {
    /// O12: a cell that something later had written when an edit was replaced has that value still.
    pub(super) fn keeps_what_is_later(
        &mut self,
        at: usize,
        replaced: &Mutation,
        before: &Sight,
    ) -> Result<(), String> {
        if replaced.state != State::Pending {
            return Ok(());
        }
        let schema = self.seats[at].device.engine().schema().clone();
        let mut last: BTreeMap<(Name, String), bool> = BTreeMap::new();
        for one in before.queue.iter().filter(|one| one.state != State::Parked) {
            for patch in &one.effect.rows {
                let Some(name) = sight::name(&schema, patch) else { continue };
                let updates = patch.kind == PatchKind::Update;
                for (column, _) in sight::written(&schema, patch) {
                    // An action runs again, and may write something else; what makes the row anew may leave a column open.
                    let is_later = one.seq > replaced.seq && one.action.is_none() && updates;
                    last.insert((name.clone(), column), is_later);
                }
            }
        }
        let view = &self.seats[at].sight.view;
        for ((name, column), _) in last.iter().filter(|(cell, later)| **later && cell.1 == "note") {
            let cell = |row: Option<&super::history::Row>| row.map(|row| row.get(column).cloned());
            let (was, is) = (cell(before.view.get(name)), cell(view.get(name)));
            if was.is_some() && is.is_some() && was != is {
                return Err(format!(
                    "O12: {column} of {name:?} was {was:?}, and is {is:?}: {replaced:?}"
                ));
            }
        }
        Ok(())
    }
}

//! Collects the conflicts of one push for the host's hooks. Without hooks nothing is collected.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rejoin_protocol::Value;
use rejoin_protocol::wire::code;

use crate::hooks::{Conflict, Hooks, Settled};
use crate::model::Table;

/// The conflicts of a push so far.
#[derive(Default)]
pub(super) struct ConflictLog(Option<RefCell<Vec<Conflict>>>);

impl ConflictLog {
    pub(super) fn new(hooks: Option<&dyn Hooks>) -> Self {
        Self(hooks.map(|_| RefCell::default()))
    }

    /// Records a conflict. `conflict` runs only if there are hooks.
    pub(super) fn record(&self, conflict: impl FnOnce() -> Option<Conflict>) {
        if let Some(conflicts) = &self.0 {
            let conflict = conflict();
            conflicts.borrow_mut().extend(conflict);
        }
    }

    /// Removes the overwrites recorded after the first `begun` conflicts: their savepoint was rolled back.
    pub(super) fn roll_back(&self, begun: usize) {
        self.retain_since(begun, |conflict| conflict.settled != Settled::Written);
    }

    /// Removes all conflicts after the first `begun`: their group has no verdict.
    pub(super) fn discard(&self, begun: usize) {
        self.retain_since(begun, |_| false);
    }

    fn retain_since(&self, begun: usize, holds: impl FnMut(&Conflict) -> bool) {
        let Some(conflicts) = &self.0 else { return };
        let mut conflicts = conflicts.borrow_mut();
        let begun = begun.min(conflicts.len());
        let since = conflicts.split_off(begun);
        conflicts.extend(since.into_iter().filter(holds));
    }

    /// Whether a conflict after the first `begun` kept this row unchanged.
    pub(super) fn has_kept(&self, begun: usize, table: &str, id: &str) -> bool {
        let is_it = |conflict: &Conflict| {
            conflict.settled == Settled::Kept && conflict.table == table && conflict.id == id
        };
        let conflicts = self.0.as_ref();
        conflicts.is_some_and(|conflicts| conflicts.borrow().iter().skip(begun).any(is_it))
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |conflicts| conflicts.borrow().len())
    }

    pub(super) fn into_all(self) -> Vec<Conflict> {
        self.0.map(RefCell::into_inner).unwrap_or_default()
    }
}

/// The code, if it reports a conflict with another change. A row that is invisible to the user is
/// not a conflict.
pub(super) fn conflict_code(code: &str) -> Option<&'static str> {
    let all = [code::ROW_CHANGED, code::ROW_EXISTS, code::ROW_DELETED, code::ROW_SUPERSEDED];
    all.into_iter().find(|known| *known == code)
}

/// The cells by the names of their columns.
pub(super) fn by_name<'c>(
    table: &Table,
    cells: impl Iterator<Item = (usize, &'c Value)>,
) -> BTreeMap<String, Value> {
    let named = cells.filter_map(|(at, value)| {
        table.columns.get(at).map(|column| (column.name.clone(), value.clone()))
    });
    named.collect()
}

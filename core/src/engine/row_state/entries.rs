//! Own entries of the log that wait, by row: the part of the index for tables of the log.
//!
//! An entry at the server is not in it. It is pending or parked, never sent or uncertain: sending
//! it again has no effect, so the log does not store whether a request was lost.

use std::collections::{BTreeMap, HashMap};

use rejoin_log::ids::{EntryId, Name};
use rejoin_log::replica::store::{Record, Waiting};
use rejoin_log::row::RowName;

use super::RowSyncState;
use crate::value::Value;

/// An own entry that waits for the server or for the user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WaitingEntry {
    is_parked: bool,
    rows: Vec<RowName>,
}

impl WaitingEntry {
    /// That of a record; `None` if it does not wait.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let own = record.own.as_ref()?;
        let is_parked = match record.waits_for() {
            _ if record.is_refused() => true,
            _ if record.is_given_up() => return None,
            Some(Waiting::Server) => false,
            Some(Waiting::User) => true,
            Some(Waiting::Correction) | None => return None,
        };
        Some(Self { is_parked, rows: own.effects.iter().map(|(row, _)| row.clone()).collect() })
    }
}

/// The written entries of a transaction; `None` for one that does not wait.
pub(crate) type EntryChanges = BTreeMap<EntryId, Option<WaitingEntry>>;

/// The entries that wait, and how many of them write each row.
#[derive(Debug, Default)]
pub(crate) struct EntryStates {
    entries: HashMap<EntryId, WaitingEntry>,
    /// By table and key: the numbers of pending and of parked entries.
    rows: HashMap<Name, HashMap<Name, [usize; 2]>>,
}

impl EntryStates {
    /// The entries that wait.
    pub(crate) fn ids(&self) -> impl Iterator<Item = EntryId> + '_ {
        self.entries.keys().copied()
    }

    /// The state of a row: parked if any entry is.
    pub(super) fn state(&self, table: &str, key: &Value) -> RowSyncState {
        let found = self.rows.get(table).and_then(|rows| match key {
            Value::Text(text) => rows.get(text.as_str()),
            Value::Integer(number) => rows.get(number.to_string().as_str()),
            _ => None,
        });
        match found {
            None => RowSyncState::Synced,
            Some([_, 0]) => RowSyncState::Pending,
            Some(_) => RowSyncState::Parked,
        }
    }

    /// Applies the changes of a commit. Returns whether any entry has another state or other rows.
    pub(crate) fn apply(&mut self, changes: EntryChanges) -> bool {
        let mut differs = false;
        for (id, now) in changes {
            if self.entries.get(&id) == now.as_ref() {
                continue;
            }
            differs = true;
            if let Some(before) = self.entries.remove(&id) {
                before.rows.iter().for_each(|row| self.leave(row, before.is_parked));
            }
            if let Some(now) = now {
                for row in &now.rows {
                    let rows = self.rows.entry(row.table.clone()).or_default();
                    rows.entry(row.id.clone()).or_default()[usize::from(now.is_parked)] += 1;
                }
                self.entries.insert(id, now);
            }
        }
        differs
    }

    /// Counts an entry less at a row; a row without any leaves the index.
    fn leave(&mut self, row: &RowName, is_parked: bool) {
        let Some(rows) = self.rows.get_mut(&row.table) else { return };
        let Some(counts) = rows.get_mut(&row.id) else { return };
        counts[usize::from(is_parked)] -= 1;
        if *counts == [0, 0] {
            rows.remove(&row.id);
        }
        if rows.is_empty() {
            self.rows.remove(&row.table);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn change(id: u128, now: Option<(bool, &[&str])>) -> EntryChanges {
        let now = now.map(|(is_parked, keys)| WaitingEntry {
            is_parked,
            rows: keys.iter().map(|key| RowName::new("seats", *key)).collect(),
        });
        EntryChanges::from([(EntryId(Uuid::from_u128(id)), now)])
    }

    #[test]
    fn row_is_parked_or_pending_while_any_entry_is() {
        let mut states = EntryStates::default();
        let state = |states: &EntryStates| states.state("seats", &Value::Integer(7)).as_str();
        assert!(states.apply(change(1, Some((false, &["7", "8"])))));
        assert!(states.apply(change(2, Some((true, &["7"])))));
        assert!(!states.apply(change(2, Some((true, &["7"])))), "nothing changed");
        assert_eq!(state(&states), "parked");
        assert!(states.apply(change(2, Some((false, &["8"])))));
        assert_eq!(
            (state(&states), states.state("seats", &"8".into()).as_str()),
            ("pending", "pending")
        );
        assert!(states.apply(change(1, None)));
        assert!(!states.apply(change(1, None)), "it does not wait");
        assert_eq!(state(&states), "synced");
        assert!(states.apply(change(2, None)));
        assert!(states.rows.is_empty() && states.ids().next().is_none());
    }
}

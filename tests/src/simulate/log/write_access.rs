//! What a request may change: at no key does an entry change or remove a row where its author may not
//! write.
//!
//! Each row is folded twice at each key, with the entries before and after the request, by `oracle`
//! alone.

use std::collections::{BTreeMap, BTreeSet};

use rejoin_log::effect::Effects;
use rejoin_log::ids::EntryId;
use rejoin_log::key::Key;
use rejoin_log::row::{Columns, RowName};

use super::expected_server::ExpectedServer;
use super::ids;
use super::oracle::{Rows, ServerEntry, apply_effects};
use crate::simulate::{Checked, broken};

/// A row after each entry that names it.
type History = BTreeMap<Key, Option<Columns>>;

impl ExpectedServer {
    /// Checks the entries that are new, or have new content, since `before`.
    pub(super) fn check_write_access(&self, before: &[ServerEntry]) -> Checked {
        let former: BTreeMap<EntryId, &ServerEntry> =
            before.iter().map(|entry| (entry.id, entry)).collect();
        let is_changed = |entry: &&ServerEntry| {
            former.get(&entry.id).is_none_or(|old| old.version != entry.version)
        };
        let mut changed: BTreeMap<RowName, Vec<&ServerEntry>> = BTreeMap::new();
        for entry in self.entries.iter().filter(is_changed) {
            let old = former.get(&entry.id).map(|old| old.effects.rows()).unwrap_or_default();
            for row in entry.effects.rows().union(&old) {
                changed.entry(row.clone()).or_default().push(entry);
            }
        }
        for (row, by) in changed {
            let (old, new) = (self.history(before, &row), self.history(&self.entries, &row));
            for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                let by: Vec<&ServerEntry> =
                    by.iter().copied().filter(|entry| entry.key <= *key).collect();
                let at = |history: &History| {
                    let last = history.range(..=key).next_back().map(|(_, image)| image.clone());
                    last.unwrap_or_else(|| self.base.get(&row).cloned())
                };
                let (old, new) = (at(&old), at(&new));
                if old != new && !are_permitted(&by, old.as_ref(), new.as_ref()) {
                    let by: Vec<String> = by.iter().map(|entry| ids::entry(entry.id)).collect();
                    let by = by.join(", ");
                    return broken!(
                        "rows-change-within-rights",
                        "{by} changes {row:?} at {key:?} from {old:?} to {new:?}"
                    );
                }
            }
        }
        Ok(())
    }

    fn history(&self, entries: &[ServerEntry], row: &RowName) -> History {
        let base = self.base.get(row).cloned();
        let mut rows: Rows = base.map(|base| (row.clone(), base)).into_iter().collect();
        let mut history = History::new();
        for entry in entries {
            let Some(effect) = entry.effects.get(row) else { continue };
            let effect: Effects = [(row.clone(), effect.clone())].into_iter().collect();
            apply_effects(&mut rows, &effect, Some(&entry.within));
            history.insert(entry.key, rows.get(row).cloned());
        }
        history
    }
}

/// Whether the write sets of these entries permit the change. A row may appear where none of them is
/// permitted, by an effect that was void: the fold checks it. Of several entries, one may have
/// removed the row, and another one inserted it elsewhere.
fn are_permitted(by: &[&ServerEntry], old: Option<&Columns>, new: Option<&Columns>) -> bool {
    let permits = |old, new| by.iter().any(|entry| entry.within.permits(old, new));
    permits(old, new) || permits(old, None) && (by.len() > 1 || !permits(None, new))
}

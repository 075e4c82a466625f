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

use super::mirror::Mirror;
use super::oracle::{Fact, Rows, apply_effects};
use super::words;
use crate::simulate::{Checked, broken};

/// A row after each entry that names it.
type History = BTreeMap<Key, Option<Columns>>;

impl Mirror {
    /// Checks the entries that are new, or have new content, since `before`.
    pub(super) fn changed_within_rights(&self, before: &[Fact]) -> Checked {
        let former: BTreeMap<EntryId, &Fact> = before.iter().map(|fact| (fact.id, fact)).collect();
        let is_changed =
            |fact: &&Fact| former.get(&fact.id).is_none_or(|old| old.version != fact.version);
        let mut changed: BTreeMap<RowName, Vec<&Fact>> = BTreeMap::new();
        for fact in self.facts.iter().filter(is_changed) {
            let old = former.get(&fact.id).map(|old| old.effects.rows()).unwrap_or_default();
            for row in fact.effects.rows().union(&old) {
                changed.entry(row.clone()).or_default().push(fact);
            }
        }
        for (row, by) in changed {
            let (old, new) = (self.history(before, &row), self.history(&self.facts, &row));
            for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                let by: Vec<&Fact> = by.iter().copied().filter(|fact| fact.key <= *key).collect();
                let at = |history: &History| {
                    let last = history.range(..=key).next_back().map(|(_, image)| image.clone());
                    last.unwrap_or_else(|| self.base.get(&row).cloned())
                };
                let (old, new) = (at(&old), at(&new));
                if old != new && !are_permitted(&by, old.as_ref(), new.as_ref()) {
                    let by: Vec<String> = by.iter().map(|fact| words::entry(fact.id)).collect();
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

    fn history(&self, facts: &[Fact], row: &RowName) -> History {
        let base = self.base.get(row).cloned();
        let mut rows: Rows = base.map(|base| (row.clone(), base)).into_iter().collect();
        let mut history = History::new();
        for fact in facts {
            let Some(effect) = fact.effects.get(row) else { continue };
            let effect: Effects = [(row.clone(), effect.clone())].into_iter().collect();
            apply_effects(&mut rows, &effect, Some(&fact.within));
            history.insert(fact.key, rows.get(row).cloned());
        }
        history
    }
}

/// Whether the write sets of these entries permit the change. A row may appear where none of them is
/// permitted, by an effect that was void: the fold checks it. Of several entries, one may have
/// removed the row, and another one inserted it elsewhere.
fn are_permitted(by: &[&Fact], old: Option<&Columns>, new: Option<&Columns>) -> bool {
    let permits = |old, new| by.iter().any(|fact| fact.within.permits(old, new));
    permits(old, new) || permits(old, None) && (by.len() > 1 || !permits(None, new))
}

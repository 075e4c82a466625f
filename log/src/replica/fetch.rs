//! Applies pages of the feed, and folds final entries into the base.

use std::collections::BTreeSet;

use super::super::effect::Effects;
use super::super::ids::{EntryId, Name};
use super::super::key::Key;
use super::super::message::{Fetch, Fetched, FullEntry, Held, Item, Page, ViewedEntry};
use super::super::row::RowName;
use super::super::store::StoreError;
use super::super::write_set::WriteSet;
use super::edit::RecordEdit;
use super::store::{Authority, AuthorityEntry, Counted, OwnEntry, Record, ReplicaStore, Shown};
use super::{Replica, ReplicaEvent};

/// The next fetch request; `None` while a snapshot is needed.
pub fn fetch_request<S: ReplicaStore>(replica: &Replica<S>, limit: usize) -> Option<Fetch> {
    let stamp = replica.facts.stamp.filter(|_| !replica.facts.needs_snapshot)?;
    Some(Fetch { stamp, cursor: replica.facts.cursor, limit })
}

/// Applies a response. A page that does not start at the current cursor is outdated and
/// ignored. Returns whether there is more to fetch.
pub fn take_fetched<S: ReplicaStore>(
    replica: &mut Replica<S>,
    answer: &Fetched,
) -> Result<bool, StoreError> {
    let page = match answer {
        Fetched::Resync => {
            let mut edit = replica.edit();
            edit.facts.needs_snapshot = true;
            replica.commit(edit)?;
            return Ok(false);
        }
        Fetched::Page(page) => page,
    };
    if replica.facts.stamp != Some(page.stamp) || replica.facts.cursor != page.from {
        return Ok(false);
    }
    take_page(replica, page)?;
    replica.at_head = !page.more;
    if replica.at_head && !replica.facts.hidden.is_empty() {
        let unconfirmed = unconfirmed_tables(replica)?;
        let mut edit = replica.edit();
        edit.facts.hidden.retain(|table| unconfirmed.contains(table));
        replica.commit(edit)?;
    }
    if let Some(horizon) = page.horizon {
        fold_to(replica, horizon)?;
    }
    Ok(page.more)
}

/// The tables that own entries write whose content is not the one that the server confirmed.
fn unconfirmed_tables<S: ReplicaStore>(replica: &Replica<S>) -> Result<BTreeSet<Name>, StoreError> {
    let mut tables = BTreeSet::new();
    for id in replica.store.own_ids()? {
        let record = replica.store.record(id)?;
        if let Some(Counted::Own(effects)) = record.as_ref().and_then(Record::counted) {
            tables.extend(effects.iter().map(|(row, _)| row.table.clone()));
        }
    }
    Ok(tables)
}

fn take_page<S: ReplicaStore>(replica: &mut Replica<S>, page: &Page) -> Result<(), StoreError> {
    let mut edit = replica.edit();
    edit.facts.cursor = page.next;
    for item in &page.items {
        match item {
            Item::Entry(seen) => take(replica, &mut edit, seen)?,
            Item::Gone(id) => take_gone(replica, &mut edit, *id)?,
        }
    }
    replica.commit(edit)
}

/// Applies the server's view of an entry.
pub(super) fn take<S: ReplicaStore>(
    replica: &Replica<S>,
    edit: &mut RecordEdit,
    seen: &ViewedEntry,
) -> Result<(), StoreError> {
    edit.facts.clock.observe(&seen.key);
    let old = replica.edited(edit, seen.key.id)?;
    let mut record = old.unwrap_or(Record::new(seen.key));
    let showed = record.counted().map(|counted| counted.effects().clone());
    record.key = seen.key;
    record.item = Some(Shown { effects: seen.effects.clone(), held: seen.own.clone() });
    if let Some(whole) = &seen.whole {
        take_whole(edit, &mut record, whole);
        return replica.set(edit, seen.key.id, Some(record));
    }
    record.authority = None;
    match (&mut record.own, &seen.own) {
        (Some(_), None) => {
            // A copy of this database published it under its own author id.
            record.own = None;
            edit.events.push(ReplicaEvent::TakenOver { id: seen.key.id });
        }
        (Some(own), Some(held)) => {
            edit.facts.copied |= held.revision > own.revision;
            if held.by_authority
                && let Some(before) = showed.as_ref().filter(|showed| **showed != seen.effects)
            {
                let (id, before, after) = (seen.key.id, before.clone(), seen.effects.clone());
                edit.events.push(ReplicaEvent::Corrected { id, before, after });
            }
            acknowledge(own, seen, held, edit.facts.buckets.as_ref());
        }
        // An own entry above the horizon that was never created here: another database uses
        // this author id.
        (None, Some(_)) => edit.facts.copied |= seen.key > replica.facts.horizon,
        (None, None) => {}
    }
    if turned(replica, &record, showed.as_ref(), edit) {
        edit.change.run.insert(seen.key);
    }
    replica.set(edit, seen.key.id, Some(record))
}

/// Whether an own action may give another result although no row before it has changed here.
///
/// First case: it shows other effects at the same revision. The rows before it changed on an
/// earlier page, when that did not matter yet, or where the author cannot see them. Second
/// case: these are the first items after a change of membership, and some of its effects were
/// void, because a row in several buckets is readable before it is writable.
fn turned<S: ReplicaStore>(
    replica: &Replica<S>,
    record: &Record,
    showed: Option<&Effects>,
    edit: &RecordEdit,
) -> bool {
    let (Some(own), Some(Shown { effects, held: Some(held) })) = (&record.own, &record.item) else {
        return false;
    };
    let shows_another =
        own.revision == held.revision && showed.is_some_and(|showed| showed != effects);
    let may_count = replica.facts.buckets != edit.facts.buckets && own.effects != *effects;
    record.is_replay() && (shows_another || may_count)
}

/// Removes an entry that has no visible effects any more.
pub(super) fn take_gone<S: ReplicaStore>(
    replica: &Replica<S>,
    edit: &mut RecordEdit,
    id: EntryId,
) -> Result<(), StoreError> {
    let Some(mut record) = replica.edited(edit, id)? else { return Ok(()) };
    record.item = None;
    let record = record.own.is_some().then_some(record);
    replica.set(edit, id, record)
}

/// Folds the items up to the horizon into the base: they are final. Own entries that the server
/// does not have stay above them until their verdict.
pub(super) fn fold_to<S: ReplicaStore>(
    replica: &mut Replica<S>,
    horizon: Key,
) -> Result<(), StoreError> {
    if horizon <= replica.facts.horizon {
        return Ok(());
    }
    let (mut settled, mut waiting) = (Vec::new(), Vec::new());
    let mut finality = replica.edit();
    for id in replica.store.ids(&horizon)? {
        let Some(mut record) = replica.store.record(id)? else { continue };
        if record.item.is_none() {
            waiting.extend(record.counted().map(|_| record.key));
            continue;
        }
        if let Some(own) = &mut record.own {
            own.authority = Authority::Frozen;
        }
        if let Some(authority) = &mut record.authority {
            authority.effects = authority.whole.content.effects.clone();
        }
        settled.push((id, record.key, record.named()));
        replica.set(&mut finality, id, Some(record))?;
    }
    replica.commit(finality)?;
    let mut edit = replica.edit();
    edit.facts.horizon = horizon;
    if let Some(first) = waiting.first() {
        let over = settled.iter().filter(|(_, key, _)| key > first);
        let rows: BTreeSet<RowName> = over.flat_map(|(_, _, rows)| rows).cloned().collect();
        edit.change.everything = !rows.is_empty();
        edit.change.below.push((Key::FIRST, rows));
    }
    for (id, key, _) in settled {
        edit.change.settle.insert(key);
        edit.records.insert(id, None);
    }
    replica.commit(edit)
}

/// Stores the server's state of an own entry, whose author now has this write set.
fn acknowledge(own: &mut OwnEntry, seen: &ViewedEntry, held: &Held, writes: Option<&WriteSet>) {
    own.acknowledged = own.acknowledged.max(Some(held.revision));
    let left = writes.is_some_and(|writes| !writes.covers(&held.write_set));
    if held.by_authority {
        own.authority = Authority::Appointed;
        own.revision = held.revision;
    } else if left || held.is_hidden {
        // The server accepts no further revision, even if this device did not know that it was
        // accepted; or a run would miss a row that only the server has.
        own.authority = Authority::Frozen;
        own.revision = held.revision;
    } else if own.authority == Authority::Appointed {
        // Released by the operator: the server holds the authority's content, which the author may
        // change again.
        own.authority = Authority::Mine;
        own.effects = seen.effects.clone();
    } else if own.authority == Authority::Parked {
        own.authority = Authority::Mine;
    }
}

/// Takes an entry as the authority. A new entry, or one whose content is not the authority's last
/// correction, is run.
fn take_whole(edit: &mut RecordEdit, record: &mut Record, whole: &FullEntry) {
    let content = &whole.content;
    let previous = record.authority.take().filter(|authority| {
        authority.effects == content.effects
            && authority.whole.content.write_set == content.write_set
            && authority.whole.intent.is_some() == whole.intent.is_some()
    });
    if previous.is_none() && whole.intent.is_some() {
        edit.change.run.insert(record.key);
    }
    let tables = previous.map(|authority| authority.tables).unwrap_or_default();
    let effects = content.effects.clone();
    let authority = AuthorityEntry { whole: whole.clone(), effects, tables };
    record.authority = Some(Box::new(authority));
}

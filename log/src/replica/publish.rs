//! Publishing, and the effects of the server's verdicts: on own entries, and on the corrections of the
//! authority.

use std::collections::BTreeSet;

use super::super::entry::{Offer, Revision};
use super::super::ids::EntryId;
use super::super::key::Key;
use super::super::message::{
    Correct, Corrected, Correction, EntryVerdict, Outcome, Publish, Published, Verdict,
};
use super::super::store::StoreError;
use super::edit::RecordEdit;
use super::store::{Authority, OwnEntry, Record, ReplicaStore, Waiting};
use super::{Replica, ReplicaEvent};
use rejoin_protocol::mutant::{self, Mutant};

/// The next publish request, with at most `limit` entries in key order, without those in `aside`; `None` unless the feed
/// was fetched to its end since the last request. Its number is stored before it is sent, so
/// that no old request can have the same number.
pub fn publish_request<S: ReplicaStore>(
    replica: &mut Replica<S>,
    limit: usize,
    aside: &BTreeSet<EntryId>,
) -> Result<Option<Publish>, StoreError> {
    let ready = replica.at_head && !replica.facts.needs_snapshot && !replica.needs_new_author();
    let Some(stamp) = replica.facts.stamp.filter(|_| ready) else { return Ok(None) };
    let mut offers = Vec::new();
    let most = limit.saturating_add(aside.len());
    let waiting = replica.store.waiting_ids(Waiting::Server, most)?;
    for id in waiting.into_iter().filter(|id| !aside.contains(id)).take(limit) {
        if let Some(Record { key, own: Some(own), .. }) = replica.store.record(id)? {
            offers.push(offer(key, *own));
        }
    }
    if offers.is_empty() {
        return Ok(None);
    }
    replica.facts.number += 1;
    replica.store.set_facts(&replica.facts)?;
    replica.at_head = false;
    replica.awaited = Some(replica.facts.number);
    Ok(Some(Publish { stamp, number: replica.facts.number, offers }))
}

/// Whether the feed was fetched to its end since the last publish request.
pub fn is_at_head<S: ReplicaStore>(replica: &Replica<S>) -> bool {
    replica.at_head && !replica.facts.needs_snapshot
}

/// Applies the server's response, at this wall time. A response to another request than the
/// last is ignored.
pub fn take_published<S: ReplicaStore>(
    replica: &mut Replica<S>,
    answer: &Published,
    wall: u64,
) -> Result<(), StoreError> {
    if replica.awaited != Some(answer.number) {
        return Ok(());
    }
    replica.awaited = None;
    let mut edit = replica.edit();
    match &answer.outcome {
        Outcome::Resync => edit.facts.needs_snapshot = true,
        Outcome::Stale { last } => {
            // A number above all that this database used: another database uses its author id.
            edit.facts.copied |= *last > answer.number;
            edit.facts.number = edit.facts.number.max(*last);
        }
        Outcome::Verdicts { verdicts } => {
            for EntryVerdict { id, verdict } in verdicts {
                take_verdict(replica, &mut edit, *id, verdict, wall)?;
            }
        }
    }
    replica.commit(edit)
}

/// Applies the response to corrections: an entry whose correction is refused counts as the server has
/// it, until something before it changes.
pub fn take_corrected<S: ReplicaStore>(
    replica: &mut Replica<S>,
    request: &Correct,
    answer: &Corrected,
) -> Result<(), StoreError> {
    let mut edit = replica.edit();
    for Correction { id, version, effects } in &request.corrections {
        let Some(mut record) = replica.store.record(*id)? else { continue };
        if let Some(authority) = &mut record.authority
            && answer.refused.contains(id)
            && authority.whole.version == *version
            && authority.effects == *effects
        {
            authority.effects = authority.whole.content.effects.clone();
            replica.set(&mut edit, *id, Some(record))?;
        }
    }
    replica.commit(edit)
}

fn take_verdict<S: ReplicaStore>(
    replica: &mut Replica<S>,
    edit: &mut RecordEdit,
    id: EntryId,
    verdict: &Verdict,
    wall: u64,
) -> Result<(), StoreError> {
    let Some(mut record) = replica.edited(edit, id)? else { return Ok(()) };
    let Some(own) = &mut record.own else { return Ok(()) };
    match verdict {
        Verdict::Held { revision, key } => {
            edit.facts.copied |= *revision > own.revision;
            own.acknowledged = own.acknowledged.max(Some(*revision));
            record.key = *key;
        }
        Verdict::ByAuthority { revision, key } => {
            settle(own, Authority::Appointed, *revision);
            record.key = *key;
        }
        Verdict::Frozen { revision, key } => {
            settle(own, Authority::Frozen, *revision);
            record.key = *key;
        }
        Verdict::Final => {
            own.acknowledged = Some(own.revision);
            own.authority = Authority::Frozen;
            // Without its item the base here cannot contain it.
            edit.facts.needs_snapshot |= record.item.is_none();
        }
        Verdict::Denied if own.acknowledged.is_none() => {
            own.authority = Authority::Parked;
            edit.events.push(ReplicaEvent::Parked { id });
        }
        Verdict::Denied => own.authority = Authority::Frozen,
        Verdict::Foreign => {
            edit.events.push(ReplicaEvent::TakenOver { id });
            record.own = None;
            let record = record.item.is_some().then_some(record);
            return replica.set(edit, id, record);
        }
        Verdict::TooFarAhead { now } => {
            let (seen, _) = highest_below(replica, edit, &record.key)?;
            edit.facts.clock.set_back(wall, *now, seen);
            return rekey(replica, edit, &record, wall);
        }
        Verdict::CounterTooHigh { highest } => {
            let (_, seen) = highest_below(replica, edit, &record.key)?;
            edit.facts.clock.lower(seen.max(*highest));
            return rekey(replica, edit, &record, wall);
        }
        Verdict::TooOld { horizon } => {
            edit.facts.clock.pass(horizon);
            return rekey(replica, edit, &record, wall);
        }
    }
    let is_accepted = record.own.as_ref().is_some_and(|own| own.acknowledged.is_some());
    if is_accepted && record.item.is_none() && record.key <= edit.facts.horizon {
        // The answer is older than the snapshot taken since, whose base contains the entry: it would
        // count twice.
        edit.facts.needs_snapshot = true;
    }
    replica.set(edit, id, Some(record))
}

/// The highest time and the highest counter in use: of items from the server and of own entries
/// before this key.
fn highest_below<S: ReplicaStore>(
    replica: &Replica<S>,
    edit: &mut RecordEdit,
    key: &Key,
) -> Result<(u64, u64), StoreError> {
    if mutant::on(Mutant::KeyBelowSeen) {
        return Ok((0, 0));
    }
    let (mut millis, mut counter) = (edit.facts.horizon.millis, 0);
    for id in replica.store.ids(&Key::LAST)? {
        let Some(record) = replica.edited(edit, id)? else { continue };
        if record.key < *key || !record.is_unpublished() {
            millis = millis.max(record.key.millis);
            counter = counter.max(record.key.counter);
        }
    }
    Ok((millis, counter))
}

/// Assigns new keys to this entry and all later unpublished own entries, in order, above all
/// keys seen.
fn rekey<S: ReplicaStore>(
    replica: &mut Replica<S>,
    edit: &mut RecordEdit,
    first: &Record,
    wall: u64,
) -> Result<(), StoreError> {
    if first.own.as_ref().is_none_or(|own| own.acknowledged.is_some()) {
        return Ok(());
    }
    for id in replica.store.own_ids()? {
        let Some(mut record) = replica.edited(edit, id)? else { continue };
        let later = record.key > first.key;
        if record.key == first.key || later && record.is_unpublished() {
            record.key = edit.facts.clock.stamp(wall, edit.facts.author, id);
            edit.change.run.extend(record.is_replay().then_some(record.key));
            edit.events.push(ReplicaEvent::Rekeyed { id });
            replica.set(edit, id, Some(record))?;
        }
    }
    Ok(())
}

fn offer(key: Key, own: OwnEntry) -> Offer {
    let OwnEntry { time, intent, effects, revision, .. } = own;
    Offer { key, time, intent, revision, effects }
}

/// The author loses authority over an own entry: the server's content is used.
fn settle(own: &mut OwnEntry, authority: Authority, revision: Revision) {
    own.authority = authority;
    own.acknowledged = Some(revision);
    own.revision = revision;
}

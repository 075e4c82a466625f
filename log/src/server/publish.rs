//! Publish requests: checks the author and the request number, and evaluates each entry.

use std::collections::BTreeSet;

use super::super::effect::{Effect, Effects};
use super::super::entry::{Content, Offer};
use super::super::ids::{AuthorId, Buckets, EntryId};
use super::super::key::Key;
use super::super::message::{EntryVerdict, Outcome, Publish, Published, Verdict, bounds};
use super::super::row::RowName;
use super::super::store::StoreError;
use super::super::write_set::WriteSet;
use super::reach::overreaches;
use super::store::{AcceptedEntry, LogStore};
use super::{Server, ServerError};

/// How far a counter may be above every accepted one: more than any device needs, and too little
/// for a client to exhaust the counters.
const COUNTERS: u64 = 1 << 32;

impl<S: LogStore> Server<S> {
    /// Evaluates a request of an author, at the server's time `now`.
    ///
    /// Copies of a request may arrive at any time: only a request with a higher number than all
    /// before is processed.
    pub fn publish(
        &mut self,
        author: AuthorId,
        request: &Publish,
        now: u64,
    ) -> Result<Published, ServerError> {
        self.publish_in_time(author, request, now, &|| false)
    }

    /// The same, until `is_over`, asked before each entry but the first. The device sends the rest
    /// again.
    pub fn publish_in_time(
        &mut self,
        author: AuthorId,
        request: &Publish,
        now: u64,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Published, ServerError> {
        let number = request.number;
        let (mut known, membership) = self.person(author)?;
        if request.stamp != self.stamp(&membership) {
            return Ok(Published { number, outcome: Outcome::Resync });
        }
        let last = known.last_number;
        if number <= last {
            return Ok(Published { number, outcome: Outcome::Stale { last } });
        }
        known.last_number = number.max(last);
        self.store.put_author(author, &known)?;
        let ids: Vec<EntryId> = request.offers.iter().map(|offer| offer.key.id).collect();
        let mut stored = self.store.stored_among(&ids)?;
        self.store.expect(&rows_of(&request.offers, &stored))?;
        let write_set = membership.write_set();
        let mut verdicts = Vec::with_capacity(ids.len());
        for offer in &request.offers {
            if !verdicts.is_empty() && is_over() {
                break;
            }
            // An id that comes twice is known the second time.
            let is_known = !stored.insert(offer.key.id);
            let verdict = self.evaluate(author, &write_set, offer, is_known, now)?;
            let goes_on = verdict.goes_on();
            verdicts.push(EntryVerdict { id: offer.key.id, verdict });
            if !goes_on {
                break;
            }
        }
        self.store.set_facts(&self.facts)?;
        Ok(Published { number, outcome: Outcome::Verdicts { verdicts } })
    }

    fn evaluate(
        &mut self,
        author: AuthorId,
        write_set: &WriteSet,
        offer: &Offer,
        is_known: bool,
        now: u64,
    ) -> Result<Verdict, StoreError> {
        // Identity is checked first: an accepted entry is never accepted again.
        if is_known && let Some(verdict) = self.identity(author, write_set, offer, now)? {
            return Ok(verdict);
        }
        if offer.key.author != author || bounds::check_offer(offer).is_err() {
            return Ok(Verdict::Denied);
        }
        if offer.key.millis > now.saturating_add(self.limits.drift) {
            return Ok(Verdict::TooFarAhead { now });
        }
        let highest = self.facts.counter;
        if offer.key.counter > highest.saturating_add(COUNTERS) {
            return Ok(Verdict::CounterTooHigh { highest });
        }
        if offer.key <= self.facts.horizon {
            return Ok(Verdict::TooOld { horizon: self.facts.horizon });
        }
        if self.denies(offer, write_set)? {
            return Ok(Verdict::Denied);
        }
        self.accept(offer, write_set, now)
    }

    /// The verdict on an entry that the server already has.
    fn identity(
        &mut self,
        author: AuthorId,
        write_set: &WriteSet,
        offer: &Offer,
        now: u64,
    ) -> Result<Option<Verdict>, StoreError> {
        if let Some(owner) = self.store.final_author(offer.key.id)? {
            return Ok(Some(if owner == author { Verdict::Final } else { Verdict::Foreign }));
        }
        match self.store.entry(offer.key.id)? {
            Some(entry) if entry.key.author != author => Ok(Some(Verdict::Foreign)),
            Some(entry) => self.known(entry, offer, write_set, now).map(Some),
            None => Ok(None),
        }
    }

    /// A repeated offer of an accepted entry: accepted if it is newer and the author has the
    /// authority.
    fn known(
        &mut self,
        mut entry: AcceptedEntry,
        offer: &Offer,
        write_set: &WriteSet,
        now: u64,
    ) -> Result<Verdict, StoreError> {
        let (revision, key) = (entry.content.revision, entry.key);
        if entry.by_authority {
            return Ok(Verdict::ByAuthority { revision, key });
        }
        if offer.revision <= revision {
            return Ok(Verdict::Held { revision, key });
        }
        if !write_set.covers(&entry.content.write_set) || self.hides(&entry, write_set)? {
            return Ok(Verdict::Frozen { revision, key });
        }
        if bounds::check_offer(offer).is_err() {
            return Ok(Verdict::Denied);
        }
        let effects = (&entry.content.effects, &offer.effects);
        if overreaches(self, &key, effects, write_set)? {
            return Ok(Verdict::Frozen { revision, key });
        }
        let former = std::mem::replace(&mut entry.content, content(offer, write_set));
        entry.version += 1;
        entry.by_authority = false;
        self.place(&entry, &former.effects, now)?;
        Ok(Verdict::Held { revision: offer.revision, key })
    }

    fn accept(
        &mut self,
        offer: &Offer,
        write_set: &WriteSet,
        now: u64,
    ) -> Result<Verdict, StoreError> {
        let entry = AcceptedEntry {
            id: offer.key.id,
            key: offer.key,
            time: offer.time,
            intent: offer.intent.clone(),
            content: content(offer, write_set),
            version: 1,
            by_authority: false,
            position: 0,
            moved_at: now,
            touched: Buckets::default(),
        };
        self.facts.counter = self.facts.counter.max(offer.key.counter);
        self.place(&entry, &Effects::default(), now)?;
        Ok(Verdict::Held { revision: offer.revision, key: offer.key })
    }

    /// Whether an entry wrote a row that its author does not read.
    pub(super) fn hides(
        &self,
        entry: &AcceptedEntry,
        write_set: &WriteSet,
    ) -> Result<bool, StoreError> {
        let Some(readable) = write_set.readable() else { return Ok(false) };
        for (row, _) in entry.content.effects.iter() {
            let passage = self.store.link(row, &entry.key)?.and_then(|link| link.passage);
            if passage.is_some_and(|passage| passage.hides(readable)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a new entry places a row where its author may not write, at its key or at a later
    /// one, or takes a key there.
    fn denies(&self, offer: &Offer, write_set: &WriteSet) -> Result<bool, StoreError> {
        let mine = |row, image: &_| write_set.contains(row, image, &*self.placement);
        for (row, effect) in offer.effects.iter() {
            let denied = match effect {
                Effect::Insert(image) => !mine(row, image),
                Effect::Update(_) => {
                    let before = self.row_before(row, &offer.key)?;
                    let (before, after) = (before.as_ref(), effect.on(before.as_ref()));
                    // A row that its author may not write is void anyway, and no reason to deny the
                    // entry.
                    before.is_some_and(|before| mine(row, before))
                        && !write_set.permits(row, before, after.as_ref(), &*self.placement)
                }
                Effect::Delete => false,
            };
            if denied {
                return Ok(true);
            }
        }
        overreaches(self, &offer.key, (&Effects::default(), &offer.effects), write_set)
    }
}

/// The rows of the new offers, each at the key of its offer.
fn rows_of<'o>(offers: &'o [Offer], stored: &BTreeSet<EntryId>) -> Vec<(&'o RowName, &'o Key)> {
    let new = offers.iter().filter(|offer| !stored.contains(&offer.key.id));
    new.flat_map(|offer| offer.effects.iter().map(|(row, _)| (row, &offer.key))).collect()
}

fn content(offer: &Offer, write_set: &WriteSet) -> Content {
    Content {
        revision: offer.revision,
        effects: offer.effects.clone(),
        write_set: write_set.clone(),
    }
}

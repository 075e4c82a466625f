//! The feed: what has moved since a cursor, as visible to one viewer.

use super::super::ids::{AuthorId, Buckets};
use super::super::message::{
    Cursor, Fetch, Fetched, FullEntry, Held, Item, Page, ViewedEntry, bounds,
};
use super::super::row::{LogRow, RowName};
use super::super::store::StoreError;
use super::store::{AcceptedEntry, LinkedEntry, LogStore};
use super::{Server, ServerError};
use rejoin_protocol::limits::{LOG_PAGE, LOG_PAGE_BYTES};
use rejoin_protocol::mutant::{self, Mutant};

/// Number of entries read at a time.
pub(super) const STRIDE: usize = 16;

/// The viewer.
#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) author: AuthorId,
    pub(super) buckets: Buckets,
    /// The authority sees all rows.
    pub(super) authority: bool,
}

impl<S: LogStore> Server<S> {
    /// The items after a cursor, at most `limit` and at most a page's bytes. A page never splits an
    /// item, and its cursor also skips items that are hidden from the viewer. A cursor above the
    /// head is answered `resync`: it is not one of this log.
    pub fn fetch(&self, author: AuthorId, request: &Fetch) -> Result<Fetched, ServerError> {
        let (_, membership) = self.person(author)?;
        let stamp = self.stamp(&membership);
        let missed = request.cursor.0 < self.facts.floor && !mutant::on(Mutant::NoFloor);
        if request.stamp != stamp || missed || request.cursor.0 > self.facts.head {
            return Ok(Fetched::Resync);
        }
        let viewer = self.viewer(author, membership.buckets);
        let (items, next, more) = self.after(request.cursor, request.limit, &viewer)?;
        let horizon = (!more).then_some(self.facts.horizon);
        Ok(Fetched::Page(Page { stamp, from: request.cursor, items, next, more, horizon }))
    }

    pub(super) fn viewer(&self, author: AuthorId, buckets: Buckets) -> Viewer {
        Viewer { author, buckets, authority: self.facts.authority == Some(author) }
    }

    /// The items after a cursor, the cursor after them, and whether there are more.
    pub(super) fn after(
        &self,
        cursor: Cursor,
        limit: usize,
        viewer: &Viewer,
    ) -> Result<(Vec<Item>, Cursor, bool), StoreError> {
        let limit = limit.clamp(1, LOG_PAGE);
        let (mut items, mut next, mut bytes) = (Vec::new(), cursor.0, 0);
        loop {
            // One more than fits ends the page.
            let stride = STRIDE.min(limit - items.len() + 1);
            let ids = self.store.by_position(next, stride)?;
            if ids.is_empty() {
                return Ok((items, Cursor(self.facts.head), false));
            }
            for linked in self.store.with_passages(&ids)? {
                let item = self.item(&linked, viewer)?;
                if item.is_some() && (items.len() == limit || bytes >= LOG_PAGE_BYTES) {
                    return Ok((items, Cursor(next), true));
                }
                bytes += item.as_ref().map_or(0, bytes_of_item);
                items.extend(item);
                next = linked.entry.position;
            }
        }
    }

    /// An entry in the feed of this viewer; `None` if it never concerned the viewer.
    fn item(&self, linked: &LinkedEntry, viewer: &Viewer) -> Result<Option<Item>, StoreError> {
        if let Some(seen) = self.seen(linked, viewer)? {
            return Ok(Some(Item::Entry(Box::new(seen))));
        }
        let entry = &linked.entry;
        let is_gone = entry.touched.meet(&viewer.buckets) && !mutant::on(Mutant::NotToldGone);
        Ok(is_gone.then_some(Item::Gone(entry.id)))
    }

    /// The view of an entry for this viewer. An own entry is always included, even if it shows
    /// nothing; the authority, too, is the author of its own entries.
    pub(super) fn seen(
        &self,
        LinkedEntry { entry, passages }: &LinkedEntry,
        viewer: &Viewer,
    ) -> Result<Option<ViewedEntry>, StoreError> {
        let is_own = entry.key.author == viewer.author && !mutant::on(Mutant::OwnNotSent);
        let is_foreign = viewer.authority && !is_own;
        let whole = if is_foreign { Some(self.whole(entry)?) } else { None };
        let mut own = is_own.then(|| held(entry));
        let mut effects = Vec::new();
        if whole.is_none() {
            for ((row, _), passage) in entry.content.effects.iter().zip(passages) {
                let Some(passage) = passage else { continue };
                if viewer.authority {
                    effects.push((row.clone(), passage.effect.clone()));
                    continue;
                }
                let shown = passage.shown(&viewer.buckets);
                effects.extend(shown.map(|effect| (row.clone(), effect)));
                if let Some(own) = &mut own {
                    own.is_hidden |= passage.hides(&viewer.buckets);
                }
            }
        }
        let nothing = effects.is_empty() && own.is_none() && whole.is_none();
        let effects = effects.into_iter().collect();
        Ok((!nothing).then_some(ViewedEntry { key: entry.key, effects, own, whole }))
    }

    /// An entry for the authority. Without its intent if it wrote a row that its author does not
    /// read: a run as the author would miss the row.
    fn whole(&self, entry: &AcceptedEntry) -> Result<FullEntry, StoreError> {
        let hides = self.hides(entry, &entry.content.write_set)?;
        let intent = entry.intent.clone().filter(|_| !hides);
        let (time, content, version) = (entry.time, entry.content.clone(), entry.version);
        Ok(FullEntry { time, intent, content, version })
    }

    /// Whether this viewer may read a row.
    pub(super) fn shows(&self, row: &RowName, image: &LogRow, viewer: &Viewer) -> bool {
        viewer.authority || self.placement.buckets(row, image).meet(&viewer.buckets)
    }
}

/// The bytes of content of an item.
fn bytes_of_item(item: &Item) -> usize {
    match item {
        Item::Entry(seen) => bytes_of(seen),
        Item::Gone(_) => 0,
    }
}

pub(super) fn bytes_of(seen: &ViewedEntry) -> usize {
    let whole = seen
        .whole
        .as_ref()
        .map_or(0, |whole| bounds::bytes_of(whole.intent.as_ref(), &whole.content.effects));
    whole + bounds::bytes_of(None, &seen.effects)
}

fn held(entry: &AcceptedEntry) -> Held {
    Held {
        revision: entry.content.revision,
        write_set: entry.content.write_set.clone(),
        by_authority: entry.by_authority,
        is_hidden: false,
    }
}

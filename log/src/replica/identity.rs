//! One database, one author (L12): what to do when it was copied, or put back from a backup.

use super::super::ids::AuthorId;
use super::super::store::StoreError;
use super::store::{Authority, ReplicaStore};
use super::{Event, Replica};

impl<S: ReplicaStore> Replica<S> {
    /// Whether the feed has shown that another database writes under this author's name. Nothing is published until this one
    /// has another.
    pub fn needs_new_author(&self) -> bool {
        self.facts.copied
    }

    /// Goes on as another author, newly registered, after the feed has been fetched to its end.
    ///
    /// What the server holds of the old author's stands as it is, and is folded like anybody's; what it lacks goes on under the
    /// new name, ids kept, in its old order, above everything that was seen. If a copy does the same, the first to publish an
    /// entry has it, and it counts once.
    pub fn become_author(&mut self, author: AuthorId, wall: u64) -> Result<(), StoreError> {
        let mut edit = self.edit();
        edit.facts.author = author;
        edit.facts.copied = false;
        for id in self.store.own_ids()? {
            let Some(mut record) = self.store.record(id)? else { continue };
            let Some(own) = &mut record.own else { continue };
            if record.item.is_some() {
                record.own = None;
            } else if own.acknowledged.is_some() {
                own.authority = Authority::Frozen;
            } else {
                record.key = edit.facts.clock.stamp(wall, author, id);
                edit.change.run.extend(record.is_replay().then_some(record.key));
                edit.events.push(Event::Rekeyed { id });
            }
            self.set(&mut edit, id, Some(record))?;
        }
        self.at_head = false;
        self.awaited = None;
        self.commit(edit)
    }
}

//! Author identity: detects that a database was copied or restored from a backup.

use super::super::ids::AuthorId;
use super::super::store::StoreError;
use super::store::{Authority, ReplicaStore};
use super::{Replica, ReplicaEvent};

impl<S: ReplicaStore> Replica<S> {
    /// Whether the feed has shown that another database uses this author id. Nothing is published
    /// until this database has a new author id.
    pub fn needs_new_author(&self) -> bool {
        self.facts.copied
    }

    /// Continues as a newly registered author, after the feed has been fetched to its end.
    ///
    /// Entries of the old author on the server are kept, and folded like those of other authors.
    /// Entries that the server lacks continue under the new author with the same ids, in the old
    /// order, above all keys seen. If a copy does the same, the first to publish an entry owns it,
    /// and it takes effect once.
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
                edit.events.push(ReplicaEvent::Rekeyed { id });
            }
            self.set(&mut edit, id, Some(record))?;
        }
        self.at_head = false;
        self.awaited = None;
        self.commit(edit)
    }
}

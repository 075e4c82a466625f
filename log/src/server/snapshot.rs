//! Snapshots: the base at the horizon and every later item, as visible to one viewer.
//!
//! A snapshot does not contain the current rows, because a late entry could not be inserted below
//! them.

use super::super::ids::AuthorId;
use super::super::message::{Cursor, LogSnapshot};
use super::super::row::{LogRow, RowName};
use super::super::store::StoreError;
use super::feed::Viewer;
use super::store::LogStore;
use super::{Server, ServerError};

impl<S: LogStore> Server<S> {
    /// Everything an author may read now.
    pub fn snapshot(&self, author: AuthorId) -> Result<LogSnapshot, ServerError> {
        let (_, membership) = self.person(author)?;
        let stamp = self.stamp(&membership);
        let viewer = self.viewer(author, membership.buckets);
        let mut items = Vec::new();
        for entry in self.entries()? {
            items.extend(self.seen(&entry, &viewer)?);
        }
        Ok(LogSnapshot {
            stamp,
            horizon: self.facts.horizon,
            base: self.base_of(&viewer)?,
            items,
            cursor: Cursor(self.facts.head),
            buckets: viewer.buckets,
        })
    }

    fn base_of(&self, viewer: &Viewer) -> Result<Vec<(RowName, LogRow)>, StoreError> {
        let rows = self.store.base_rows()?;
        Ok(rows.into_iter().filter(|(row, image)| self.shows(row, image, viewer)).collect())
    }
}

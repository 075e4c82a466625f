//! The key of an entry: its place in the order in which things were done (L6).

use uuid::Uuid;

use super::ids::{AuthorId, EntryId};

/// Compared field by field, in this order, ids by their bytes: a total order that nobody disputes. Fixed at the write; only
/// the server's `too_far_ahead` and `too_old` give an entry another one (L6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Milliseconds since 1970 by the author's hybrid clock.
    pub millis: u64,
    /// The author's counter: above every counter that it had seen.
    pub counter: u64,
    /// The author.
    pub author: AuthorId,
    /// The entry.
    pub id: EntryId,
}

impl Key {
    /// Below every key.
    pub const FIRST: Self =
        Self { millis: 0, counter: 0, author: AuthorId(Uuid::nil()), id: EntryId(Uuid::nil()) };

    /// Not below any key of this millisecond or an earlier one: a horizon at a moment.
    pub fn end_of(millis: u64) -> Self {
        let (author, id) = (AuthorId(Uuid::max()), EntryId(Uuid::max()));
        Self { millis, counter: u64::MAX, author, id }
    }
}

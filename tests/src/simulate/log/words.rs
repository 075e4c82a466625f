//! Ids of authors and entries, and how a trace writes them: `c1.3` is the third entry of the second device.

use rejoin_log::ids::{AuthorId, EntryId};
use uuid::Uuid;

/// The id of a device's `number`th database: the first it begins with, later ones after it was found to be a copy.
pub(super) fn author(device: usize, number: u64) -> AuthorId {
    AuthorId(Uuid::from_u64_pair(u64::MAX / 2 - device as u64, number))
}

/// The id of a device's `number`th entry.
pub(super) fn entry_id(device: usize, number: u64) -> EntryId {
    EntryId(Uuid::from_u64_pair(device as u64 + 1, number))
}

/// An entry, as `c1.3`.
pub(super) fn entry(id: EntryId) -> String {
    let (device, number) = id.0.as_u64_pair();
    format!("c{}.{number}", device.wrapping_sub(1))
}

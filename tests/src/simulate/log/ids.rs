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

/// The id of a modified client of a user.
pub(super) fn forger(user: usize) -> AuthorId {
    AuthorId(Uuid::from_u64_pair(u64::MAX / 2 - FORGERS - user as u64, 0))
}

/// The user of a modified client; `None` for any other.
pub(super) fn forged_user(author: AuthorId) -> Option<usize> {
    let (device, _) = author.0.as_u64_pair();
    let number = (u64::MAX / 2).checked_sub(device)?.checked_sub(FORGERS)?;
    usize::try_from(number).ok().filter(|user| *user < 1_000)
}

/// The id of a user's `number`th forged entry.
pub(super) fn forged_id(user: usize, number: u64) -> EntryId {
    EntryId(Uuid::from_u64_pair(FORGERS + user as u64 + 1, number))
}

/// Above the numbers of devices and of the authority.
const FORGERS: u64 = 2_000;

/// An entry, as `c1.3`.
pub(super) fn entry(id: EntryId) -> String {
    let (device, number) = id.0.as_u64_pair();
    format!("c{}.{number}", device.wrapping_sub(1))
}

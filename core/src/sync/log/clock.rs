//! The hybrid clock of an author: wall time where it can be had, and never behind what was seen (L6).
//!
//! Pure: the wall's time is given at each call, in milliseconds since 1970. The whole clock is durable, and is saved with
//! the entry that it stamped.

use super::ids::{AuthorId, EntryId};
use super::key::Key;

/// An author's clock: the last time given or seen, the highest counter given or seen, and how far the device's own clock
/// was found to be ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    millis: u64,
    counter: u64,
    ahead: u64,
}

impl Clock {
    /// The key of something done now: later than everything this clock gave or saw.
    pub fn stamp(&mut self, wall: u64, author: AuthorId, id: EntryId) -> Key {
        self.millis = self.millis.max(self.now(wall));
        self.counter += 1;
        Key { millis: self.millis, counter: self.counter, author, id }
    }

    /// Takes note of a key that somebody gave.
    pub fn observe(&mut self, key: &Key) {
        self.millis = self.millis.max(key.millis);
        self.counter = self.counter.max(key.counter);
    }

    /// What the device's clock would show if it were not ahead.
    pub fn now(&self, wall: u64) -> u64 {
        wall.saturating_sub(self.ahead)
    }

    /// The server said `too_far_ahead` at its time `server`: the clock goes back to that, though never below `seen`, the
    /// highest time among all keys that stand (L6).
    pub fn set_back(&mut self, wall: u64, server: u64, seen: u64) {
        self.ahead += self.now(wall).saturating_sub(server);
        self.millis = server.max(seen);
    }
}

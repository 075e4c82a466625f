//! The hybrid logical clock of an author: wall time, but never behind a key that it has seen.
//!
//! Pure: the caller passes the wall time, in milliseconds since 1970. The whole clock is durable,
//! and is saved with the entry that it stamped.

use serde::{Deserialize, Serialize};

use super::ids::{AuthorId, EntryId};
use super::key::Key;

/// An author's clock: the highest time and counter stamped or seen, and by how much the device's
/// wall clock was ahead of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clock {
    millis: u64,
    counter: u64,
    ahead: u64,
}

impl Clock {
    /// Stamps a key above all keys that this clock stamped or saw. If the counter is exhausted, the
    /// time advances by a millisecond instead.
    pub fn stamp(&mut self, wall: u64, author: AuthorId, id: EntryId) -> Key {
        self.millis = self.millis.max(self.now(wall));
        match self.counter.checked_add(1) {
            Some(next) => self.counter = next,
            None => self.millis = self.millis.saturating_add(1),
        }
        Key { millis: self.millis, counter: self.counter, author, id }
    }

    /// Observes a key of another author.
    pub fn observe(&mut self, key: &Key) {
        self.millis = self.millis.max(key.millis);
        self.counter = self.counter.max(key.counter);
    }

    /// The wall time, corrected if the device's clock is ahead.
    pub fn now(&self, wall: u64) -> u64 {
        wall.saturating_sub(self.ahead)
    }

    /// Advances the clock beyond a horizon: later stamps are above it.
    pub fn pass(&mut self, horizon: &Key) {
        self.millis = self.millis.max(horizon.millis.saturating_add(1));
    }

    /// After the verdict `counter_too_high`: resets the counter to `highest`, the highest among all
    /// current keys.
    pub fn lower(&mut self, highest: u64) {
        self.counter = highest;
    }

    /// After the verdict `too_far_ahead` at server time `server`: sets the clock back to that time,
    /// but not below `seen`, the highest time among all current keys.
    pub fn set_back(&mut self, wall: u64, server: u64, seen: u64) {
        self.ahead += self.now(wall).saturating_sub(server);
        self.millis = server.max(seen);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Clock;
    use crate::ids::{AuthorId, EntryId};
    use crate::key::Key;
    use serde::Deserialize;
    use uuid::Uuid;

    const VECTORS: &str = include_str!("../vectors/log-order.json");
    const AUTHOR: AuthorId = AuthorId(Uuid::from_u128(7));
    const ENTRY: EntryId = EntryId(Uuid::from_u128(9));

    #[derive(Deserialize)]
    struct Vectors {
        clocks: Vec<Vector>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        now: u64,
        client_id: String,
        #[serde(rename = "self")]
        own: Recorded,
        incoming: Recorded,
        local: Recorded,
        received: Recorded,
    }

    /// A recorded clock of the vectors: it has a counter per device, one of them its own.
    #[derive(Deserialize)]
    struct Recorded {
        timestamp: u64,
        vector: BTreeMap<String, u64>,
    }

    impl Recorded {
        fn counter(&self, device: &str) -> u64 {
            self.vector.get(device).copied().unwrap_or_default()
        }

        fn clock(&self, device: &str) -> Clock {
            Clock { millis: self.timestamp, counter: self.counter(device), ahead: 0 }
        }

        fn highest(&self) -> u64 {
            self.vector.values().copied().max().unwrap_or_default()
        }
    }

    fn key(millis: u64, counter: u64) -> Key {
        Key { millis, counter, author: AUTHOR, id: ENTRY }
    }

    #[test]
    fn recorded_clock_vectors_pass() {
        let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
        assert_eq!(vectors.clocks.len(), 120);
        for (index, vector) in vectors.clocks.iter().enumerate() {
            let me = vector.client_id.as_str();
            let mut clock = vector.own.clock(me);
            let stamped = clock.stamp(vector.now, AUTHOR, ENTRY);
            assert_eq!(
                stamped,
                key(vector.local.timestamp, vector.local.counter(me)),
                "stamp of {index}"
            );

            let mut clock = vector.own.clock(me);
            clock.observe(&key(vector.incoming.timestamp, vector.incoming.highest()));
            let received = (clock.millis.max(clock.now(vector.now)), clock.counter);
            let expected = (vector.received.timestamp, vector.received.counter(me));
            assert_eq!(received, expected, "receipt of {index}");
        }
    }

    #[test]
    fn stamp_is_above_all_keys_stamped_or_seen() {
        let mut clock = Clock::default();
        let mut last = Key::FIRST;
        for (wall, seen) in [
            (1000, None),
            (400, None),
            (400, Some(key(5000, 3))),
            (900, Some(key(7, 90))),
            (6000, None),
        ] {
            if let Some(seen) = seen {
                clock.observe(&seen);
                last = last.max(seen);
            }
            let stamped = clock.stamp(wall, AUTHOR, ENTRY);
            assert!(stamped > last, "{stamped:?} at {wall} after {last:?}");
            last = stamped;
        }
    }

    #[test]
    fn clock_ahead_of_the_server_is_set_back_and_stays_corrected() {
        let mut clock = Clock::default();
        assert_eq!(clock.stamp(600_000, AUTHOR, ENTRY).millis, 600_000);
        clock.set_back(600_000, 1_000, 0);
        assert_eq!(clock.stamp(600_000, AUTHOR, ENTRY).millis, 1_000);
        assert_eq!(clock.stamp(600_050, AUTHOR, ENTRY).millis, 1_050);
    }

    #[test]
    fn exhausted_counter_advances_the_time() {
        let mut clock = Clock::default();
        let mut last = key(1_000, u64::MAX - 1);
        clock.observe(&last);
        for id in [1, 2, 3].map(|number| EntryId(Uuid::from_u128(number))) {
            let stamped = clock.stamp(1_000, AUTHOR, id);
            assert!(stamped > last, "{stamped:?} after {last:?}");
            last = stamped;
        }
        assert_eq!((last.millis, last.counter), (1_002, u64::MAX));
    }

    #[test]
    fn clock_is_not_set_back_below_current_keys() {
        let mut clock = Clock::default();
        clock.stamp(600_000, AUTHOR, ENTRY);
        clock.set_back(600_000, 1_000, 1_200);
        let stamped = clock.stamp(600_000, AUTHOR, ENTRY);
        assert_eq!((stamped.millis, stamped.counter), (1_200, 2));
    }
}

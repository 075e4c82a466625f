//! The key of an entry: its position in the order of actions.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::{AuthorId, EntryId};

/// Keys are compared field by field in this order, ids by their bytes: a total order. A key is
/// fixed at the write. Only the verdicts `too_far_ahead` and `too_old` of the server cause a new
/// key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Milliseconds since 1970 by the author's hybrid clock.
    pub millis: u64,
    /// The author's counter: above every counter that the author had seen.
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

    /// Above every key that an entry can have.
    pub const LAST: Self = Self {
        millis: u64::MAX,
        counter: u64::MAX,
        author: AuthorId(Uuid::max()),
        id: EntryId(Uuid::max()),
    };

    /// The key as bytes that are ordered as keys are.
    pub fn to_bytes(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..8].copy_from_slice(&self.millis.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.counter.to_be_bytes());
        bytes[16..32].copy_from_slice(self.author.0.as_bytes());
        bytes[32..].copy_from_slice(self.id.0.as_bytes());
        bytes
    }

    /// The key of [`to_bytes`](Self::to_bytes); `None` if the length is another.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (millis, rest) = bytes.split_first_chunk()?;
        let (counter, rest) = rest.split_first_chunk()?;
        let (author, id) = rest.split_first_chunk()?;
        Some(Self {
            millis: u64::from_be_bytes(*millis),
            counter: u64::from_be_bytes(*counter),
            author: AuthorId(Uuid::from_bytes(*author)),
            id: EntryId(Uuid::from_slice(id).ok()?),
        })
    }

    /// Above every key of this millisecond or earlier: a horizon at that time.
    pub fn end_of(millis: u64) -> Self {
        let (author, id) = (AuthorId(Uuid::max()), EntryId(Uuid::max()));
        Self { millis, counter: u64::MAX, author, id }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Key;
    use crate::ids::{AuthorId, EntryId};
    use serde::Deserialize;
    use uuid::Uuid;

    const VECTORS: &str = include_str!("../vectors/log-order.json");

    #[derive(Deserialize)]
    struct Vectors {
        order: Vec<Entry>,
        ordered: Vec<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        clock: Recorded,
        client_id: String,
        id: String,
    }

    #[derive(Deserialize)]
    struct Recorded {
        timestamp: u64,
        vector: BTreeMap<String, u64>,
    }

    /// A name as an id with the same bytes: the recorded vectors have short names instead of UUIDs.
    fn named(name: &str) -> Uuid {
        let mut bytes = [0; 16];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Uuid::from_bytes(bytes)
    }

    #[test]
    fn bytes_order_as_keys_and_give_the_key_back() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut key = || {
            let mut uuid = || Uuid::from_u128(random.u128(..) >> (random.u32(0..2) * 127));
            let (author, id) = (AuthorId(uuid()), EntryId(uuid()));
            let mut number = || [0, 1, 255, 256, u64::MAX, random.u64(..)][random.usize(..6)];
            Key { millis: number(), counter: number(), author, id }
        };
        for _ in 0..2_000 {
            let (left, right) = (key(), key());
            assert_eq!(left.cmp(&right), left.to_bytes().cmp(&right.to_bytes()));
            assert_eq!(Key::from_bytes(&left.to_bytes()), Some(left));
        }
        let bytes = key().to_bytes();
        assert_eq!(Key::from_bytes(&bytes[..47]), None);
        assert_eq!(Key::from_bytes(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn recorded_order_vectors_pass() {
        let mut vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
        assert_eq!(vectors.order.len(), 60);
        vectors.order.sort_by_key(|entry| Key {
            millis: entry.clock.timestamp,
            counter: entry.clock.vector.get(&entry.client_id).copied().unwrap_or_default(),
            author: AuthorId(named(&entry.client_id)),
            id: EntryId(named(&entry.id)),
        });
        let ordered: Vec<&str> = vectors.order.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ordered, vectors.ordered);
    }

    #[test]
    fn keys_order_by_time_counter_author_and_entry() {
        let key = |millis, counter, author: &str, id: &str| Key {
            millis,
            counter,
            author: AuthorId(named(author)),
            id: EntryId(named(id)),
        };
        let ordered = [
            Key::FIRST,
            key(1, 9, "b", "b"),
            key(2, 1, "b", "b"),
            key(2, 2, "a", "b"),
            key(2, 2, "b", "a"),
            key(2, 2, "b", "b"),
            Key::end_of(2),
            key(3, 0, "a", "a"),
        ];
        assert!(ordered.is_sorted_by(|left, right| left < right));
    }

    #[test]
    fn id_order_equals_text_order() {
        let (low, high) = (Uuid::from_u128(0x9f << 120), Uuid::from_u128(0xa0 << 120));
        assert!(low < high && low.to_string() < high.to_string());
    }
}

//! Identifiers of entries, authors, users, tables, columns and buckets, as newtypes.
//!
//! Pure: the caller supplies the randomness of new ids.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The name of a table, a column or a bucket. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(Arc::from(text))
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameText)
    }
}

struct NameText;

impl Visitor<'_> for NameText {
    type Value = Name;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Name, E> {
        Ok(Name::from(text))
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The random id of an entry, assigned at the write and never changed: a UUIDv4, hyphenated lower
/// case on the wire. Text order equals byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(pub Uuid);

impl fmt::Display for EntryId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(out)
    }
}

/// The author of an entry: one database of one device, not a user. Two devices of a user are two
/// authors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuthorId(pub Uuid);

impl fmt::Display for AuthorId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(out)
    }
}

/// An authenticated user, with one author per device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub Name);

/// One epoch of a server's log. A log restored from a backup starts a new epoch with a new random
/// id: a number could repeat after a second restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub Uuid);

/// A set of buckets: of a row, of a user's membership, or of a write set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Buckets(Arc<BTreeSet<Name>>);

impl Buckets {
    /// Whether the sets intersect.
    pub fn meet(&self, other: &Self) -> bool {
        self.0.iter().any(|bucket| other.0.contains(bucket))
    }

    /// Whether this is a subset of the others. True for the empty set.
    pub fn within(&self, others: &Self) -> bool {
        Arc::ptr_eq(&self.0, &others.0) || self.0.is_subset(&others.0)
    }

    /// Whether the set contains this bucket.
    pub fn contains(&self, bucket: &str) -> bool {
        self.0.contains(bucket)
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In name order.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.0.iter()
    }

    /// The union with the others.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        if others.within(self) {
            return self.clone();
        }
        self.0.union(&others.0).cloned().collect()
    }

    /// Those that are not among the others.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        self.0.difference(&others.0).cloned().collect()
    }
}

impl<N: Into<Name>> FromIterator<N> for Buckets {
    fn from_iter<I: IntoIterator<Item = N>>(names: I) -> Self {
        Self(Arc::new(names.into_iter().map(Into::into).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::Buckets;

    #[test]
    fn buckets_are_compared_as_sets() {
        let set = |text: &str| text.split_whitespace().collect::<Buckets>();
        // left, right, whether they intersect, whether left is a subset of right
        let table = [
            ("", "", false, true),
            ("", "a", false, true),
            ("a", "", false, false),
            ("a", "a b", true, true),
            ("a b", "a", true, false),
            ("a b", "b c", true, false),
            ("a", "b", false, false),
        ];
        for (left, right, meet, within) in table {
            assert_eq!(set(left).meet(&set(right)), meet, "{left:?} meets {right:?}");
            assert_eq!(set(left).within(&set(right)), within, "{left:?} within {right:?}");
        }
        assert_eq!(set("a").with(&set("b a")), set("a b"));
    }
}

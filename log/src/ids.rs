//! Names: of entries, authors, users, tables, columns and buckets. Newtypes, so that none is taken for another.
//!
//! Pure. Whoever needs a new id brings the randomness (I8); nothing here makes one up.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The name of a table, a column or a bucket: a short text that is cheap to copy.
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

/// The random id of an entry, given once at the write and kept for ever (L2): UUIDv4, hyphenated lower case on the wire,
/// whose order as text is that of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub Uuid);

impl fmt::Display for EntryId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(out)
    }
}

/// Who wrote an entry: one database of one device, not a user. Two devices of a user are two authors (L2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorId(pub Uuid);

impl fmt::Display for AuthorId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(out)
    }
}

/// Whom the server lets in: a user, with as many authors as devices.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub Name);

/// One life of a server's log. A log restored from a backup begins another one (L12), with a new random name: a number
/// would come again after a second restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub Uuid);

/// Some buckets: where a row lies, what a user is a member of, what an author may write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Buckets(Arc<BTreeSet<Name>>);

impl Buckets {
    /// Whether they share one.
    pub fn meet(&self, other: &Self) -> bool {
        self.0.iter().any(|bucket| other.0.contains(bucket))
    }

    /// Whether each of these is among the others. True of no buckets at all.
    pub fn within(&self, others: &Self) -> bool {
        Arc::ptr_eq(&self.0, &others.0) || self.0.is_subset(&others.0)
    }

    /// Whether this one is among them.
    pub fn contains(&self, bucket: &str) -> bool {
        self.0.contains(bucket)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.0.iter()
    }

    /// These and the others.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        if others.within(self) {
            return self.clone();
        }
        self.0.union(&others.0).cloned().collect()
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
        // left, right, whether they meet, whether left lies within right
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

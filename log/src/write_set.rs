//! The write set of an entry: where its author may write, and what the author may change there.
//!
//! A user may write a bucket without reading it. Such a user creates, overwrites and deletes rows
//! there, and never moves one that the user cannot read: the move would show its columns to the
//! readers of another bucket. What the user reads there is decided by views ([`super::view`]).

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::Buckets;
use super::row::{LogRow, Placement, RowName};

/// The buckets that an author may write. As JSON their names; with write-only buckets an object of
/// `buckets` (all of them) and `write_only`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteSet {
    buckets: Buckets,
    /// Those that the author reads; `None` for all of them.
    readable: Option<Buckets>,
}

impl WriteSet {
    /// The buckets that a user reads and writes, and those that the user only writes.
    pub fn new(read: &Buckets, write_only: &Buckets) -> Self {
        let is_split = !write_only.within(read);
        Self { buckets: read.with(write_only), readable: is_split.then(|| read.clone()) }
    }

    /// All buckets of the set.
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// Those that the author reads; `None` if the author reads all of them.
    pub fn readable(&self) -> Option<&Buckets> {
        self.readable.as_ref()
    }

    /// Those that the author reads.
    pub fn reads(&self) -> &Buckets {
        self.readable().unwrap_or(&self.buckets)
    }

    /// Whether an author that had the former set has left no bucket: it reads and writes all of them.
    pub fn covers(&self, former: &Self) -> bool {
        former.buckets.within(&self.buckets) && former.reads().within(self.reads())
    }

    /// Whether the author does not read this row.
    pub fn hides(&self, row: &RowName, image: &LogRow, placement: &dyn Placement) -> bool {
        self.readable().is_some_and(|read| !placement.buckets(row, image).meet(read))
    }

    /// Whether the set permits writing this row: the row has buckets, and all of them are in the
    /// set.
    pub fn contains(&self, row: &RowName, image: &LogRow, placement: &dyn Placement) -> bool {
        let buckets = placement.buckets(row, image);
        !buckets.is_empty() && buckets.within(&self.buckets)
    }

    /// Whether the set permits this change of a row.
    pub fn permits(
        &self,
        row: &RowName,
        before: Option<&LogRow>,
        after: Option<&LogRow>,
        placement: &dyn Placement,
    ) -> bool {
        let contains = |image: &LogRow| self.contains(row, image, placement);
        before.is_none_or(contains) && after.is_none_or(contains) && {
            let (Some(before), Some(after)) = (before, after) else { return true };
            !self.hides(row, before, placement)
                || placement.buckets(row, before) == placement.buckets(row, after)
        }
    }
}

/// The write set of a user that reads all of these buckets.
impl From<Buckets> for WriteSet {
    fn from(buckets: Buckets) -> Self {
        Self { buckets, readable: None }
    }
}

/// The form of a set with write-only buckets.
#[derive(Serialize, Deserialize)]
struct Apart {
    buckets: Buckets,
    write_only: Buckets,
}

impl Serialize for WriteSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let buckets = self.buckets.clone();
        match self.readable() {
            None => buckets.serialize(serializer),
            Some(read) => {
                Apart { write_only: buckets.without(read), buckets }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for WriteSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = WriteSet;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("names of buckets, or an object of `buckets` and `write_only`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<WriteSet, A::Error> {
                Buckets::deserialize(SeqAccessDeserializer::new(names)).map(WriteSet::from)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WriteSet, A::Error> {
                let apart = Apart::deserialize(MapAccessDeserializer::new(map))?;
                Ok(WriteSet::new(&apart.buckets.without(&apart.write_only), &apart.write_only))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Column, buckets, image, row};
    use super::WriteSet;

    #[test]
    fn row_that_its_author_cannot_read_stays_in_its_bucket() {
        let set = WriteSet::new(&buckets("a b"), &buckets("c d"));
        // row before (buckets), row after, whether the change is permitted
        let table = [
            (None, Some("c"), true),
            (Some("c"), Some("c"), true),
            (Some("c"), None, true),
            (Some("c"), Some("a"), false),
            (Some("c"), Some("d"), false),
            (Some("c"), Some("a c"), false),
            (Some("a"), Some("c"), true),
            (Some("a c"), Some("b"), true),
            (Some("a"), Some("b"), true),
            (Some("a"), Some("e"), false),
            (Some("e"), None, false),
            (None, Some(""), false),
        ];
        for (before, after, permitted) in table {
            let [one, other] = [before, after].map(|lies| lies.map(|lies| image(lies, "")));
            let permits = set.permits(&row("r"), one.as_ref(), other.as_ref(), &Column);
            assert_eq!(permits, permitted, "{before:?} to {after:?}");
        }
    }

    #[test]
    fn author_that_no_longer_reads_a_bucket_has_left_it() {
        let set = |read: &str, only: &str| WriteSet::new(&buckets(read), &buckets(only));
        // now, formerly, whether no bucket was left
        let table = [
            (set("a b", ""), set("a b", ""), true),
            (set("a b", ""), set("a", "b"), true),
            (set("a", "b"), set("a b", ""), false),
            (set("a", "b"), set("a", "b"), true),
            (set("a", ""), set("a", "b"), false),
            (set("a", "c"), set("b", ""), false),
        ];
        for (now, former, covers) in table {
            assert_eq!(now.covers(&former), covers, "{now:?} after {former:?}");
        }
    }

    #[test]
    fn set_is_written_as_names_unless_it_has_write_only_buckets() {
        for (read, only, form) in [
            ("a b", "", r#"["a","b"]"#),
            ("", "", "[]"),
            ("b", "a", r#"{"buckets":["a","b"],"write_only":["a"]}"#),
            ("a", "a", r#"["a"]"#),
        ] {
            let set = WriteSet::new(&buckets(read), &buckets(only));
            assert_eq!(serde_json::to_string(&set).unwrap(), form);
            assert_eq!(serde_json::from_str::<WriteSet>(form).unwrap(), set);
        }
        let other = r#"{"buckets":["b"],"write_only":["a"]}"#;
        let read = serde_json::from_str::<WriteSet>(other).unwrap();
        assert_eq!(read, WriteSet::new(&buckets("b"), &buckets("a")), "a subset is not assumed");
        assert!(serde_json::from_str::<WriteSet>("7").is_err());
    }
}

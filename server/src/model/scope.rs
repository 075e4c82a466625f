//! The buckets that decide which rows a user may read, and their reserved names.
//!
//! The scope holds names only. The store renders it as the predicate of each query.

/// The prefix of a user's own bucket; the user's id follows it.
pub(crate) const OWN_PREFIX: &str = "user:";

/// The bucket of rows that every user may read.
pub(crate) const GLOBAL: &str = "global";

/// A reserved name that users cannot be given. A scope that contains it also finds unresolved rows,
/// in their former buckets.
pub(crate) const WAITING: &str = "#waiting";

/// The name of the user's own bucket.
pub(crate) fn own_bucket(user: &str) -> String {
    format!("{OWN_PREFIX}{user}")
}

/// The buckets under which rows are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadScope {
    /// The owners whose rows are included: ids without the prefix `user:`.
    pub owners: Vec<String>,
    /// Whether rows that every user may read are included.
    pub global: bool,
    /// The full names of all buckets, including those of the two fields above: for rows that name
    /// their bucket.
    pub buckets: Vec<String>,
}

impl ReadScope {
    /// The rows in these buckets.
    pub(crate) fn of(buckets: &[String]) -> Self {
        Self {
            owners: buckets
                .iter()
                .filter_map(|name| name.strip_prefix(OWN_PREFIX))
                .map(Into::into)
                .collect(),
            global: buckets.iter().any(|name| name == GLOBAL),
            buckets: buckets.to_vec(),
        }
    }

    /// The rows that the user owns and may write: buckets grant no write access.
    pub(crate) fn owned_by(user: &str) -> Self {
        Self { owners: vec![user.to_owned()], global: false, buckets: Vec::new() }
    }
}

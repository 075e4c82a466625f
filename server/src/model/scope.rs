//! The buckets that decide which rows a user may read, and their reserved names.
//!
//! The scope holds names only. The store renders it as the predicate of each query.

use rejoin_protocol::mutant::{self, Mutant};

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

    /// The rows that the user owns, and those whose bucket the user may write.
    pub(crate) fn written_by(user: &str, buckets: &[String]) -> Self {
        Self { owners: vec![user.to_owned()], global: false, buckets: buckets.to_vec() }
    }
}

/// A user's right to a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The bucket's name.
    pub bucket: String,
    /// Whether the user reads its rows.
    pub reads: bool,
    /// Whether the user writes its rows, in tables whose rows are written by their bucket.
    pub writes: bool,
}

/// The buckets that a user may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rights {
    // Both are in the order of the names.
    /// To read: the user's own, the public one, and granted ones.
    pub(crate) reads: Vec<String>,
    /// To write: the user's own, and granted ones.
    pub(crate) writes: Vec<String>,
}

impl Rights {
    pub(crate) fn of(user: &str, grants: Vec<Grant>) -> Self {
        let own = own_bucket(user);
        let (mut reads, mut writes) = (vec![own.clone(), GLOBAL.to_owned()], vec![own]);
        // A query of the application may name anything: what begins with # is reserved.
        let named = |grant: &Grant| !grant.bucket.is_empty() && !grant.bucket.starts_with('#');
        for grant in grants.into_iter().filter(named) {
            let may_write = grant.writes || mutant::on(Mutant::ReadersWrite);
            writes.extend(may_write.then(|| grant.bucket.clone()));
            reads.extend(grant.reads.then_some(grant.bucket));
        }
        // A device's list in its cursor is then mostly equal, and found so in one pass.
        for list in [&mut reads, &mut writes] {
            list.sort_unstable();
            list.dedup();
        }
        Self { reads, writes }
    }

    /// With these buckets too, to read and to write.
    pub(crate) fn with(&self, buckets: &[String]) -> Self {
        let and = |list: &[String]| {
            let mut list = [list, buckets].concat();
            list.sort_unstable();
            list
        };
        Self { reads: and(&self.reads), writes: and(&self.writes) }
    }

    pub(crate) fn may_read(&self, bucket: &String) -> bool {
        self.reads.binary_search(bucket).is_ok()
    }

    pub(crate) fn may_write(&self, bucket: &String) -> bool {
        self.writes.binary_search(bucket).is_ok()
    }

    /// The buckets that the user reads in tables of the log. Each device runs the entries of the buckets
    /// that it reads, and every member may write there: a bucket that the user only reads is none of them.
    pub(crate) fn of_log(&self) -> impl Iterator<Item = &String> {
        let is_members = |bucket: &&String| *bucket == GLOBAL || self.may_write(bucket);
        self.reads.iter().filter(is_members)
    }
}

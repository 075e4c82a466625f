//! Membership from the application's own tables: which buckets a user reads and writes.

use crate::error::{Problem, ProblemKind};

/// A query over the application's tables that names the buckets of users, besides those that are
/// granted. It is evaluated for one user at a time, in the snapshot of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipConfig {
    /// A SELECT with the columns `user_id` and `bucket`, one row per user and bucket. With a column
    /// `writes`, a user writes the bucket only where it is true; without one, wherever the user reads it.
    pub query: String,
    /// The tables whose changes wake the devices of the users concerned. Each is one that the query
    /// names, without a schema.
    pub tables: Vec<String>,
}

impl MembershipConfig {
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        let mut report = |key: &str, why: &str| {
            let place = format!("membership.{key}");
            problems.push(Problem::of(ProblemKind::InvalidBucketConfig, place, why));
        };
        if self.query.trim().is_empty() {
            report("query", "missing: a SELECT of user_id, bucket and writes");
        } else if self.query.contains(';') {
            report("query", "one SELECT without a semicolon");
        }
        if self.tables.is_empty() {
            let why = "missing: name the tables of the query, so that their changes wake devices";
            report("tables", why);
        }
    }
}

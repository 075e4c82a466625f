//! What a span of the log is about: by that a node knows whom to wake.

/// A bucket of which the log tells something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Its name; empty if the log itself begins anew.
    pub bucket: String,
    /// Whether it is no row that is told of, but that the bucket's user was given a bucket, or lost one.
    pub is_grant: bool,
}

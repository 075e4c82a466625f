//! `GET /sync/digest?table=NAME`: the digest of the rows of a table that the user may see.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The answer; what the sum covers says [`crate::digest::covered`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestAnswer {
    /// The table.
    pub table_name: String,
    /// How many rows.
    pub count: u64,
    /// The sum of their hashes: 16 hexadecimal digits, because JSON's numbers end at 53 bits.
    pub sum: String,
    /// The server's epoch.
    #[serde(default)]
    pub epoch: String,
}

impl DigestAnswer {
    /// The answer for `digest`.
    pub fn new(table_name: &str, digest: Digest, epoch: &str) -> Self {
        Self {
            table_name: table_name.to_owned(),
            count: digest.count,
            sum: digest.sum_text(),
            epoch: epoch.to_owned(),
        }
    }

    /// The digest, or `None` if the sum is no number of 64 bits.
    pub fn digest(&self) -> Option<Digest> {
        let sum = u64::from_str_radix(&self.sum, 16).ok()?;
        Some(Digest { count: self.count, sum })
    }
}

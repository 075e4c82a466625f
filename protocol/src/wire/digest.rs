//! `GET /sync/digest?table=NAME`: the digest of the rows of a table that the user may see.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The response; [`crate::digest::covered`] lists the covered columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestAnswer {
    /// The table.
    pub table_name: String,
    /// The number of rows.
    pub count: u64,
    /// The sum of the row hashes: 16 hexadecimal digits, because JSON numbers are exact to 53 bits
    /// only.
    pub sum: String,
    /// The server's epoch.
    #[serde(default)]
    pub epoch: String,
}

impl DigestAnswer {
    /// Creates the response for `digest`.
    pub fn new(table_name: &str, digest: Digest, epoch: &str) -> Self {
        Self {
            table_name: table_name.to_owned(),
            count: digest.count,
            sum: digest.sum_text(),
            epoch: epoch.to_owned(),
        }
    }

    /// The digest, or `None` if the sum is not a 64-bit number.
    pub fn digest(&self) -> Option<Digest> {
        let sum = u64::from_str_radix(&self.sum, 16).ok()?;
        Some(Digest { count: self.count, sum })
    }
}

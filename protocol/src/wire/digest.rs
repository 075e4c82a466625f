//! `GET /sync/digest?table=NAME`: the digest of the rows of a table that the user may see, as a
//! whole, by slice, and row by row within a slice.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, hash_text, read_hash};

/// The query of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DigestAsk {
    /// The table.
    #[serde(default)]
    pub table: String,
    /// The device. The authority of the log sees every row.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    /// Also the digests of so many slices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<u32>,
    /// Also the hashes of the rows of this slice, of `slices`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<u32>,
}

impl DigestAsk {
    /// The address of this request below `path`.
    pub fn path(&self, path: &str) -> String {
        let text = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let mut query = format!("{path}?table={}", text(&self.table));
        if !self.client_id.is_empty() {
            query = format!("{query}&client_id={}", text(&self.client_id));
        }
        for (name, value) in [("slices", self.slices), ("slice", self.slice)] {
            if let Some(value) = value {
                query = format!("{query}&{name}={value}");
            }
        }
        query
    }
}

/// The response; [`crate::digest::covered`] lists the covered columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestAnswer {
    /// The table.
    pub table_name: String,
    /// The digest of all rows.
    #[serde(flatten)]
    pub whole: WireDigest,
    /// The server's epoch.
    #[serde(default)]
    pub epoch: String,
    /// The digests of the slices, in their order, if requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<WireDigest>,
    /// The rows of the requested slice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<RowHash>,
}

/// A digest on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireDigest {
    /// The number of rows.
    pub count: u64,
    /// The sum of the row hashes: 16 hexadecimal digits, because JSON numbers are exact to 53 bits
    /// only.
    pub sum: String,
}

/// The hash of one row on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowHash {
    /// The text form of its key.
    pub id: String,
    /// Its hash: 16 hexadecimal digits.
    pub hash: String,
}

impl From<Digest> for WireDigest {
    fn from(digest: Digest) -> Self {
        Self { count: digest.count, sum: digest.sum_text() }
    }
}

impl WireDigest {
    /// The digest, or `None` if the sum is not a 64-bit number.
    pub fn digest(&self) -> Option<Digest> {
        Some(Digest { count: self.count, sum: read_hash(&self.sum)? })
    }
}

impl RowHash {
    /// The hash of the row with this key.
    pub fn new(id: String, hash: u64) -> Self {
        Self { id, hash: hash_text(hash) }
    }
}

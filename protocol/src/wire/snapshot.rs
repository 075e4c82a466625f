//! `POST /sync/snapshot`: all rows that the user may see, in pages by key. `GET /sync/pages/...`: a shared page, which
//! has the same response: rows of a table that every user may read, the same for every device.

use serde::{Deserialize, Serialize};

use super::ascii;
use super::row::{Record, RowSet};
use crate::limits;

/// A request for the next page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// The device.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub client_id: String,
    /// The end of the last page; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<SnapshotCursor>,
    /// Maximum number of rows in the page, up to the server's `max_page`, 1,000 for a plain peer; 100 if
    /// absent or not positive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// The device's schema.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_version: i64,
    /// Its hash.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub schema_hash: String,
    /// Rejoin's extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<SnapshotAsk>,
}

/// The end of a page. Opaque content is inside `after_id`: plain clients re-encode these members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotCursor {
    /// The log's head when the first page was read.
    pub checkpoint: i64,
    /// The index of the table in the manifest's tables, sorted by name.
    pub table_idx: i64,
    /// Its last key, or opaque.
    pub after_id: String,
}

/// Extensions of a Rejoin device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotAsk {
    /// Rises with each request of a device; echoed in the answer.
    pub request: i64,
    /// The epoch of the first page; empty for the first page. Another epoch restarts the snapshot.
    pub epoch: String,
    /// The log tip that no pull has reached yet, or the last cursor: detects a restored server,
    /// which then begins a new epoch.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub witness: String,
    /// Whether the response may name a shared page instead of containing its rows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// The address that the last shared page named, if the device has taken one since `cursor`: the response continues
    /// after that page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub page: String,
}

/// A page of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotResponse {
    /// Plain rows; empty when `rejoin.sets` carries them.
    #[serde(default)]
    pub records: Vec<Record>,
    /// The end of this page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<SnapshotCursor>,
    /// The log's head when the first page was read.
    #[serde(default)]
    pub checkpoint: i64,
    /// Whether there are more pages.
    #[serde(default)]
    pub has_more: bool,
    /// The server's schema.
    pub schema_version: i64,
    /// Its hash.
    pub schema_hash: String,
    /// Rejoin's extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoin: Option<SnapshotAnswer>,
}

/// Extensions of a Rejoin server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotAnswer {
    /// The request's number.
    pub request: i64,
    /// The server's epoch.
    pub epoch: String,
    /// The pull cursor as of the **first** page, from which the next pull continues. Same on every
    /// page.
    pub pull_cursor: String,
    /// The key ranges of this page: local rows in these ranges that the page lacks are deleted.
    pub ranges: Vec<KeyRange>,
    /// The rows, one set per table, in key order.
    pub sets: Vec<RowSet>,
    /// Number of rows at the first page, which may be estimated; for progress display.
    pub total: i64,
    /// Whether the snapshot must restart: the position is too old, or the user's buckets have
    /// changed.
    pub restart: bool,
    /// The log tip when the page was read. It replaces the request's log tip and is kept until a
    /// pull reaches it: `pull_cursor` may be older than this page's rows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub witness: String,
    /// The address of the shared page with the next rows. In a shared page itself: the address after it, to which
    /// `has_more` applies; without more, the next request of the snapshot names it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub page: String,
}

/// Whether a text can be the address of a shared page: one segment of a path, of letters, digits, `-`,
/// `_` and `.`, that contains no `..`. Nothing else is requested, so that no address names another path,
/// host or query.
pub fn is_page_address(address: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=limits::ADDRESS).contains(&address.len())
        && address.bytes().all(is_plain)
        && !address.starts_with('.')
        && !address.contains("..")
}

/// A page without its rows: what a request for the next page needs. Read from the header
/// [`PAGE_END_HEADER`](crate::PAGE_END_HEADER), or from the response itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageEnd {
    /// [`SnapshotResponse::cursor`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<SnapshotCursor>,
    /// [`SnapshotResponse::has_more`].
    pub has_more: bool,
    /// Rejoin's extensions.
    pub rejoin: AnswerEnd,
}

/// [`SnapshotAnswer`] without its rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerEnd {
    /// The request's number.
    pub request: i64,
    /// The server's epoch.
    pub epoch: String,
    /// Whether the snapshot must restart.
    pub restart: bool,
    /// The log tip when the page was read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub witness: String,
    /// [`SnapshotAnswer::page`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub page: String,
}

impl PageEnd {
    /// The longest header, so that proxies accept it.
    const MOST: usize = 2_048;

    /// The end of a page of a Rejoin device.
    pub fn of(page: &SnapshotResponse) -> Option<Self> {
        let answer = page.rejoin.as_ref()?;
        let rejoin = AnswerEnd {
            request: answer.request,
            epoch: answer.epoch.clone(),
            restart: answer.restart,
            witness: answer.witness.clone(),
            page: answer.page.clone(),
        };
        Some(Self { cursor: page.cursor.clone(), has_more: page.has_more, rejoin })
    }

    /// JSON in ASCII; `None` if it would be too long for a header.
    pub fn header(&self) -> Option<String> {
        let header = ascii(&serde_json::to_string(self).ok()?);
        (header.len() <= Self::MOST).then_some(header)
    }
}

/// A key range of one table: after `after` (exclusive), up to `through` (inclusive); absent is
/// open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyRange {
    /// The table.
    pub table_name: String,
    /// Exclusive lower bound, as id text. Integer keys compare as numbers, text keys by bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Inclusive upper bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::{AnswerEnd, PageEnd, SnapshotCursor, SnapshotResponse, is_page_address};

    fn end(after_id: &str) -> PageEnd {
        let cursor = SnapshotCursor { checkpoint: 4, table_idx: 1, after_id: after_id.to_owned() };
        let rejoin = AnswerEnd { request: 7, epoch: "e".to_owned(), ..AnswerEnd::default() };
        PageEnd { cursor: Some(cursor), has_more: true, rejoin }
    }

    #[test]
    fn page_address_is_one_plain_segment() {
        for address in ["p.q", "eyJ0Ijoi_-0.0f1e2d", "a"] {
            assert!(is_page_address(address), "{address}");
        }
        let long = "a".repeat(4_097);
        for address in [
            "",
            ".",
            "..",
            "../push",
            "a/../b",
            "a/b",
            "/",
            "//host/a",
            "https://host/a",
            "a?b",
            "a#b",
            "a%2e%2e",
            "%2e%2e",
            "a..b",
            ".a",
            "a\\b",
            "a b",
            "a\r\nHost: b",
            "a\0",
            "\u{e4}",
            "a@b",
            "a:1",
            &long,
        ] {
            assert!(!is_page_address(address), "{address}");
        }
    }

    #[test]
    fn header_is_ascii_and_reads_as_it_was_written() {
        for after_id in ["p1", "\"\\ \n", "\u{f6}\u{1f600}", "\u{7f}\u{0}"] {
            let header = end(after_id).header().unwrap();
            assert!(header.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{header}");
            assert_eq!(serde_json::from_str::<PageEnd>(&header).unwrap(), end(after_id));
        }
        assert_eq!(end(&"x".repeat(2_000)).header(), None, "proxies limit headers");
    }

    #[test]
    fn page_end_is_a_part_of_the_page() {
        let page = r#"{"records": [], "cursor": {"checkpoint": 4, "table_idx": 1, "after_id": "p1"},
            "checkpoint": 4, "has_more": true, "schema_version": 1, "schema_hash": "h",
            "rejoin": {"request": 7, "epoch": "e", "sets": [{"table_name": "t", "columns": ["id"], "rows": [["p1"]]}]}}"#;
        assert_eq!(serde_json::from_str::<PageEnd>(page).unwrap(), end("p1"));
        let page: SnapshotResponse = serde_json::from_str(page).unwrap();
        assert_eq!(PageEnd::of(&page), Some(end("p1")));
        assert_eq!(PageEnd::of(&SnapshotResponse { rejoin: None, ..page }), None, "a plain device");
    }
}

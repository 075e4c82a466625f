//! Response types, with members in the order of the real server.

use serde::Serialize;
use serde_json::value::RawValue;

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// JSON, except for an unknown path.
    pub body: Vec<u8>,
}

impl Response {
    /// A response with this status and body.
    pub(crate) fn new(status: u16, body: &impl Serialize) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        // Serializing maps with text keys and finite numbers cannot fail.
        Self { status, headers, body: serde_json::to_vec(body).unwrap_or_default() }
    }

    /// `{"error": ...}`.
    pub(crate) fn error(status: u16, error: &str) -> Self {
        Self::new(status, &serde_json::json!({ "error": error }))
    }

    /// Adds a header field.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A row in a response.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) table_name: String,
    pub(crate) data: Box<RawValue>,
    pub(crate) updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deleted_at: Option<String>,
}

/// A delete in a response.
#[derive(Debug, Serialize)]
pub(crate) struct Deleted {
    pub(crate) id: String,
    pub(crate) table_name: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) server_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_sync_at: Option<String>,
    pub(crate) checkpoint: i64,
    #[serde(flatten)]
    pub(crate) schema: Version,
}

/// The schema of a response.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Version {
    pub(crate) schema_version: i64,
    pub(crate) schema_hash: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Pulled {
    pub(crate) changes: Vec<Record>,
    pub(crate) deletes: Vec<Deleted>,
    pub(crate) checkpoint: i64,
    pub(crate) has_more: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) snapshot_required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bucket_updates: Option<BucketUpdates>,
    #[serde(flatten)]
    pub(crate) schema: Version,
}

#[derive(Debug, Serialize)]
pub(crate) struct BucketUpdates {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) added: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) removed: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Pushed {
    pub(crate) accepted: Vec<Verdict>,
    pub(crate) rejected: Vec<Verdict>,
    pub(crate) checkpoint: i64,
    pub(crate) server_time: String,
    #[serde(flatten)]
    pub(crate) schema: Version,
}

/// The result of one record of a push.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Verdict {
    pub(crate) id: String,
    pub(crate) table_name: String,
    pub(crate) operation: String,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_version: Option<Record>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_updated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_deleted_at: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Snapshotted {
    pub(crate) records: Vec<Record>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<Cursor>,
    pub(crate) checkpoint: i64,
    pub(crate) has_more: bool,
    #[serde(flatten)]
    pub(crate) schema: Version,
}

/// Position of the next snapshot page; it is not signed.
#[derive(Debug, Serialize)]
pub(crate) struct Cursor {
    pub(crate) checkpoint: i64,
    pub(crate) table_idx: i64,
    pub(crate) after_id: String,
}

//! Errors on the wire: the plain `error` text, and for Rejoin peers a code, whether to try again, and when.

use serde::{Deserialize, Serialize};

/// The body of an answer that is not 200. A plain peer gets only `error`, or v0.1.2's body of a 409.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// One of [`code`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For people; v0.1.2 uses it in a 409.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether the same request may succeed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// Seconds to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// In a 409: the server's schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_schema_version: Option<i64>,
    /// In a 409: its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_schema_hash: Option<String>,
    /// The server's epoch, where it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
}

/// The codes of errors and verdicts; the table stands in `docs/protocol.md`.
pub mod code {
    /// The body is no request of this endpoint.
    pub const INVALID_REQUEST: &str = "invalid_request";
    /// The body, batch or page is too large.
    pub const TOO_LARGE: &str = "too_large";
    /// `changes` and `rejoin.groups` in one push.
    pub const MIXED_PUSH: &str = "mixed_push";
    /// No or bad credentials.
    pub const UNAUTHORIZED: &str = "unauthorized";
    /// The device is not registered for this user.
    pub const NOT_REGISTERED: &str = "not_registered";
    /// The device's schema is not the server's.
    pub const SCHEMA_MISMATCH: &str = "schema_mismatch";
    /// The app is too old.
    pub const UPGRADE_REQUIRED: &str = "upgrade_required";
    /// Too many requests.
    pub const TOO_MANY_REQUESTS: &str = "too_many_requests";
    /// The user has as many event streams open as the server allows.
    pub const TOO_MANY_STREAMS: &str = "too_many_streams";
    /// The user has as many devices as the server allows.
    pub const TOO_MANY_DEVICES: &str = "too_many_devices";
    /// The server cannot answer now.
    pub const UNAVAILABLE: &str = "unavailable";
    /// The server failed.
    pub const INTERNAL: &str = "internal";
    /// The epoch of the request is not the server's; nothing was applied.
    pub const EPOCH: &str = "epoch";
    /// A copied or restored device; it needs a new id (D10).
    pub const CLIENT_REPLACED: &str = "client_replaced";
    /// The device was away for longer than the server's host lets in.
    pub const CLIENT_STALE: &str = "client_stale";

    /// Verdict: a CHECK refuses the row.
    pub const CONSTRAINT_CHECK: &str = "constraint.check";
    /// Verdict: NULL where none may be.
    pub const CONSTRAINT_NOT_NULL: &str = "constraint.not_null";
    /// Verdict: a value that must be unique is taken.
    pub const CONSTRAINT_UNIQUE: &str = "constraint.unique";
    /// Verdict: the row that is referred to is not there, or is still referred to.
    pub const CONSTRAINT_REFERENCES: &str = "constraint.references";
    /// Verdict: a trigger of the server's table refuses the row.
    pub const CONSTRAINT_TRIGGER: &str = "constraint.trigger";
    /// Verdict: a value is not of the column's type.
    pub const VALUE_INVALID: &str = "value.invalid";
    /// Verdict: no such column.
    pub const COLUMN_UNKNOWN: &str = "column.unknown";
    /// Verdict: the column is the server's or may not be changed.
    pub const COLUMN_PROTECTED: &str = "column.protected";
    /// Verdict: no such synced table.
    pub const TABLE_UNKNOWN: &str = "table.unknown";
    /// Verdict: the table takes no writes from devices.
    pub const TABLE_READ_ONLY: &str = "table.read_only";
    /// Verdict: the row is not there, or not this user's to see.
    pub const ROW_NOT_FOUND: &str = "row.not_found";
    /// Verdict: the row is deleted.
    pub const ROW_DELETED: &str = "row.deleted";
    /// Verdict: a row of this key is there.
    pub const ROW_EXISTS: &str = "row.exists";
    /// Verdict: a column has another value than the one that was edited.
    pub const ROW_CHANGED: &str = "row.changed";
    /// Verdict: somebody wrote the row later than this edit was made (O11).
    pub const ROW_SUPERSEDED: &str = "row.superseded";
    /// Verdict: a resolver of the server's host refuses the content.
    pub const RESOLVER_REFUSED: &str = "resolver.refused";
    /// Verdict: a hook of the server's host refuses the group.
    pub const HOOK_REFUSED: &str = "hook.refused";
    /// Verdict: a hook of the server's host does not take the group now; send it again.
    pub const HOOK_LATER: &str = "hook.later";
    /// Verdict: a query that the server asks before it takes the action gives no truth (O8).
    pub const ACTION_CHECK: &str = "action.check";
    /// Verdict: the server has queries for other versions of the action, and none for this one.
    pub const ACTION_VERSION: &str = "action.version";
    /// Verdict: the arguments are not those that the server's queries take.
    pub const ACTION_ARGUMENTS: &str = "action.arguments";
    /// Verdict: the row would belong to somebody else.
    pub const OWNERSHIP: &str = "ownership";
    /// Verdict: something it stands on is not accepted (O4).
    pub const BLOCKED: &str = "blocked";
    /// Verdict: the same attempt came with other content (O2).
    pub const HASH_MISMATCH: &str = "hash_mismatch";
    /// Verdict: the mutation is older than the verdicts that are kept.
    pub const EXPIRED: &str = "expired";
    /// Verdict: nothing was decided; send it again.
    pub const TRANSIENT: &str = "transient";
    /// Verdict: the server has failed on it too often, or for too long; the device does not offer it again by itself.
    pub const SERVER_FAULT: &str = "server_fault";
}

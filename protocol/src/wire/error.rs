//! Error bodies: the plain `error` text, and for Rejoin peers a code and retry information.

use serde::{Deserialize, Serialize};

/// The body of a response other than 200. A plain peer gets only `error`, or v0.1.2's 409 body.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// Message for developers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// One of [`code`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Message for developers; v0.1.2 uses it in a 409.
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
    /// The server's epoch, for errors about the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
}

/// Codes of errors and verdicts; listed in `docs/protocol.md`.
pub mod code {
    /// The body is not a request of this endpoint.
    pub const INVALID_REQUEST: &str = "invalid_request";
    /// There was no time for this group in its request: the device sends it again at once.
    pub const UNFINISHED: &str = "unfinished";
    /// The server does not have the content of this group: the device stages it, and sends the group
    /// again.
    pub const NOT_STAGED: &str = "not_staged";
    /// The body, batch or page is too large.
    pub const TOO_LARGE: &str = "too_large";
    /// `changes` and `rejoin.groups` in one push.
    pub const MIXED_PUSH: &str = "mixed_push";
    /// Missing or invalid credentials.
    pub const UNAUTHORIZED: &str = "unauthorized";
    /// The device is not registered for this user.
    pub const NOT_REGISTERED: &str = "not_registered";
    /// The schema versions of device and server differ.
    pub const SCHEMA_MISMATCH: &str = "schema_mismatch";
    /// The app version is too old.
    pub const UPGRADE_REQUIRED: &str = "upgrade_required";
    /// Too many requests.
    pub const TOO_MANY_REQUESTS: &str = "too_many_requests";
    /// The user has the maximum number of open event streams.
    pub const TOO_MANY_STREAMS: &str = "too_many_streams";
    /// The user has the maximum number of devices.
    pub const TOO_MANY_DEVICES: &str = "too_many_devices";
    /// The server cannot answer now.
    pub const UNAVAILABLE: &str = "unavailable";
    /// The server failed.
    pub const INTERNAL: &str = "internal";
    /// The server has no table of the log, or the device is not the log's authority.
    pub const LOG_REFUSED: &str = "log_refused";
    /// The request has another epoch than the server; nothing was applied.
    pub const EPOCH: &str = "epoch";
    /// The shared page cannot be served any more; the snapshot continues without it.
    pub const PAGE_GONE: &str = "page_gone";
    /// A copied or restored device, which needs a new id.
    pub const CLIENT_REPLACED: &str = "client_replaced";
    /// The device was offline for longer than the server allows.
    pub const CLIENT_STALE: &str = "client_stale";

    /// Verdict: a CHECK rejects the row.
    pub const CONSTRAINT_CHECK: &str = "constraint.check";
    /// Verdict: NULL in a NOT NULL column.
    pub const CONSTRAINT_NOT_NULL: &str = "constraint.not_null";
    /// Verdict: a unique value is in use.
    pub const CONSTRAINT_UNIQUE: &str = "constraint.unique";
    /// Verdict: the referenced row is missing, or the row is still referenced.
    pub const CONSTRAINT_REFERENCES: &str = "constraint.references";
    /// Verdict: a trigger of the server's table rejects the row.
    pub const CONSTRAINT_TRIGGER: &str = "constraint.trigger";
    /// Verdict: a value has the wrong type.
    pub const VALUE_INVALID: &str = "value.invalid";
    /// Verdict: no such column.
    pub const COLUMN_UNKNOWN: &str = "column.unknown";
    /// Verdict: the column is written only by the server or cannot change.
    pub const COLUMN_PROTECTED: &str = "column.protected";
    /// Verdict: no such synced table.
    pub const TABLE_UNKNOWN: &str = "table.unknown";
    /// Verdict: devices may not write the table.
    pub const TABLE_READ_ONLY: &str = "table.read_only";
    /// Verdict: the row does not exist for this user.
    pub const ROW_NOT_FOUND: &str = "row.not_found";
    /// Verdict: the row is deleted.
    pub const ROW_DELETED: &str = "row.deleted";
    /// Verdict: the key already exists.
    pub const ROW_EXISTS: &str = "row.exists";
    /// Verdict: a column differs from the value that was edited.
    pub const ROW_CHANGED: &str = "row.changed";
    /// Verdict: another write of the row is later than this edit.
    pub const ROW_SUPERSEDED: &str = "row.superseded";
    /// Verdict: a resolver of the server application rejects the content.
    pub const RESOLVER_REFUSED: &str = "resolver.refused";
    /// Verdict: a hook of the server application rejects the group.
    pub const HOOK_REFUSED: &str = "hook.refused";
    /// Verdict: a hook of the server application defers the group; send it again.
    pub const HOOK_LATER: &str = "hook.later";
    /// Verdict: a check query of the server for this action is not true.
    pub const ACTION_CHECK: &str = "action.check";
    /// Verdict: the server has check queries for other versions of the action only.
    pub const ACTION_VERSION: &str = "action.version";
    /// Verdict: the arguments do not match the server's check queries.
    pub const ACTION_ARGUMENTS: &str = "action.arguments";
    /// Verdict: the row would belong to another user.
    pub const OWNERSHIP: &str = "ownership";
    /// Verdict: a mutation that it depends on is not accepted.
    pub const BLOCKED: &str = "blocked";
    /// Verdict: the same attempt was sent with other content.
    pub const HASH_MISMATCH: &str = "hash_mismatch";
    /// Verdict: the mutation is older than the retained verdicts.
    pub const EXPIRED: &str = "expired";
    /// Verdict: nothing was decided; send it again.
    pub const TRANSIENT: &str = "transient";
    /// Verdict: the server has failed on it too often; the device does not retry automatically.
    pub const SERVER_FAULT: &str = "server_fault";
}

//! The protocol of Rejoin clients and servers.
//!
//! Wire messages, the value codec, equality of values and the table digest, each defined once for
//! both sides. No I/O, no clock, no sync decisions. The specification is `docs/protocol.md`.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::exit
    )
)]

pub mod admit;
pub mod argument;
pub mod codec;
pub mod digest;
pub mod equal;
pub mod expression;
pub mod functions;
pub mod kind;
pub mod lengths;
pub mod limits;
pub mod manifest;
#[doc(hidden)]
pub mod mutant;
pub mod policy;
pub mod time;
pub mod value;
pub mod wire;

pub use kind::ColumnKind;
pub use manifest::Manifest;
pub use policy::Policy;
pub use value::Value;

/// The version of the extensions, sent as `Rejoin-Protocol: 1`.
pub const PROTOCOL: u32 = 1;

/// The header that requests the extensions on requests without a body.
pub const PROTOCOL_HEADER: &str = "Rejoin-Protocol";

/// The header of a page of a snapshot with a [`wire::snapshot::PageEnd`] as JSON in ASCII. The device
/// requests the next page while the body of this one arrives.
pub const PAGE_END_HEADER: &str = "Rejoin-Page-End";

/// The header with the device's subscriptions ([`wire::subscription`]).
pub const SUBSCRIPTIONS_HEADER: &str = "Rejoin-Subscriptions";

/// The header with the app's version; below the server's minimum, every response is 426.
pub const APP_VERSION_HEADER: &str = "X-App-Version";

/// The header that names the user; only on loopback, for development servers.
pub const USER_HEADER: &str = "X-User-ID";

/// Names of optional features, exchanged at register.
pub mod capability {
    /// Atomic groups with ids, attempts and stored verdicts.
    pub const GROUPS: &str = "groups";
    /// Every push answer has the current images of the touched rows.
    pub const ROWS: &str = "rows";
    /// Typed errors with `code` and `retryable`.
    pub const ERRORS: &str = "errors";
    /// Every answer has an epoch.
    pub const EPOCH: &str = "epoch";
    /// An opaque cursor with a tag and the held buckets.
    pub const CURSOR: &str = "cursor";
    /// Notifications by server-sent events.
    pub const EVENTS: &str = "events";
    /// The table digest.
    pub const DIGEST: &str = "digest";
    /// gzip in both directions.
    pub const GZIP: &str = "gzip";
    /// Rows of pulls and snapshots as arrays with one list of columns.
    pub const ARRAYS: &str = "arrays";
    /// Sent mutations can be cancelled by id.
    pub const CANCEL: &str = "cancel";
    /// Rows that an action read by key are compared before it is applied.
    pub const READS: &str = "reads";
    /// The server runs its own check queries before it accepts an action, and receives the action's
    /// name and arguments. Offered by servers with such queries.
    pub const CHECKS: &str = "checks";
    /// The messages of the log model. Offered by servers with tables of the log.
    pub const LOG: &str = "log";
    /// A group that is larger than one request can be staged in parts.
    pub const STAGE: &str = "stage";
    /// Subscriptions to streams. Offered by servers with streams.
    pub const STREAMS: &str = "streams";
    /// All capabilities.
    pub const ALL: &[&str] = &[
        GROUPS, ROWS, ERRORS, EPOCH, CURSOR, EVENTS, DIGEST, GZIP, ARRAYS, CANCEL, READS, CHECKS,
        LOG, STAGE, STREAMS,
    ];
}

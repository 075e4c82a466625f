//! The words that a Rejoin client and server exchange.
//!
//! Wire messages, the value codec, equality of values and the table digest, each defined once, for both sides.
//! Nothing here does I/O, keeps time or decides what to sync. The book of these words is `docs/protocol.md`.

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

pub mod argument;
pub mod codec;
pub mod digest;
pub mod equal;
pub mod kind;
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

/// The version of the extensions that this crate speaks, sent as `Rejoin-Protocol: 1`.
pub const PROTOCOL: u32 = 1;

/// The header by which a peer asks for the extensions on requests that have no body.
pub const PROTOCOL_HEADER: &str = "Rejoin-Protocol";

/// The header that carries the app's version; below the server's minimum, every answer is 426.
pub const APP_VERSION_HEADER: &str = "X-App-Version";

/// The header that names the user, on a server in development on loopback only.
pub const USER_HEADER: &str = "X-User-ID";

/// Names of what a peer can do beyond plain v0.1.2, exchanged at register.
pub mod capability {
    /// All-or-nothing groups with ids, attempts and stored verdicts (O1, O2, O4).
    pub const GROUPS: &str = "groups";
    /// The touched rows as they now stand in every push answer (O3).
    pub const ROWS: &str = "rows";
    /// Typed errors with `code` and `retryable`.
    pub const ERRORS: &str = "errors";
    /// An epoch in every answer (D13).
    pub const EPOCH: &str = "epoch";
    /// An opaque cursor with tag and held buckets (O14, C4).
    pub const CURSOR: &str = "cursor";
    /// Wake-ups by server-sent events.
    pub const EVENTS: &str = "events";
    /// The table digest.
    pub const DIGEST: &str = "digest";
    /// gzip in both directions.
    pub const GZIP: &str = "gzip";
    /// Rows of pulls and snapshots as arrays beside one list of columns.
    pub const ARRAYS: &str = "arrays";
    /// Mutations that were sent are withdrawn by their id (O12).
    pub const CANCEL: &str = "cancel";
    /// Rows that an action read by their keys are compared before it is applied (O8).
    pub const READS: &str = "reads";
    /// The server asks queries of its own before it takes an action, and is told name and arguments (O8). Offered by a server
    /// that has such queries.
    pub const CHECKS: &str = "checks";
    /// Everything that this crate implements.
    pub const ALL: &[&str] =
        &[GROUPS, ROWS, ERRORS, EPOCH, CURSOR, EVENTS, DIGEST, GZIP, ARRAYS, CANCEL, READS, CHECKS];
}

//! Requests and responses, one file per endpoint.
//!
//! Each message is a v0.1.2 message with one optional member, `rejoin`, for all extensions. A
//! response has it if and only if the request had it, so plain peers never see it. Unknown members
//! are ignored.

use std::fmt::Write as _;

pub mod digest;
pub mod error;
pub mod event;
pub mod pull;
pub mod push;
pub mod register;
pub mod row;
pub mod snapshot;
pub mod stage;
pub mod subscription;
pub mod tables;

pub use error::{ErrorBody, code};
pub use row::{Record, RowImage, RowName, RowSet};

/// v0.1.2 is written in Go, which reads `null` as the empty value.
fn null_is_default<'de, D: serde::Deserializer<'de>, T: serde::Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(<Option<T> as serde::Deserialize>::deserialize(from)?.unwrap_or_default())
}

/// JSON without characters that a header cannot contain.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ 0x20..0x7f) => text.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(text, "\\u{unit:04x}")),
        }
    }
    text
}

/// The paths of the endpoints.
pub mod path {
    /// POST, [`super::register`].
    pub const REGISTER: &str = "/sync/register";
    /// POST, [`super::push`].
    pub const PUSH: &str = "/sync/push";
    /// POST, [`super::stage`]; Rejoin peers only.
    pub const STAGE: &str = "/sync/stage";
    /// POST, [`super::pull`].
    pub const PULL: &str = "/sync/pull";
    /// POST, [`super::snapshot`].
    pub const SNAPSHOT: &str = "/sync/snapshot";
    /// GET, followed by the address of a shared page, [`super::snapshot`].
    pub const PAGES: &str = "/sync/pages/";
    /// GET, [`crate::Manifest`].
    pub const SCHEMA: &str = "/sync/schema";
    /// GET, [`super::tables`].
    pub const TABLES: &str = "/sync/tables";
    /// GET, [`super::event`]; Rejoin peers only.
    pub const EVENTS: &str = "/sync/events";
    /// GET, [`super::digest`]; Rejoin peers only.
    pub const DIGEST: &str = "/sync/digest";
    /// POST, the log model: entries.
    pub const LOG_PUBLISH: &str = "/log/publish";
    /// POST, the log model: items after a cursor.
    pub const LOG_FETCH: &str = "/log/fetch";
    /// POST, the log model: a snapshot, in pages.
    pub const LOG_SNAPSHOT: &str = "/log/snapshot";
    /// POST, the log model: rows by name.
    pub const LOG_ROWS: &str = "/log/rows";
    /// POST, the log model: corrections of the authority.
    pub const LOG_CORRECT: &str = "/log/correct";
    /// GET, no credentials.
    pub const HEALTH: &str = "/healthz";
}

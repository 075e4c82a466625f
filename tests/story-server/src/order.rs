//! The commands of the server. An unknown command or field is an error.

use serde::Deserialize;
use serde_json::Value as Json;

/// One command.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Order {
    /// Create a token for this user.
    Token {
        /// The user's id.
        user: String,
        /// Seconds from now; negative for an expired token.
        seconds: i64,
    },
    /// Reject all earlier tokens.
    ExpireAll,
    /// Write to the server's database file.
    Sql {
        /// Statements; only one if there are parameters.
        sql: String,
        /// Its parameters, as cells.
        #[serde(default)]
        params: Vec<Json>,
    },
    /// Read from the server's database file.
    Rows {
        /// One statement.
        sql: String,
        /// Its parameters, as cells.
        #[serde(default)]
        params: Vec<Json>,
        /// Whether to return exact cells.
        #[serde(default)]
        exact: bool,
    },
    /// Return the digest of a table's rows visible to a user.
    Digest {
        /// The user's id.
        user: String,
        /// The table's name.
        table: String,
    },
    /// Make a user a member of a bucket.
    Subscribe {
        /// The user's id.
        user: String,
        /// The bucket.
        bucket: String,
    },
    /// Return the manifest of the tables.
    Schema,
    /// Become unreachable.
    Stop,
    /// Accept connections without responding.
    Hang,
    /// Respond again.
    Go,
    /// Exit.
    Quit,
}

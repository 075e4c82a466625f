//! What a story may order, word by word; an unknown word, or an unknown field, is an error.

use serde::Deserialize;
use serde_json::Value as Json;

/// One order.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Order {
    /// A token of this user, good for so many seconds.
    Token {
        /// The user's id.
        user: String,
        /// From now; negative for a token that has ended.
        seconds: i64,
    },
    /// Refuse every token given so far.
    ExpireAll,
    /// Write into the server's file.
    Sql {
        /// Statements; one only, if there are parameters.
        sql: String,
        /// Its parameters, as cells.
        #[serde(default)]
        params: Vec<Json>,
    },
    /// Read from the server's file.
    Rows {
        /// One statement.
        sql: String,
        /// Its parameters, as cells.
        #[serde(default)]
        params: Vec<Json>,
        /// Whether cells are written so that no language rounds them.
        #[serde(default)]
        exact: bool,
    },
    /// The digest of what a user sees of a table.
    Digest {
        /// The user's id.
        user: String,
        /// The table's name.
        table: String,
    },
    /// The manifest of the tables.
    Schema,
    /// Be unreachable.
    Stop,
    /// Take connections and say nothing.
    Hang,
    /// Answer again.
    Go,
    /// End.
    Quit,
}

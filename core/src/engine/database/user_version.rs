//! `PRAGMA user_version` of the app. The file's own number is the engine's format, so the app's
//! number is a row of `rejoin_meta`, which commits and rolls back like any other row.

use rusqlite::hooks::AuthAction;

/// The pragma, and the key in `rejoin_meta`.
pub(crate) const USER_VERSION: &str = "user_version";

/// Reads the app's number, or explains how.
macro_rules! read {
    ($explain:literal) => {
        concat!(
            $explain,
            "SELECT CAST(coalesce((SELECT value FROM rejoin_meta WHERE key = 'user_version'), 0) AS INTEGER) \
             AS user_version"
        )
    };
}

/// The statement to compile for a statement of the app: for `PRAGMA user_version`, also after
/// EXPLAIN, one that reads the app's number.
pub(crate) fn of_app(sql: &str) -> &str {
    let text = sql.trim_ascii();
    // No other statement is split into words.
    let starts = |word: &str| text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if text.len() > 64 || !(starts("pragma") || starts("explai")) {
        return sql;
    }
    let words = text.trim_end_matches(';').to_ascii_lowercase();
    match words.split_ascii_whitespace().collect::<Vec<_>>()[..] {
        [ref before @ .., "pragma", "user_version" | "main.user_version"] => match before {
            [] => read!(""),
            ["explain"] => read!("EXPLAIN "),
            ["explain", "query", "plan"] => read!("EXPLAIN QUERY PLAN "),
            _ => sql,
        },
        _ => sql,
    }
}

/// The number that a pragma of the app sets, as SQLite reports its argument.
pub(crate) fn parse(argument: &str) -> Option<i32> {
    argument.parse().ok()
}

/// Whether it is this pragma.
pub(crate) fn is_user_version(action: &AuthAction<'_>) -> bool {
    matches!(action, AuthAction::Pragma { pragma_name, .. } if pragma_name.eq_ignore_ascii_case(USER_VERSION))
}

//! The application's tables that the log writes: their columns, and the values that each can hold.
//!
//! A store reads them from its database and refuses tables with rules that these types do not
//! express. So a value that [`LogType::refuses`] accepts is never refused by the database.

use rejoin_protocol::{Value, time};

/// A table whose rows are the fold of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTable {
    /// Its name.
    pub name: String,
    /// The primary key.
    pub key: LogColumn,
    /// The other columns, in the database's order.
    pub columns: Vec<LogColumn>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogColumn {
    /// Its name.
    pub name: String,
    /// Its values.
    pub kind: LogType,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// Whether the database fills it in a row that lacks it.
    pub has_default: bool,
    /// Maximum number of bytes of a text or blob, if an index limits it.
    pub max_bytes: Option<usize>,
}

/// The values of a column, besides NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogType {
    /// Text without NUL.
    Text,
    /// A UUID in lower case, with hyphens.
    Uuid,
    /// An integer of this many bits.
    Integer(u32),
    /// A finite double.
    Double,
    /// A decimal as text: digits with an optional sign and point.
    Decimal,
    /// 0 or 1.
    Boolean,
    /// An instant as text.
    Instant,
    /// A day as text, `YYYY-MM-DD`.
    Date,
    /// JSON as text.
    Json,
    /// Bytes.
    Bytes,
}

/// Maximum length of a decimal: any database stores this many digits exactly.
const DECIMAL: usize = 1_000;

/// Maximum length of JSON text, in bytes: below the limit of one value in PostgreSQL.
const JSON: usize = 16 << 20;

impl LogType {
    /// Why the column cannot hold this value; `None` if it can. NULL is up to the column.
    #[must_use]
    pub fn refuses(self, value: &Value) -> Option<&'static str> {
        let (holds, expected) = match (self, value) {
            (_, Value::Null) => return None,
            (Self::Text, value) => (is_text(value, |_| true), "text without NUL"),
            (Self::Uuid, value) => (is_text(value, is_uuid), "a UUID in lower case"),
            (Self::Integer(bits), Value::Integer(number)) => {
                let room = 64 - bits.min(64);
                (number << room >> room == *number, "an integer of the column's size")
            }
            (Self::Integer(_), _) => (false, "an integer"),
            (Self::Double, value) => {
                (matches!(value, Value::Real(number) if number.is_finite()), "a finite double")
            }
            (Self::Decimal, value) => {
                (is_text(value, is_decimal), "a decimal as text, of at most 1000 characters")
            }
            (Self::Boolean, value) => (matches!(value, Value::Integer(0 | 1)), "0 or 1"),
            (Self::Instant, value) => {
                (is_text(value, |text| time::parse(text).is_some()), "an instant")
            }
            (Self::Date, value) => (is_text(value, is_date), "a day as YYYY-MM-DD"),
            (Self::Json, value) => (is_text(value, is_json), "JSON text"),
            (Self::Bytes, value) => (matches!(value, Value::Blob(_)), "bytes"),
        };
        (!holds).then_some(expected)
    }
}

fn is_text(value: &Value, is_valid: impl Fn(&str) -> bool) -> bool {
    value.as_text().is_some_and(|text| !text.contains('\0') && is_valid(text))
}

fn is_uuid(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok_and(|uuid| uuid.as_hyphenated().to_string() == text)
}

fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    text.len() <= DECIMAL && digits(whole) && digits(fraction)
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && time::parse(text).is_some()
}

/// Valid for every parser: of bounded depth, numbers within a double, no lone surrogate, no escaped
/// NUL.
fn is_json(text: &str) -> bool {
    text.len() <= JSON
        && serde_json::from_str::<serde_json::Value>(text).is_ok_and(|json| !has_nul(&json))
}

fn has_nul(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(has_nul),
        serde_json::Value::Object(members) => {
            members.iter().any(|(name, value)| name.contains('\0') || has_nul(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{LogType, Value};

    #[test]
    #[allow(clippy::too_many_lines)] // A table.
    fn type_holds_its_own_values_only() {
        let text = |text: &str| Value::Text(text.to_owned());
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        // type, values that it holds, values that it refuses
        let table = [
            (LogType::Text, vec![text(""), text("x")], vec![text("\0"), Value::Integer(1)]),
            (
                LogType::Uuid,
                vec![text("6fa459ea-ee8a-3ca4-894e-db77e160355e")],
                vec![text("6FA459EA-EE8A-3CA4-894E-DB77E160355E"), text("x")],
            ),
            (
                LogType::Integer(16),
                vec![Value::Integer(32_767), Value::Integer(-32_768)],
                vec![Value::Integer(32_768), Value::Integer(-32_769), Value::Real(1.0), text("1")],
            ),
            (
                LogType::Integer(64),
                vec![Value::Integer(i64::MAX), Value::Integer(i64::MIN)],
                vec![Value::Blob(vec![1])],
            ),
            (
                LogType::Double,
                vec![Value::Real(1.5)],
                vec![Value::Real(f64::INFINITY), Value::Integer(1)],
            ),
            (
                LogType::Decimal,
                vec![text("-12.50"), text("7")],
                vec![text(""), text("1e5"), text("NaN"), text("1."), text(&"1".repeat(1_001))],
            ),
            (LogType::Boolean, vec![Value::Integer(0)], vec![Value::Integer(2), text("true")]),
            (
                LogType::Instant,
                vec![text("2026-11-20T08:00:00Z")],
                vec![text("yesterday"), text("infinity")],
            ),
            (
                LogType::Date,
                vec![text("2026-02-28")],
                vec![text("2026-02-30"), text("2026-02-28T00:00:00Z")],
            ),
            (
                LogType::Json,
                vec![text(" {\"a\": [1, null]}")],
                vec![
                    text("{"),
                    text("1e999"),
                    text("[\"\\u0000\"]"),
                    text("\"\\ud800\""),
                    text(&deep),
                ],
            ),
            (LogType::Bytes, vec![Value::Blob(Vec::new())], vec![text("x")]),
        ];
        for (kind, holds, refuses) in table {
            for value in holds.iter().chain([&Value::Null]) {
                assert_eq!(kind.refuses(value), None, "{kind:?}: {value:?}");
            }
            for value in &refuses {
                assert!(kind.refuses(value).is_some(), "{kind:?}: {value:?}");
            }
        }
    }
}

//! Deterministic row ids of actions.
//!
//! The same action, table and identity give the same id on every device and in every run. The
//! function is pure; the vectors in `core/vectors/row-ids.json` test it. Two rows of one action
//! with the same identity get the same id and collide, so the action must distinguish them.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::{Map, Number, Value};
use uuid::{Uuid, Variant};

/// A row has no id, because its identity names a column that the row does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the row of table {table:?} has no column {column:?}, which its identity needs")]
pub struct MissingIdentity {
    /// The table.
    pub table: String,
    /// The missing column. A column that is NULL is not missing.
    pub column: String,
}

/// The id of a row of `table` that `action` inserts, a UUIDv5 in lower case.
///
/// `columns` are the row's identity; by default all columns except `id`. `action` is the id of the
/// running action as text. A UUID is used as the namespace, other text as a prefix of the name.
pub fn row_id(
    action: &str,
    table: &str,
    row: &Map<String, Value>,
    columns: Option<&[&str]>,
) -> Result<Uuid, MissingIdentity> {
    let mut name = format!("{table}|");
    let members = match columns {
        None => {
            row.iter().filter(|(column, _)| *column != "id").map(|(k, v)| (k.as_str(), v)).collect()
        }
        Some(columns) => named(table, row, columns)?,
    };
    write_object(&mut name, members);
    name.push_str("|0");
    Ok(match name_space(action) {
        Some(space) => Uuid::new_v5(&space, name.as_bytes()),
        None => Uuid::new_v5(&Uuid::nil(), format!("{action}|{name}").as_bytes()),
    })
}

/// Converts a SQLite value to its form in a row's identity.
///
/// Integers beyond 2^53 become their digits, because JSON numbers are not exact there. NaN and
/// infinity become NULL. A blob becomes its bytes in lower-case hexadecimal.
pub fn identity_value(value: &rejoin_protocol::Value) -> Value {
    use rejoin_protocol::Value as Sql;
    match value {
        Sql::Null => Value::Null,
        Sql::Integer(number) => Value::from(*number),
        Sql::Real(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        Sql::Text(text) => Value::from(text.as_str()),
        Sql::Blob(bytes) => {
            let mut text = String::with_capacity(bytes.len() * 2);
            for byte in bytes {
                let _ = write!(text, "{byte:02x}");
            }
            Value::from(text)
        }
    }
}

fn named<'a>(
    table: &str,
    row: &'a Map<String, Value>,
    columns: &[&'a str],
) -> Result<Vec<(&'a str, &'a Value)>, MissingIdentity> {
    let missing =
        |column: &str| MissingIdentity { table: table.to_owned(), column: column.to_owned() };
    let one = |column: &&'a str| {
        row.get(*column).map(|value| (*column, value)).ok_or_else(|| missing(column))
    };
    columns.iter().map(one).collect()
}

/// The action as a namespace: RFC 9562 UUIDs, versions 1 to 8, nil and max, in any case.
fn name_space(action: &str) -> Option<Uuid> {
    let hyphenated = action.len() == 36;
    let uuid = Uuid::try_parse(action).ok().filter(|_| hyphenated)?;
    let versioned =
        uuid.get_variant() == Variant::RFC4122 && (1..=8).contains(&uuid.get_version_num());
    (versioned || uuid.is_nil() || uuid.is_max()).then_some(uuid)
}

/// JavaScript's property order: array indexes first, by number; others by UTF-16 code units.
fn by_key(left: &str, right: &str) -> Ordering {
    match (array_index(left), array_index(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.encode_utf16().cmp(right.encode_utf16()),
    }
}

fn array_index(key: &str) -> Option<u32> {
    let canonical =
        key == "0" || !key.starts_with('0') && key.bytes().all(|byte| byte.is_ascii_digit());
    key.parse().ok().filter(|index| canonical && *index != u32::MAX)
}

fn write_object(out: &mut String, mut members: Vec<(&str, &Value)>) {
    members.sort_by(|(left, _), (right, _)| by_key(left, right));
    members.dedup_by(|(left, _), (right, _)| left == right);
    out.push('{');
    for (index, (key, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(out, key);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_text(out, text),
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, value);
            }
            out.push(']');
        }
        Value::Object(members) => {
            write_object(out, members.iter().map(|(k, v)| (k.as_str(), v)).collect());
        }
    }
}

/// JSON text with the fewest escapes: everything from U+0020 up except `"` and `\` is raw.
fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            low if low < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(low));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The largest integer that a double represents exactly, with all smaller ones.
const EXACT: u64 = 1 << 53;

fn write_number(out: &mut String, number: &Number) {
    let integer =
        number.as_i64().map(|n| (n < 0, n.unsigned_abs())).or(number.as_u64().map(|n| (false, n)));
    match integer {
        Some((negative, magnitude)) => {
            let quote = if magnitude > EXACT { "\"" } else { "" };
            let sign = if negative { "-" } else { "" };
            let _ = write!(out, "{quote}{sign}{magnitude}{quote}");
        }
        None => write_real(out, number.as_f64().unwrap_or(0.0)),
    }
}

/// A double as ECMAScript writes it: shortest digits, an exponent from 1e21 up and below 1e-6.
fn write_real(out: &mut String, number: f64) {
    if number == 0.0 {
        return out.push('0');
    }
    let text = format!("{:e}", number.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number < 0.0 {
        out.push('-');
    }
    match (exponent, usize::try_from(exponent)) {
        (21.. | ..-6, _) => {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            let sign = if exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "{first}{point}{rest}e{sign}{}", exponent.unsigned_abs());
        }
        (_, Ok(places)) if places + 1 >= digits.len() => {
            out.push_str(&digits);
            out.extend(std::iter::repeat_n('0', places + 1 - digits.len()));
        }
        (_, Ok(places)) => {
            let (whole, fraction) = digits.split_at(places + 1);
            let _ = write!(out, "{whole}.{fraction}");
        }
        (_, Err(_)) => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize - 1));
            out.push_str(&digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{identity_value, row_id};
    use serde::Deserialize;
    use serde_json::{Map, Value, json};

    const VECTORS: &str = include_str!("../../vectors/row-ids.json");
    const ACTION: &str = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";

    #[derive(Deserialize)]
    struct Vectors {
        row_ids: Vec<Vector>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        action_id: String,
        table: String,
        row: Map<String, Value>,
        columns: Option<Vec<String>>,
        id: String,
    }

    fn canonical(value: &Value) -> String {
        let mut out = String::new();
        super::write_value(&mut out, value);
        out
    }

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(members) = value else { panic!("{value} is no object") };
        members
    }

    #[test]
    fn row_id_matches_the_vectors() {
        let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
        assert_eq!(vectors.row_ids.len(), 56);
        for vector in vectors.row_ids {
            let columns: Option<Vec<&str>> =
                vector.columns.as_ref().map(|columns| columns.iter().map(String::as_str).collect());
            let id =
                row_id(&vector.action_id, &vector.table, &vector.row, columns.as_deref()).unwrap();
            assert_eq!(id.to_string(), vector.id, "{} {:?}", vector.action_id, vector.row);
        }
    }

    #[test]
    fn numbers_are_formatted_as_in_javascript() {
        for (number, text) in [
            (0.1, "0.1"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e20, "100000000000000000000"),
            (123_456.789, "123456.789"),
            (1e-6, "0.000001"),
            (1.2e-7, "1.2e-7"),
            (-0.0, "0"),
            (-2.5, "-2.5"),
            (5.0, "5"),
        ] {
            assert_eq!(canonical(&json!(number)), text);
        }
        assert_eq!(canonical(&json!(9_007_199_254_740_992_i64)), "9007199254740992");
        assert_eq!(canonical(&json!(9_007_199_254_740_993_i64)), "\"9007199254740993\"");
        assert_eq!(canonical(&json!(i64::MIN)), "\"-9223372036854775808\"");
    }

    #[test]
    fn index_keys_sort_first_by_number() {
        let keys = json!({"b": 1, "10": 2, "9": 3, "01": 4, "4294967295": 5, "4294967294": 6});
        assert_eq!(
            canonical(&keys),
            r#"{"9":3,"10":2,"4294967294":6,"01":4,"4294967295":5,"b":1}"#
        );
    }

    #[test]
    fn missing_identity_column_is_refused_and_null_is_not() {
        let row = object(json!({"a": null}));
        assert!(row_id(ACTION, "t", &row, Some(&["a"])).is_ok());
        let refused = row_id(ACTION, "t", &row, Some(&["a", "b"])).unwrap_err();
        assert_eq!((refused.table.as_str(), refused.column.as_str()), ("t", "b"));
    }

    #[test]
    fn row_id_depends_on_action_and_not_on_column_order() {
        let row = object(json!({"a": 1, "b": "x"}));
        let id = |action: &str, columns: &[&str]| row_id(action, "t", &row, Some(columns)).unwrap();
        assert_eq!(id(ACTION, &["a", "b"]), id(ACTION, &["b", "a"]));
        assert_ne!(id(ACTION, &["a"]), id("6f9619ff-8b86-4011-b42d-00cf4fc964fe", &["a"]));
        assert_ne!(id(ACTION, &["a"]), id(ACTION, &["b"]));
    }

    #[test]
    fn identity_accepts_every_storage_class() {
        use rejoin_protocol::Value as Sql;
        for (value, text) in [
            (Sql::Null, "null"),
            (Sql::Integer(-7), "-7"),
            (Sql::Real(1.5), "1.5"),
            (Sql::Real(f64::INFINITY), "null"),
            (Sql::Text("e\u{301}".into()), "\"e\u{301}\""),
            (Sql::Blob(vec![0, 255]), "\"00ff\""),
        ] {
            assert_eq!(canonical(&identity_value(&value)), text);
        }
    }
}

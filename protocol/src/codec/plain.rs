//! Lossless encoding of values for a plain v0.1.2 server, and decoding of its responses.
//!
//! Such a server reads numbers as doubles and passes strings to the column unchanged. So numbers
//! that a double cannot hold are strings, bytes are PostgreSQL hex, JSON is text, arrays are
//! inline.

use super::value::{CodecError, decode, encode, encode_plain};
use crate::{ColumnKind, Value};

/// The largest integer up to which a double represents every integer.
const EXACT: i64 = (1 << 53) - 1;

/// Appends `value` as JSON that a plain server stores unchanged.
///
/// # Errors
/// As [`encode`]; nothing is appended then.
pub fn encode_to_plain(
    value: &Value,
    kind: ColumnKind,
    out: &mut String,
) -> Result<(), CodecError> {
    match kind {
        ColumnKind::Array => encode_plain(value, kind, out),
        ColumnKind::Bytes => bytes(value, out),
        ColumnKind::Int | ColumnKind::Int64 => {
            let mut text = String::new();
            encode(value, kind, &mut text)?;
            let is_exact = text.parse().is_ok_and(|number: i64| (-EXACT..=EXACT).contains(&number));
            if is_exact || value.is_null() {
                out.push_str(&text);
            } else {
                out.extend(["\"", &text, "\""]);
            }
            Ok(())
        }
        _ => encode(value, kind, out),
    }
}

/// Decodes a cell of a plain v0.1.2 server, whose JSON is inline: a JSON string keeps its quotes,
/// so that `"12"` is not `12`. Its null may be SQL's or JSON's; it is read as SQL NULL.
///
/// # Errors
/// As [`decode`].
pub fn decode_from_plain(raw: &str, kind: ColumnKind) -> Result<Value, CodecError> {
    let value = decode(raw, kind)?;
    let raw = raw.trim_matches([' ', '\t', '\n', '\r']);
    let is_string = kind == ColumnKind::Json && raw.starts_with('"');
    Ok(if is_string { Value::Text(raw.to_owned()) } else { value })
}

fn bytes(value: &Value, out: &mut String) -> Result<(), CodecError> {
    let bytes = match value {
        Value::Blob(bytes) => bytes.as_slice(),
        Value::Text(text) => text.as_bytes(),
        other => return encode(other, ColumnKind::Bytes, out),
    };
    out.push_str("\"\\\\x");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    out.push('"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_encoding_of_each_kind_reads_back() {
        use ColumnKind::{Array, Boolean, Bytes, Float, Int, Int64, Json, Numeric};
        let cases: [(Value, ColumnKind, &str); 14] = [
            (7.into(), Int, "7"),
            (9_007_199_254_740_991_i64.into(), Int64, "9007199254740991"),
            (9_007_199_254_740_992_i64.into(), Int64, r#""9007199254740992""#),
            ((-9_007_199_254_740_993_i64).into(), Int64, r#""-9007199254740993""#),
            (i64::MIN.into(), Int64, r#""-9223372036854775808""#),
            (Value::Null, Int64, "null"),
            ("1.50".into(), Numeric, r#""1.50""#),
            (1.5.into(), Float, "1.5"),
            (1.into(), Boolean, "true"),
            (vec![0, 255, 16].into(), Bytes, r#""\\x00ff10""#),
            (Value::Null, Bytes, "null"),
            (r#"{"a":1}"#.into(), Json, r#""{\"a\":1}""#),
            (r#"["a","b"]"#.into(), Array, r#"["a","b"]"#),
            ("2026-01-01 08:00".into(), ColumnKind::Datetime, r#""2026-01-01T08:00:00.000000Z""#),
        ];
        for (value, kind, expected) in cases {
            let mut out = String::new();
            encode_to_plain(&value, kind, &mut out).unwrap();
            assert_eq!(out, expected, "{value:?} as {kind:?}");
            let back = decode(&out, kind).unwrap();
            assert!(crate::equal::equal(&back, &value, kind), "{out} comes back as {back:?}");
        }
        for (text, expected) in [
            (r#""12""#, r#""12""#.into()),
            (" 12 ", "12".into()),
            (r#""a\u0041""#, r#""a\u0041""#.into()),
            ("true", "true".into()),
            ("null", Value::Null),
            (r#"{"a":1}"#, r#"{"a":1}"#.into()),
        ] {
            assert_eq!(decode_from_plain(text, Json).unwrap(), expected, "{text}");
        }
        assert_eq!(decode_from_plain(r#""a""#, ColumnKind::String).unwrap(), "a".into());
        assert!(decode_from_plain(r#""a"#, Json).is_err());
        assert!(encode_to_plain(&f64::NAN.into(), Int64, &mut String::new()).is_err());
    }
}

//! Equality of values by meaning: 1.5 equals 1.50, instants are equal in any format.
//!
//! Each value has one meaning under a column kind. Equality and the digest both use it, so that
//! they agree.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use serde_json::value::RawValue;

use crate::{ColumnKind, Value, time};

/// Whether `left` and `right` are the same value of a column of this kind. NULL equals only NULL.
pub fn equal(left: &Value, right: &Value, kind: ColumnKind) -> bool {
    left == right || meaning(left, kind) == meaning(right, kind)
}

/// Whether `left` and `right` are [`equal`], or both null: SQL NULL and JSON null are the same on
/// the plain wire, so a difference between them is no foreign write.
pub fn alike(left: &Value, right: &Value, kind: ColumnKind) -> bool {
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Text(text) => text.trim() == "null",
        _ => false,
    };
    equal(left, right, kind) || kind == ColumnKind::Json && is_nothing(left) && is_nothing(right)
}

/// The meaning of a value, independent of storage class and spelling.
#[derive(Debug, PartialEq)]
pub(crate) enum Meaning<'a> {
    Null,
    Instant(time::Micros),
    Integer(i64),
    /// A number that is not an `i64`.
    Real(f64),
    Text(Cow<'a, str>),
    Json(String),
    Bytes(&'a [u8]),
    /// `[-]DIGITSeSCALE`, without leading or trailing zeros in the digits.
    Decimal(String),
}

pub(crate) fn meaning(value: &Value, kind: ColumnKind) -> Meaning<'_> {
    match (value, kind) {
        (Value::Null, _) => Meaning::Null,
        (Value::Blob(bytes), _) => Meaning::Bytes(bytes),
        (Value::Text(text), ColumnKind::Bytes) => Meaning::Bytes(text.as_bytes()),
        (_, ColumnKind::Datetime) => read(value, |text| time::parse(text).map(Meaning::Instant)),
        (_, ColumnKind::Numeric) => read(value, |text| decimal(text).map(Meaning::Decimal)),
        (_, ColumnKind::Json | ColumnKind::Array) => {
            read(value, |text| canonical_json(text).map(Meaning::Json))
        }
        (_, ColumnKind::String | ColumnKind::Date | ColumnKind::Time) => read(value, |_| None),
        (Value::Integer(number), _) => Meaning::Integer(*number),
        (Value::Real(number), _) => real(*number),
        (Value::Text(text), _) => number(text, kind).unwrap_or(Meaning::Text(text.into())),
    }
}

/// Parses text with `as_kind`, or keeps the text.
fn read<'a>(value: &'a Value, as_kind: impl Fn(&str) -> Option<Meaning<'a>>) -> Meaning<'a> {
    let text = match value {
        Value::Text(text) => Cow::Borrowed(text.as_str()),
        Value::Integer(number) => Cow::Owned(number.to_string()),
        Value::Real(number) => Cow::Owned(real_text(*number)),
        Value::Null | Value::Blob(_) => return Meaning::Null,
    };
    as_kind(&text).unwrap_or(Meaning::Text(text))
}

fn real(number: f64) -> Meaning<'static> {
    exact(number).map_or(Meaning::Real(number), Meaning::Integer)
}

/// Parses text in a numeric column as a number.
fn number(text: &str, kind: ColumnKind) -> Option<Meaning<'static>> {
    if let Ok(number) = text.parse() {
        return Some(Meaning::Integer(number));
    }
    match kind {
        ColumnKind::Boolean => truth(text).map(|truth| Meaning::Integer(truth.into())),
        ColumnKind::Float => finite(text).map(real),
        _ => None,
    }
}

/// Parses a boolean as PostgreSQL does.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// Parses a finite double.
pub(crate) fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The shortest text that reads back as this double.
pub(crate) fn real_text(number: f64) -> String {
    serde_json::to_string(&number).unwrap_or_default()
}

/// The integer that equals a double, if one fits 64 bits.
pub(crate) fn exact(real: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[allow(clippy::cast_possible_truncation)] // Verified: whole and in range.
    (real.fract() == 0.0 && (-LIMIT..LIMIT).contains(&real)).then_some(real as i64)
}

/// Canonical decimal text: `[-]DIGITSeSCALE`, the digits without outer zeros; zero is `0e0`.
pub(crate) fn decimal(text: &str) -> Option<String> {
    let (negative, digits, scale) = parts(text.trim())?;
    let sign = if negative { "-" } else { "" };
    Some(format!("{sign}{digits}e{scale}"))
}

/// Sign, digits and power of ten of a decimal.
fn parts(text: &str) -> Option<(bool, String, i64)> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let scale = i64::from(exponent) - i64::try_from(fraction.len()).ok()?;
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        return Some((false, String::from("0"), 0));
    }
    let shift = i64::try_from(significant.len() - trimmed.len()).ok()?;
    Some((negative, trimmed.to_owned(), scale + shift))
}

/// The 64-bit integer that equals a decimal text: `1e3` and `1.0` have one, `1.5` does not.
pub(crate) fn whole(text: &str) -> Option<i64> {
    let (negative, mut digits, scale) = parts(text)?;
    // More than nineteen digits never fit 64 bits.
    let zeros = usize::try_from(scale).ok().filter(|zeros| zeros + digits.len() <= 19)?;
    digits.extend(std::iter::repeat_n('0', zeros));
    if negative {
        digits.insert(0, '-');
    }
    digits.parse().ok()
}

/// Maximum nesting of JSON that is compared by meaning; deeper text is compared as text.
const DEEPEST: usize = 128;

/// JSON with sorted members, no spaces and canonical decimals; the last of equal names wins, as in
/// jsonb.
pub(crate) fn canonical_json(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    write_canonical(text.trim(), 0, &mut out)?;
    Some(out)
}

fn write_canonical(raw: &str, depth: usize, out: &mut String) -> Option<()> {
    if depth > DEEPEST {
        return None;
    }
    match raw.as_bytes().first()? {
        b'{' => {
            let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(raw).ok()?;
            for (at, (name, member)) in members.iter().enumerate() {
                out.push(if at == 0 { '{' } else { ',' });
                let _ = write!(out, "{}:", serde_json::to_string(name).ok()?);
                write_canonical(member.get(), depth + 1, out)?;
            }
            out.push_str(if members.is_empty() { "{}" } else { "}" });
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            for (at, item) in items.iter().enumerate() {
                out.push(if at == 0 { '[' } else { ',' });
                write_canonical(item.get(), depth + 1, out)?;
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        b'"' => {
            let text: String = serde_json::from_str(raw).ok()?;
            out.push_str(&serde_json::to_string(&text).ok()?);
        }
        b't' | b'f' | b'n' => match raw {
            "true" | "false" | "null" => out.push_str(raw),
            _ => return None,
        },
        _ => {
            let number: &RawValue = serde_json::from_str(raw).ok()?;
            out.push_str(&decimal(number.get())?);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::equal;
    use crate::{
        ColumnKind::{
            self, Array, Boolean, Bytes, Date, Datetime, Float, Int64, Json, Numeric, String,
        },
        Value::{self, Blob, Integer, Null, Real},
    };

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn values_compare_by_meaning() {
        let most = i64::MAX;
        #[rustfmt::skip]
        let table: Vec<(Value, Value, ColumnKind, bool)> = vec![
            (Null, Null, String, true),
            (Null, text(""), String, false),
            (Null, Integer(0), Int64, false),
            (Null, Blob(vec![]), Bytes, false),
            (text("a"), text("A"), String, false),
            (text("1.5"), text("1.50"), String, false),
            (text("[true, false,null]"), text("[true,false, null]"), Json, true),
            (text("true"), text("tru"), Json, false),
            (text("1.5"), text("1.50"), Numeric, true),
            (text("+001.50"), text("15e-1"), Numeric, true),
            (text("-0.00"), text("0"), Numeric, true),
            (text("1e400"), text("10e399"), Numeric, true),
            (Integer(2), text("2.0"), Numeric, true),
            (Real(0.5), text(".5"), Numeric, true),
            (text("12345678901234567890.1"), text("12345678901234567890.2"), Numeric, false),
            (text("NaN"), text("NaN"), Numeric, true),
            (text("NaN"), text("nan"), Numeric, false),
            (text("2026-11-20T10:00:00Z"), text("2026-11-20T11:00:00.000+01:00"), Datetime, true),
            (text("2026-11-20 10:00:00"), text("2026-11-20T10:00:00Z"), Datetime, true),
            (text("2026-11-20T10:00:00.0000001Z"), text("2026-11-20T10:00:00Z"), Datetime, true),
            (text("2026-11-20T10:00:00.000001Z"), text("2026-11-20T10:00:00Z"), Datetime, false),
            (text("soon"), text("soon"), Datetime, true),
            (text("soon"), text("Soon"), Datetime, false),
            (text("2026-11-20"), text("2026-11-20 "), Date, false),
            (text(r#"{"a":1,"b":[2]}"#), text(r#"{ "b" : [2.0], "a" : 1e0 }"#), Json, true),
            (text(r#"{"a":1,"a":2}"#), text(r#"{"a":2}"#), Json, true),
            (text(r#"["\u0061"]"#), text(r#"["a"]"#), Array, true),
            (text("[1,2]"), text("[2,1]"), Array, false),
            (text("[9007199254740993]"), text("[9007199254740992]"), Json, false),
            (text("[0.0]"), text("[-0]"), Json, true),
            (text("{}"), text("[]"), Json, false),
            (text("{broken"), text("{broken"), Json, true),
            (text("{broken"), text("{ broken"), Json, false),
            (Integer(1), Real(1.0), Int64, true),
            (Integer(0), Real(-0.0), Float, true),
            (Integer(most), Real(9_223_372_036_854_775_807.0), Float, false),
            (Integer(9_007_199_254_740_993), Real(9_007_199_254_740_992.0), Float, false),
            (Integer(1), text("true"), Boolean, true),
            (Integer(7), text("7"), Int64, true),
            (text("0.5"), Real(0.5), Float, true),
            (Integer(1), text("1.0"), Int64, false),
            (Blob(b"ab".to_vec()), text("ab"), Bytes, true),
            (Blob(b"ab".to_vec()), text("ab"), String, false),
            (Integer(5), text("5"), String, true),
        ];
        for (left, right, kind, expected) in table {
            assert_eq!(equal(&left, &right, kind), expected, "{left:?} {right:?} {kind:?}");
            assert_eq!(equal(&right, &left, kind), expected, "{right:?} {left:?} {kind:?}");
        }
    }

    #[test]
    fn too_deep_json_compares_as_text() {
        let deep =
            |space: &str| Value::Text(format!("{}{space}{}", "[".repeat(9000), "]".repeat(9000)));
        assert!(equal(&deep(""), &deep(""), Json));
        assert!(!equal(&deep(""), &deep(" "), Json));
    }
}

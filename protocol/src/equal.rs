//! When two values are the same, by what they mean (D4): 1.5 is 1.50, an instant is an instant in whatever text.

use crate::{ColumnKind, Value, time};

/// Whether `left` and `right` are the same value of a column of this kind. NULL equals only NULL.
pub fn equal(left: &Value, right: &Value, kind: ColumnKind) -> bool {
    if left == right {
        return true;
    }
    if left.is_null() || right.is_null() {
        return false;
    }
    match kind {
        ColumnKind::Datetime => both(left, right, |value| time::parse(value.as_text()?)),
        ColumnKind::Numeric => both(left, right, |value| decimal(&text_of(value)?)),
        ColumnKind::Json | ColumnKind::Array => both(left, right, |value| {
            serde_json::from_str::<serde_json::Value>(value.as_text()?).ok()
        }),
        ColumnKind::Float | ColumnKind::Int | ColumnKind::Int64 | ColumnKind::Boolean => {
            numbers(left, right)
        }
        ColumnKind::String | ColumnKind::Date | ColumnKind::Time | ColumnKind::Bytes => false,
    }
}

fn both<T: PartialEq>(left: &Value, right: &Value, read: impl Fn(&Value) -> Option<T>) -> bool {
    matches!((read(left), read(right)), (Some(a), Some(b)) if a == b)
}

/// An integer and a double are equal only if both name the same number exactly.
fn numbers(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Integer(whole), Value::Real(real)) | (Value::Real(real), Value::Integer(whole)) => {
            exact(*real) == Some(*whole)
        }
        _ => false,
    }
}

/// The integer that a double names exactly, if it names one that 64 bits hold.
pub(crate) fn exact(real: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[allow(clippy::cast_possible_truncation)] // Tested: whole, and within the range.
    (real.fract() == 0.0 && (-LIMIT..LIMIT).contains(&real)).then_some(real as i64)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Real(number) => Some(number.to_string()),
        Value::Null | Value::Blob(_) => None,
    }
}

/// The one spelling of a decimal: sign, digits without leading or trailing zeros, power of ten.
pub(crate) fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let text = text.trim();
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

//! Conversion of values to and from columns.
//!
//! Input: the real server first decodes JSON into Go values, so every number is a double. A string
//! is passed to the database as text. A value that the driver cannot encode for its column never
//! reaches the database. Output: `row_to_json`.

use serde_json::Value;

use crate::database::Refusal;
use crate::kind::Kind;
use crate::time;

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Boolean(bool),
    Integer(i64),
    Real(f64),
    /// Decimal digits.
    Number(String),
    Text(String),
    /// Microseconds since 1970.
    Instant(i64),
    Bytes(Vec<u8>),
    /// JSON text; arrays too.
    Json(String),
}

impl Cell {
    /// The column value of a client's JSON.
    pub(crate) fn pushed(kind: &Kind, value: &Value) -> Result<Self, Refusal> {
        match value {
            Value::Null => Ok(Self::Null),
            Value::String(text) => Self::from_text(kind, text),
            Value::Bool(flag) => match kind {
                Kind::Boolean => Ok(Self::Boolean(*flag)),
                Kind::Json => Ok(Self::Json(flag.to_string())),
                _ => Err(Refusal::encoding(value)),
            },
            Value::Number(number) => {
                Self::from_double(kind, number.as_f64().unwrap_or(f64::INFINITY))
                    .ok_or_else(|| Refusal::encoding(value))?
            }
            Value::Array(items) if *kind == Kind::TextArray => {
                let texts = items.iter().all(|item| item.is_string() || item.is_null());
                if texts {
                    Ok(Self::Json(value.to_string()))
                } else {
                    Err(Refusal::encoding(value))
                }
            }
            Value::Array(_) | Value::Object(_) if *kind == Kind::Json => {
                Ok(Self::Json(through_doubles(value).to_string()))
            }
            Value::Array(_) | Value::Object(_) => Err(Refusal::encoding(value)),
        }
    }

    /// The column value of an SQL statement: numbers keep all digits.
    pub(crate) fn written(kind: &Kind, value: &Value) -> Result<Self, Refusal> {
        match value {
            Value::Number(number) => Self::from_text(kind, &number.to_string()),
            Value::Array(_) | Value::Object(_) if *kind == Kind::Json => {
                Ok(Self::Json(value.to_string()))
            }
            _ => Self::pushed(kind, value),
        }
    }

    /// Converts a double; `None` if the driver cannot encode it.
    fn from_double(kind: &Kind, number: f64) -> Option<Result<Self, Refusal>> {
        Some(match kind {
            Kind::Integer(least, most) => {
                let whole = truncated(number);
                if (*least..=*most).contains(&whole) {
                    Ok(Self::Integer(whole))
                } else {
                    return None;
                }
            }
            Kind::Real => Ok(Self::Real(number)),
            Kind::Numeric(_) => Self::from_text(kind, &number.to_string()),
            Kind::Json => Ok(Self::Json(double(number).to_string())),
            _ => return None,
        })
    }

    /// Parses text like the database's input functions.
    pub(crate) fn from_text(kind: &Kind, text: &str) -> Result<Self, Refusal> {
        if text.contains('\0') {
            return Err(Refusal::sql("a text holds a NUL character"));
        }
        let read = match kind {
            Kind::Text => Some(Self::Text(text.to_owned())),
            Kind::Uuid => uuid(text).map(Self::Text),
            Kind::Enum(labels) => {
                labels.iter().find(|label| *label == text).cloned().map(Self::Text)
            }
            Kind::Boolean => boolean(text).map(Self::Boolean),
            Kind::Integer(least, most) => {
                let number = text.trim().parse().ok().filter(|n| (*least..=*most).contains(n));
                number.map(Self::Integer)
            }
            Kind::Real => text.trim().parse().ok().map(Self::Real),
            Kind::Numeric(digits) => decimal(text.trim(), *digits).map(Self::Number),
            Kind::Json => {
                let known = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
                known.then(|| Self::Json(text.to_owned()))
            }
            Kind::TextArray => array(text).map(Self::Json),
            Kind::Bytes => bytes(text).map(Self::Bytes),
            Kind::Day => time::day(text).map(Self::Text),
            Kind::Clock => time::clock_of_day(text).map(Self::Text),
            Kind::Instant => time::from_database(text).map(Self::Instant),
        };
        read.ok_or_else(|| Refusal::sql(&format!("{text:?} is not a {kind:?}")))
    }

    /// The value as text, for use as a bucket or owner; `None` for NULL.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Text(text) | Self::Number(text) | Self::Json(text) => Some(text.clone()),
            Self::Boolean(flag) => Some(flag.to_string()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Real(number) => Some(number.to_string()),
            Self::Instant(micros) => Some(time::in_row(*micros)),
            Self::Bytes(bytes) => Some(hex(bytes)),
        }
    }

    /// The value as written by `row_to_json`.
    pub(crate) fn json(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(flag) => flag.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Real(number) => number.to_string(),
            Self::Number(digits) => digits.clone(),
            Self::Json(text) => text.clone(),
            Self::Text(text) => Value::from(text.as_str()).to_string(),
            Self::Instant(micros) => Value::from(time::in_row(*micros)).to_string(),
            Self::Bytes(bytes) => Value::from(hex(bytes)).to_string(),
        }
    }
}

/// Go's conversion on 64-bit PCs: drops the fraction, and returns the minimum if the value does not
/// fit.
#[allow(clippy::cast_possible_truncation)]
fn truncated(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) { number as i64 } else { i64::MIN }
}

/// A double as encoded by Go: without a fraction if it is whole.
#[allow(clippy::cast_possible_truncation)]
fn double(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9.2e18 {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}

/// JSON after Go has decoded and encoded it.
fn through_doubles(value: &Value) -> Value {
    match value {
        Value::Number(number) => double(number.as_f64().unwrap_or_default()),
        Value::Array(items) => items.iter().map(through_doubles).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), through_doubles(value))).collect()
        }
        _ => value.clone(),
    }
}

fn uuid(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != '-').collect::<String>().to_lowercase();
    if digits.len() != 32 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    Some(parts.join("-"))
}

fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A decimal number, rounded half away from zero to the digits of its type.
fn decimal(text: &str, digits: Option<(usize, usize)>) -> Option<String> {
    let (sign, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => ("-", magnitude),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || all.len() > 36 || !all.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let Some((precision, scale)) = digits else {
        return Some(text.trim_start_matches('+').to_owned());
    };
    let mut value: i128 = all.parse().ok()?;
    if fraction.len() > scale {
        let cut = 10_i128.checked_pow(u32::try_from(fraction.len() - scale).ok()?)?;
        value = (value + cut / 2) / cut;
    } else {
        value =
            value.checked_mul(10_i128.checked_pow(u32::try_from(scale - fraction.len()).ok()?)?)?;
    }
    let written = format!("{value:0>width$}", width = scale + 1);
    if written.len() > precision.max(scale + 1) {
        return None;
    }
    let (whole, fraction) = written.split_at(written.len() - scale);
    let sign = if value == 0 { "" } else { sign };
    let dot = if scale == 0 { "" } else { "." };
    Some(format!("{sign}{whole}{dot}{fraction}"))
}

/// An array literal of plain elements, as JSON.
fn array(text: &str) -> Option<String> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    if inside.contains(['"', '{', '}', '\\']) {
        return None;
    }
    let items = inside.split(',').map(str::trim).filter(|item| !item.is_empty());
    Some(items.map(Value::from).collect::<Value>().to_string())
}

/// `bytea` from text: hex after `\x`, else the bytes of the text.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let Some(digits) = text.strip_prefix("\\x") else {
        return (!text.contains('\\')).then(|| text.as_bytes().to_vec());
    };
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

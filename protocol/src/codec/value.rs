//! Conversion of one value to JSON and back, by the kind of its column.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    ColumnKind, Value,
    equal::{exact, finite, truth, whole},
    time,
};

/// Why a value could not be encoded or decoded; `why` includes the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct CodecError {
    /// What is wrong with the value.
    pub why: String,
}

pub(super) fn refuse<T>(why: impl Into<String>) -> Result<T, CodecError> {
    Err(CodecError { why: why.into() })
}

const NO_INTEGER: &str = "not an integer of 64 bits";
const NO_NUMBER: &str = "not a finite number; store NULL or a finite number";
const NO_TRUTH: &str = "not true or false";
const NUL: &str = "text with a NUL character; store it as bytes, or leave the character out";
const BYTES: &str = "bytes in a column that takes none; store text, or declare the column as bytes";

/// Appends `value` as JSON in Rejoin's form.
///
/// Refuses infinities, NaN, text with NUL, bytes outside a bytes column, and non-numeric text in a
/// numeric column; then nothing is appended.
pub fn encode(value: &Value, kind: ColumnKind, out: &mut String) -> Result<(), CodecError> {
    match (value, kind) {
        (Value::Null, _) => out.push_str("null"),
        (Value::Integer(number), _) => integer(*number, kind, out)?,
        (Value::Real(number), _) => real(*number, kind, out)?,
        (Value::Text(text), ColumnKind::Bytes) => bytes(text.as_bytes(), out),
        (Value::Text(text), _) if text.contains('\0') => return refuse(NUL),
        (Value::Text(text), _) => text_of_kind(text, kind, out)?,
        (Value::Blob(blob), ColumnKind::Bytes) => bytes(blob, out),
        (Value::Blob(_), _) => return refuse(BYTES),
    }
    Ok(())
}

/// Whether [`encode`] accepts the value; capture checks this for each write.
pub fn check(value: &Value, kind: ColumnKind) -> Result<(), CodecError> {
    // Fast path for values of the column's storage class: capture checks each cell of each write.
    let fits = match (value, kind) {
        (Value::Null, _) | (Value::Blob(_), ColumnKind::Bytes) => true,
        (Value::Integer(_), _) => kind.sqlite_type() == "INTEGER",
        (Value::Real(number), _) => kind == ColumnKind::Float && number.is_finite(),
        (Value::Text(text), _) => is_textual(kind) && !text.contains('\0'),
        (Value::Blob(_), _) => false,
    };
    if fits { Ok(()) } else { encode(value, kind, &mut String::new()) }
}

/// Appends `value` in the form of a plain v0.1.2 peer: inline JSON and arrays, decimals as numbers,
/// bytes as `\x` and hexadecimal digits.
pub fn encode_plain(value: &Value, kind: ColumnKind, out: &mut String) -> Result<(), CodecError> {
    let bytes = match value {
        Value::Blob(bytes) => Some(bytes.as_slice()),
        Value::Text(text) => Some(text.as_bytes()),
        _ => None,
    };
    if let (Some(bytes), ColumnKind::Bytes) = (bytes, kind) {
        out.push_str("\"\\\\x");
        for byte in bytes {
            let _ = write!(out, "{byte:02x}");
        }
        out.push('"');
        return Ok(());
    }
    if kind == ColumnKind::Numeric && matches!(value, Value::Integer(_) | Value::Real(_)) {
        // A database that stores decimals as numbers keeps them as numbers.
        let kind =
            if matches!(value, Value::Real(_)) { ColumnKind::Float } else { ColumnKind::Int64 };
        return encode(value, kind, out);
    }
    if let Value::Text(text) = value {
        let text = text.trim();
        let in_place = match kind {
            ColumnKind::Json | ColumnKind::Array => is_json(text),
            ColumnKind::Numeric => is_number(text),
            _ => false,
        };
        if in_place {
            out.push_str(text);
            return Ok(());
        }
    }
    encode(value, kind, out)
}

/// Kinds that are TEXT in SQLite and strings on the wire.
pub(super) fn is_textual(kind: ColumnKind) -> bool {
    kind.sqlite_type() == "TEXT"
}

fn integer(number: i64, kind: ColumnKind, out: &mut String) -> Result<(), CodecError> {
    match (kind, number) {
        (ColumnKind::Boolean, 0) => out.push_str("false"),
        (ColumnKind::Boolean, 1) => out.push_str("true"),
        (ColumnKind::Bytes, _) => return refuse("a number in a column of bytes"),
        #[allow(clippy::cast_precision_loss)] // Verified by the inverse conversion.
        (ColumnKind::Float, _) if exact(number as f64) != Some(number) => {
            return refuse("an integer that no double is; declare the column as a 64-bit integer");
        }
        _ if is_textual(kind) => {
            out.push('"');
            push_number(&number, out);
            out.push('"');
        }
        _ => push_number(&number, out),
    }
    Ok(())
}

fn real(number: f64, kind: ColumnKind, out: &mut String) -> Result<(), CodecError> {
    if !number.is_finite() {
        return refuse(NO_NUMBER);
    }
    match kind {
        ColumnKind::Float => push_number(&number, out),
        ColumnKind::Int | ColumnKind::Int64 | ColumnKind::Boolean => match exact(number) {
            Some(number) => integer(number, kind, out)?,
            None => return refuse(NO_INTEGER),
        },
        ColumnKind::Bytes => return refuse("a number in a column of bytes"),
        _ => {
            out.push('"');
            push_number(&number, out);
            out.push('"');
        }
    }
    Ok(())
}

/// Appends the shortest text that reads back as this number, without an allocation.
fn push_number(number: &impl serde::Serialize, out: &mut String) {
    let mut buffer = [0; 32];
    let mut rest = &mut buffer[..];
    // Neither can fail: a number takes at most 24 ASCII bytes.
    let left = serde_json::to_writer(&mut rest, number).map_or(32, |()| rest.len());
    out.push_str(std::str::from_utf8(&buffer[..32 - left]).unwrap_or_default());
}

fn bytes(bytes: &[u8], out: &mut String) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

fn text_of_kind(text: &str, kind: ColumnKind, out: &mut String) -> Result<(), CodecError> {
    match kind {
        ColumnKind::Datetime => match time::parse(text) {
            Some(_) if time::is_canonical(text) => {
                out.push('"');
                out.push_str(text);
                out.push('"');
            }
            Some(micros) => {
                out.push('"');
                time::push(micros, out);
                out.push('"');
            }
            None => push_string(text, out),
        },
        ColumnKind::Int | ColumnKind::Int64 => match text.parse() {
            Ok(number) => integer(number, kind, out)?,
            Err(_) => return refuse(NO_INTEGER),
        },
        ColumnKind::Boolean => match (truth(text), text.parse()) {
            (Some(truth), _) => out.push_str(if truth { "true" } else { "false" }),
            (None, Ok(number)) => integer(number, kind, out)?,
            (None, Err(_)) => return refuse(NO_TRUTH),
        },
        ColumnKind::Float => match (text.parse(), finite(text)) {
            (Ok(number), _) => integer(number, kind, out)?,
            (Err(_), Some(number)) => push_number(&number, out),
            (Err(_), None) => return refuse(NO_NUMBER),
        },
        _ => push_string(text, out),
    }
    Ok(())
}

/// Appends a JSON string; copies the parts between escapes.
pub(super) fn push_string(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    // Vectorizable check: almost no text needs an escape.
    if text.bytes().fold(true, |bare, byte| bare & is_bare(byte)) {
        out.push_str(text);
        out.push('"');
        return;
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !is_bare(byte)) {
        out.push_str(&rest[..at]);
        let byte = rest.as_bytes()[at];
        // Bytes that need an escape are ASCII.
        rest = &rest[at + 1..];
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            // Writing to a string cannot fail.
            _ => drop(write!(out, "\\u{byte:04x}")),
        }
    }
    out.push_str(rest);
    out.push('"');
}

/// Whether a byte needs no escape in a JSON string.
#[allow(clippy::needless_bitwise_bool)] // Without branches, the loop vectorizes.
pub(super) fn is_bare(byte: u8) -> bool {
    (byte >= b' ') & (byte != b'"') & (byte != b'\\')
}

/// Decodes one JSON value as a cell of this kind. Refuses text that is not exactly one JSON value.
pub fn decode(raw: &str, kind: ColumnKind) -> Result<Value, CodecError> {
    let raw = raw.trim_matches([' ', '\t', '\n', '\r']);
    let sound = match raw.as_bytes().first() {
        Some(b'{' | b'[') => is_json(raw),
        Some(b'"' | b't' | b'f' | b'n') => true,
        _ => is_number(raw),
    };
    if sound { cell(raw, kind) } else { refuse("not a JSON value") }
}

/// Decodes a valid JSON token; on invalid JSON it may return text for a number, and never panics.
pub(super) fn cell(raw: &str, kind: ColumnKind) -> Result<Value, CodecError> {
    match raw.as_bytes().first() {
        Some(b'"') => string(raw, kind),
        Some(b'{' | b'[') => match kind {
            ColumnKind::Json | ColumnKind::Array => Ok(Value::Text(raw.to_owned())),
            _ => refuse("an object or array in a column that is not JSON"),
        },
        Some(b't' | b'f' | b'n') => literal(raw, kind),
        _ => number(raw, kind),
    }
}

fn literal(raw: &str, kind: ColumnKind) -> Result<Value, CodecError> {
    let truth = match raw {
        "null" => return Ok(Value::Null),
        "true" => true,
        "false" => false,
        _ => return refuse("not a JSON value"),
    };
    match kind {
        ColumnKind::Boolean | ColumnKind::Int | ColumnKind::Int64 => {
            Ok(Value::Integer(truth.into()))
        }
        _ if is_textual(kind) => Ok(Value::Text(raw.to_owned())),
        _ => refuse("true or false in a column that is not boolean"),
    }
}

fn string(raw: &str, kind: ColumnKind) -> Result<Value, CodecError> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner.filter(|text| text.bytes().all(is_bare)) {
        Some(text) => text_as(text, kind),
        None => match serde_json::from_str::<String>(raw) {
            Ok(text) if text.contains('\0') => refuse(NUL),
            Ok(text) if is_textual(kind) => Ok(Value::Text(text)),
            Ok(text) => text_as(&text, kind),
            Err(_) => refuse("not a JSON string"),
        },
    }
}

pub(super) fn text_as(text: &str, kind: ColumnKind) -> Result<Value, CodecError> {
    match kind {
        ColumnKind::Bytes => decode_bytes(text).map(Value::Blob),
        ColumnKind::Int | ColumnKind::Int64 => match text.parse() {
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) => refuse(NO_INTEGER),
        },
        ColumnKind::Boolean => match (truth(text), text.parse()) {
            (Some(truth), _) => Ok(Value::Integer(truth.into())),
            (None, Ok(number)) => Ok(Value::Integer(number)),
            (None, Err(_)) => refuse(NO_TRUTH),
        },
        ColumnKind::Float => match finite(text) {
            Some(number) => Ok(Value::Real(number)),
            None => refuse(NO_NUMBER),
        },
        _ => Ok(Value::Text(text.to_owned())),
    }
}

fn decode_bytes(text: &str) -> Result<Vec<u8>, CodecError> {
    let Some(hex) = text.strip_prefix("\\x") else {
        return STANDARD.decode(text).or_else(|_| refuse("not base64"));
    };
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        _ => refuse("not hexadecimal"),
    }
}

fn number(raw: &str, kind: ColumnKind) -> Result<Value, CodecError> {
    match kind {
        ColumnKind::Int | ColumnKind::Int64 | ColumnKind::Boolean => {
            match raw.parse().ok().or_else(|| whole(raw)) {
                Some(number) => Ok(Value::Integer(number)),
                None => refuse(NO_INTEGER),
            }
        }
        ColumnKind::Float => match finite(raw) {
            Some(number) => Ok(Value::Real(number)),
            None => refuse(NO_NUMBER),
        },
        ColumnKind::Bytes => refuse("a number in a column of bytes"),
        _ => Ok(Value::Text(raw.to_owned())),
    }
}

fn is_json(raw: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(raw).is_ok()
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && is_json(raw)
}

//! Values to JSON and back, by kind. The only place where a cell becomes text on the wire.
//!
//! Integers stay integers to the last bit, exact decimals travel as strings, bytes as base64, instants in one form.
//! Reading is done on raw text, because a JSON library's number would round what SQLite keeps.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{ColumnKind, Value, time};

/// Why a value could not be written or read; `why` names the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct CodecError {
    /// What is wrong with the value.
    pub why: String,
}

fn refuse<T>(why: impl Into<String>) -> Result<T, CodecError> {
    Err(CodecError { why: why.into() })
}

/// Appends `value` as JSON.
pub fn encode(value: &Value, kind: ColumnKind, out: &mut String) -> Result<(), CodecError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Integer(number) => match kind {
            ColumnKind::Boolean if *number == 0 => out.push_str("false"),
            ColumnKind::Boolean if *number == 1 => out.push_str("true"),
            ColumnKind::Numeric => push_string(&number.to_string(), out),
            _ => out.push_str(&number.to_string()),
        },
        Value::Real(number) if !number.is_finite() => {
            return refuse("infinities and NaN have no JSON; store NULL or a finite number");
        }
        Value::Real(number) => match kind {
            ColumnKind::Numeric => push_string(&number.to_string(), out),
            _ => out.push_str(&serde_json::to_string(number).unwrap_or_default()),
        },
        Value::Text(text) => match kind {
            ColumnKind::Datetime => match time::parse(text) {
                Some(micros) => push_string(&time::format(micros), out),
                None => push_string(text, out),
            },
            _ => push_string(text, out),
        },
        Value::Blob(bytes) => push_string(&STANDARD.encode(bytes), out),
    }
    Ok(())
}

fn push_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// Reads one JSON value as a cell of this kind.
pub fn decode(raw: &str, kind: ColumnKind) -> Result<Value, CodecError> {
    let raw = raw.trim();
    match raw.as_bytes().first() {
        None => refuse("an empty value"),
        Some(b'n') => Ok(Value::Null),
        Some(b't') => Ok(Value::Integer(1)),
        Some(b'f') => Ok(Value::Integer(0)),
        Some(b'"') => {
            let text: String =
                serde_json::from_str(raw).map_err(|error| CodecError { why: error.to_string() })?;
            decode_text(text, kind)
        }
        Some(b'{' | b'[') => Ok(Value::Text(raw.to_owned())),
        Some(_) => decode_number(raw, kind),
    }
}

fn decode_text(text: String, kind: ColumnKind) -> Result<Value, CodecError> {
    Ok(match kind {
        ColumnKind::Bytes => Value::Blob(decode_bytes(&text)?),
        ColumnKind::Int | ColumnKind::Int64 => match text.parse::<i64>() {
            Ok(number) => Value::Integer(number),
            Err(_) => return refuse("not an integer of 64 bits"),
        },
        ColumnKind::Boolean => match text.as_str() {
            "true" | "t" | "1" => Value::Integer(1),
            "false" | "f" | "0" => Value::Integer(0),
            _ => return refuse("not true or false"),
        },
        ColumnKind::Float => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Real(number),
            _ => return refuse("not a finite number"),
        },
        _ => Value::Text(text),
    })
}

fn decode_bytes(text: &str) -> Result<Vec<u8>, CodecError> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Option<Vec<u8>> = hex
            .chars()
            .map(|digit| digit.to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect();
        return match digits {
            Some(digits) if digits.len() % 2 == 0 => {
                Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
            }
            _ => refuse("not hexadecimal"),
        };
    }
    STANDARD.decode(text).or_else(|_| refuse("not base64"))
}

fn decode_number(raw: &str, kind: ColumnKind) -> Result<Value, CodecError> {
    if !raw.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return refuse("not a JSON value");
    }
    match kind {
        ColumnKind::Numeric | ColumnKind::Json | ColumnKind::Array => {
            Ok(Value::Text(raw.to_owned()))
        }
        ColumnKind::Int | ColumnKind::Int64 | ColumnKind::Boolean => match raw.parse::<i64>() {
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) => match raw.parse::<f64>().ok().and_then(crate::equal::exact) {
                Some(number) => Ok(Value::Integer(number)),
                None => refuse("not an integer of 64 bits"),
            },
        },
        ColumnKind::Float => match raw.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Real(number)),
            _ => refuse("not a finite number"),
        },
        _ => Ok(Value::Text(raw.to_owned())),
    }
}

/// Reads `[[cell, ...], ...]` row by row, without holding more than one row; returns the number of rows.
///
/// Every row must have as many cells as there are `kinds`. Nothing is handed out after the first error.
pub fn each_row<E>(
    rows: &RawValue,
    kinds: &[ColumnKind],
    mut each: impl FnMut(&mut Vec<Value>) -> Result<(), E>,
) -> Result<usize, RowError<E>> {
    let mut failed = None;
    let mut cells = Vec::with_capacity(kinds.len());
    let mut count = 0;
    let seed = Rows {
        kinds,
        each: &mut |row: &mut Vec<Value>| {
            count += 1;
            each(row).map_err(|error| failed = Some(error)).is_ok()
        },
        cells: &mut cells,
    };
    let read = seed.deserialize(&mut serde_json::Deserializer::from_str(rows.get()));
    match (failed, read) {
        (Some(error), _) => Err(RowError::Each(error)),
        (None, Err(error)) => Err(RowError::Decode(CodecError { why: error.to_string() })),
        (None, Ok(())) => Ok(count),
    }
}

/// Why [`each_row`] stopped.
#[derive(Debug)]
pub enum RowError<E> {
    /// The text is no array of rows of these kinds.
    Decode(CodecError),
    /// The caller's function failed.
    Each(E),
}

struct Rows<'a> {
    kinds: &'a [ColumnKind],
    each: &'a mut dyn FnMut(&mut Vec<Value>) -> bool,
    cells: &'a mut Vec<Value>,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Cells { kinds: self.kinds, cells: self.cells })?.is_some() {
            if !(self.each)(self.cells) {
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

struct Cells<'a> {
    kinds: &'a [ColumnKind],
    cells: &'a mut Vec<Value>,
}

impl<'de> DeserializeSeed<'de> for Cells<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Cells<'_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "an array of {} cells", self.kinds.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut cells: A) -> Result<(), A::Error> {
        self.cells.clear();
        while let Some(raw) = cells.next_element::<&'de RawValue>()? {
            let Some(kind) = self.kinds.get(self.cells.len()) else {
                return Err(serde::de::Error::custom("a row has too many cells"));
            };
            self.cells.push(decode(raw.get(), *kind).map_err(serde::de::Error::custom)?);
        }
        if self.cells.len() == self.kinds.len() {
            return Ok(());
        }
        Err(serde::de::Error::custom("a row has too few cells"))
    }
}

//! Objects of cells by column name: `data` and `old` of changes, records and images.

use std::borrow::Cow;

use serde::{
    Deserializer as _,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::plain::encode_to_plain;
use super::value::{CodecError, encode, push_string};
use crate::{ColumnKind, Value};

/// A cell that could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {why}")]
pub struct ColumnError {
    /// The column's name.
    pub column: String,
    /// What is wrong with its value.
    #[source]
    pub why: CodecError,
}

/// Encodes `{"column": cell, ...}` in the given order.
///
/// # Errors
/// The first cell that [`encode`] refuses.
pub fn encode_object<'a>(
    cells: impl IntoIterator<Item = (&'a str, &'a Value, ColumnKind)>,
) -> Result<Box<RawValue>, ColumnError> {
    object(cells, encode)
}

/// [`encode_object`] for a plain v0.1.2 server.
///
/// # Errors
/// The first cell that [`encode_to_plain`] refuses.
pub fn encode_object_to_plain<'a>(
    cells: impl IntoIterator<Item = (&'a str, &'a Value, ColumnKind)>,
) -> Result<Box<RawValue>, ColumnError> {
    object(cells, encode_to_plain)
}

fn object<'a>(
    cells: impl IntoIterator<Item = (&'a str, &'a Value, ColumnKind)>,
    encode: impl Fn(&Value, ColumnKind, &mut String) -> Result<(), CodecError>,
) -> Result<Box<RawValue>, ColumnError> {
    let mut out = String::from("{");
    for (column, value, kind) in cells {
        if out.len() > 1 {
            out.push(',');
        }
        push_string(column, &mut out);
        out.push(':');
        encode(value, kind, &mut out)
            .map_err(|why| ColumnError { column: column.to_owned(), why })?;
    }
    out.push('}');
    RawValue::from_string(out).map_err(|error| ColumnError {
        column: String::new(),
        why: CodecError { why: error.to_string() },
    })
}

/// The members of an object in text order; decode each with [`super::decode`] and its column's
/// kind.
///
/// # Errors
/// If `object` is not a JSON object.
pub fn members(object: &RawValue) -> Result<Vec<(Cow<'_, str>, &RawValue)>, CodecError> {
    serde_json::Deserializer::from_str(object.get())
        .deserialize_map(Members)
        .map_err(|_| CodecError { why: String::from("not an object of columns") })
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an object of columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = map.next_entry()? {
            members.push(entry);
        }
        Ok(members)
    }
}

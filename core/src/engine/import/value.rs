//! Converts values from the form of the Synchro SDK to ours. Pure.
//!
//! An old file contains three forms of an instant, a `numeric` is a double, an array may be `{}`,
//! and bytes from the server are hexadecimal text. What cannot be parsed stays unchanged; it is
//! checked before it is sent.

use rejoin_protocol::{ColumnKind, time};
use uuid::Uuid;

use crate::engine::schema::guarded::GuardedColumn;
use crate::value::Value;

/// The value in the form of this column of ours.
pub(super) fn convert(column: GuardedColumn, value: Value) -> Value {
    match (column.kind, value) {
        (_, Value::Text(text)) if column.uuid => match Uuid::parse_str(&text) {
            Ok(uuid) => Value::Text(uuid.as_hyphenated().to_string()),
            Err(_) => Value::Text(text),
        },
        (ColumnKind::Datetime, Value::Text(text)) => match time::parse(&text) {
            Some(instant) => Value::Text(time::format(instant)),
            None => Value::Text(text),
        },
        (ColumnKind::Numeric, Value::Integer(number)) => Value::Text(number.to_string()),
        (ColumnKind::Numeric, Value::Real(number)) if number.is_finite() => {
            Value::Text(decimal(number))
        }
        (ColumnKind::Array, Value::Text(text)) if text == "{}" => Value::Text("[]".to_owned()),
        (ColumnKind::Bytes, Value::Text(text)) => {
            bytes(&text).map_or(Value::Text(text), Value::Blob)
        }
        (ColumnKind::Boolean | ColumnKind::Int | ColumnKind::Int64, Value::Real(number)) => {
            whole(number)
        }
        (_, value) => value,
    }
}

/// The shortest text that reads back as this number, without the `.0` of a whole one.
fn decimal(number: f64) -> String {
    format!("{number}")
}

/// An integer that a column of another affinity has turned into a double.
fn whole(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation)]
    // Checked: whole, and exactly representable as a double.
    if number.fract() == 0.0 && number.abs() <= EXACT {
        Value::Integer(number as i64)
    } else {
        Value::Real(number)
    }
}

/// `\x` and hexadecimal digits: the form of bytes from the server.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

/// Whether a version was created on this device, by SQLite's `CURRENT_TIMESTAMP`, or is missing:
/// then no server has ever sent the row, because server versions have a time zone.
pub(super) fn is_of_this_device(version: Option<&str>) -> bool {
    version.is_none_or(|text| {
        let text = text.trim();
        text.is_empty() || (text.len() == 19 && text.as_bytes().get(10) == Some(&b' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: ColumnKind) -> GuardedColumn {
        GuardedColumn { kind, key: false, not_null: false, uuid: false }
    }

    #[test]
    fn every_old_encoding_is_converted() {
        let text = |text: &str| Value::Text(text.to_owned());
        let noon = "2026-11-20T12:00:00.500000Z";
        let cases = [
            (ColumnKind::Datetime, text("2026-11-20T12:00:00.5+00:00"), text(noon)),
            (ColumnKind::Datetime, text("2026-11-20T13:00:00.500+01:00"), text(noon)),
            (ColumnKind::Datetime, text("2026-11-20T12:00:00.500Z"), text(noon)),
            (ColumnKind::Datetime, text("2026-11-20 12:00:00.5"), text(noon)),
            (ColumnKind::Datetime, text("soon"), text("soon")),
            (ColumnKind::Numeric, Value::Real(1.5), text("1.5")),
            (ColumnKind::Numeric, Value::Real(2.0), text("2")),
            (ColumnKind::Numeric, Value::Integer(7), text("7")),
            (ColumnKind::Array, text("{}"), text("[]")),
            (ColumnKind::Array, text("[1]"), text("[1]")),
            (ColumnKind::Json, text("{}"), text("{}")),
            (ColumnKind::Bytes, text("\\x00ff"), Value::Blob(vec![0, 255])),
            (ColumnKind::Bytes, text("\\x0"), text("\\x0")),
            (ColumnKind::Bytes, Value::Blob(vec![1]), Value::Blob(vec![1])),
            (ColumnKind::Boolean, Value::Integer(1), Value::Integer(1)),
            (ColumnKind::Int64, Value::Real(3.0), Value::Integer(3)),
            (ColumnKind::Int64, Value::Integer(i64::MAX), Value::Integer(i64::MAX)),
            (ColumnKind::Float, Value::Real(3.0), Value::Real(3.0)),
            (ColumnKind::String, text("2026-11-20 12:00:00"), text("2026-11-20 12:00:00")),
            (ColumnKind::Date, Value::Null, Value::Null),
        ];
        for (kind, old, ours) in cases {
            assert_eq!(convert(column(kind), old.clone()), ours, "{kind:?} {old:?}");
        }
        let uuid = GuardedColumn { uuid: true, ..column(ColumnKind::String) };
        let old = text("01890A5D-AC96-774B-BCCE-B302099A8057");
        assert_eq!(convert(uuid, old), text("01890a5d-ac96-774b-bcce-b302099a8057"));
        assert_eq!(convert(uuid, text("none")), text("none"));
    }

    #[test]
    fn version_without_a_zone_is_of_this_device() {
        for (version, here) in [
            (None, true),
            (Some(""), true),
            (Some("2026-11-20 06:53:36"), true),
            (Some("2026-11-20T06:41:50.896045+00:00"), false),
            (Some("2026-11-20T06:41:50.896Z"), false),
        ] {
            assert_eq!(is_of_this_device(version), here, "{version:?}");
        }
    }
}

//! Checks whether a value can be synced: its type and its text form. Pure.
//!
//! Only values that a local write changes are checked; values from the server are accepted as they
//! are.

use rejoin_protocol::{ColumnKind, time};
use rusqlite::types::{Type, ValueRef};
use uuid::Uuid;

use crate::engine::schema::guarded::GuardedColumn;

/// Returns the problem of a value and how to fix it.
pub(crate) fn value(column: GuardedColumn, value: ValueRef<'_>) -> Result<(), String> {
    match value {
        ValueRef::Null if column.key => {
            Err(String::from("the key is NULL; set it, for example with rejoin_new_id()"))
        }
        ValueRef::Null => Ok(()),
        ValueRef::Integer(number) => integer(column.kind, number),
        ValueRef::Real(number) if !number.is_finite() => {
            Err(String::from("infinity cannot be synced; store NULL or a finite number"))
        }
        ValueRef::Real(_) => match column.kind {
            ColumnKind::Float => Ok(()),
            kind => Err(wrong(kind, Type::Real)),
        },
        ValueRef::Text(bytes) => text(column, bytes),
        ValueRef::Blob(_) => match column.kind {
            ColumnKind::Bytes => Ok(()),
            kind => Err(wrong(kind, Type::Blob)),
        },
    }
}

fn wrong(kind: ColumnKind, found: Type) -> String {
    let wanted = match kind {
        ColumnKind::Int | ColumnKind::Int64 => "an integer",
        ColumnKind::Float => "a number",
        ColumnKind::Numeric => "a decimal number as text",
        ColumnKind::Boolean => "0 or 1",
        ColumnKind::Bytes => "a blob",
        ColumnKind::Datetime => "an instant like 2026-01-31T12:00:00.000000Z",
        ColumnKind::Date => "a day like 2026-01-31",
        ColumnKind::Time => "a time of day like 12:00:00",
        ColumnKind::Json => "JSON text",
        ColumnKind::Array => "a JSON array as text",
        ColumnKind::String => "text",
    };
    format!("cannot store {} here; the column takes {wanted}", found.to_string().to_uppercase())
}

/// What to write in place of seconds since 1970.
fn of_number(kind: ColumnKind) -> String {
    let (form, example) = match kind {
        ColumnKind::Date => ("%Y-%m-%d", "a day like 2026-01-31"),
        ColumnKind::Time => ("%H:%M:%S", "a time of day like 12:00:00"),
        _ => ("%Y-%m-%dT%H:%M:%SZ", "an instant like 2026-01-31T12:00:00.000000Z"),
    };
    format!(
        "the column takes {example}; for seconds since 1970 write strftime('{form}', ?, 'unixepoch')"
    )
}

fn integer(kind: ColumnKind, number: i64) -> Result<(), String> {
    match kind {
        ColumnKind::Int | ColumnKind::Int64 | ColumnKind::Float => Ok(()),
        ColumnKind::Boolean if number == 0 || number == 1 => Ok(()),
        kind => Err(wrong(kind, Type::Integer)),
    }
}

/// ASCII without NUL; checks every byte, which is faster than stopping early.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, byte| plain & (0x01..0x80).contains(byte))
}

fn text(column: GuardedColumn, bytes: &[u8]) -> Result<(), String> {
    let is_name = column.key || column.uuid;
    match column.kind {
        ColumnKind::String if !is_name && is_plain(bytes) => return Ok(()),
        ColumnKind::Datetime if !is_name && is_our_instant(bytes) => return Ok(()),
        _ => {}
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(String::from("the text is not valid UTF-8; store a blob, or repair the text"));
    };
    if bytes.contains(&0) {
        return Err(String::from("the text contains a NUL character; remove it"));
    }
    if is_name {
        one_form_of_uuid(column, text)?;
    }
    let fits = match column.kind {
        ColumnKind::String => true,
        ColumnKind::Datetime => instant(text),
        ColumnKind::Date => day(bytes),
        ColumnKind::Time => time_of_day(bytes),
        ColumnKind::Numeric => decimal(bytes),
        ColumnKind::Json => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
        ColumnKind::Array => serde_json::from_str::<Vec<serde::de::IgnoredAny>>(text).is_ok(),
        ColumnKind::Int
        | ColumnKind::Int64
        | ColumnKind::Float
        | ColumnKind::Boolean
        | ColumnKind::Bytes => false,
    };
    match column.kind {
        _ if fits => Ok(()),
        // SQLite stores an integer as text in these columns.
        ColumnKind::Datetime | ColumnKind::Date | ColumnKind::Time if decimal(bytes) => {
            Err(format!("cannot store the number {text} here; {}", of_number(column.kind)))
        }
        kind => Err(wrong(kind, Type::Text)),
    }
}

/// A UUID has one text, lower case with hyphens; otherwise two devices could create two rows for
/// one. Thirty-two bare digits count as a UUID only if the server's type is `uuid`: elsewhere they
/// may be a hash.
fn one_form_of_uuid(column: GuardedColumn, text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let may_be = match bytes.len() {
        36 => bytes.iter().any(u8::is_ascii_uppercase),
        38 | 45 => true,
        32 => column.uuid,
        _ => false,
    };
    match may_be.then(|| Uuid::parse_str(text)) {
        Some(Ok(uuid)) => Err(format!(
            "a UUID is written in lower case with hyphens; write {}",
            uuid.as_hyphenated()
        )),
        Some(Err(_)) | None if column.uuid && Uuid::parse_str(text).is_err() => {
            Err(String::from("not a UUID; write it in lower case with hyphens"))
        }
        _ => Ok(()),
    }
}

fn digits(bytes: &[u8]) -> Option<u32> {
    if bytes.len() > 9 {
        return None;
    }
    bytes.iter().try_fold(0_u32, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0'))
    })
}

/// The canonical form needs no full parsing, unless not every month has the day.
fn is_our_instant(bytes: &[u8]) -> bool {
    bytes.len() == 27
        && (bytes[10], bytes[19], bytes[26]) == (b'T', b'.', b'Z')
        && day(&bytes[..10])
        && digits(&bytes[8..10]).is_some_and(|day| day <= 28)
        && time_of_day(&bytes[11..26])
}

fn instant(text: &str) -> bool {
    let bytes = text.as_bytes();
    is_our_instant(bytes)
        || (bytes.first() != Some(&b'-')
            && time::parse(text).is_some()
            && !text.starts_with("0000"))
}

fn day(bytes: &[u8]) -> bool {
    let [year @ .., b'-', m1, m2, b'-', d1, d2] = bytes else { return false };
    let (Some(year), Some(month), Some(day)) =
        (digits(year).filter(|_| year.len() == 4), digits(&[*m1, *m2]), digits(&[*d1, *d2]))
    else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    year > 0 && (1..=12).contains(&month) && (1..=days).contains(&day)
}

/// `HH:MM`, `HH:MM:SS`, with a fraction of up to nine digits; then `Z` or an offset, if the
/// server's type has one.
fn time_of_day(bytes: &[u8]) -> bool {
    let end =
        bytes.iter().position(|byte| matches!(byte, b'Z' | b'+' | b'-')).unwrap_or(bytes.len());
    let (bytes, offset) = bytes.split_at(end);
    let offset_fits = match offset {
        [] | [b'Z'] => true,
        [_, rest @ ..] => {
            matches!(rest.len(), 2 | 5) && rest.iter().all(|b| b.is_ascii_digit() || *b == b':')
        }
    };
    offset_fits && clock(bytes)
}

fn clock(bytes: &[u8]) -> bool {
    let part = |from: usize, limit: u32| {
        bytes.get(from..from + 2).and_then(digits).is_some_and(|number| number < limit)
    };
    let fraction = |bytes: &[u8]| {
        bytes[0] == b'.'
            && (2..=10).contains(&bytes.len())
            && bytes[1..].iter().all(u8::is_ascii_digit)
    };
    let colon = |at: usize| bytes.get(at) == Some(&b':');
    part(0, 24)
        && colon(2)
        && part(3, 60)
        && (bytes.len() == 5
            || (colon(5) && part(6, 60) && (bytes.len() == 8 || fraction(&bytes[8..]))))
}

/// Sign, digits, point, digits, exponent.
fn decimal(bytes: &[u8]) -> bool {
    let bytes = match bytes {
        [b'+' | b'-', rest @ ..] => rest,
        all => all,
    };
    let mut parts = bytes.splitn(2, |byte| matches!(byte, b'e' | b'E'));
    let mantissa = parts.next().unwrap_or_default();
    let exponent = parts.next().is_none_or(|exponent| {
        let digits =
            exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
        (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
    });
    let mut points = 0;
    let mut digits = 0;
    for byte in mantissa {
        points += usize::from(*byte == b'.');
        digits += usize::from(byte.is_ascii_digit());
    }
    exponent && points <= 1 && digits > 0 && points + digits == mantissa.len()
}

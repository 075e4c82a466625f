//! Time formats: Go's RFC 3339 in messages, PostgreSQL's text in rows.
//!
//! Times are microseconds since 1970 UTC in rows and nanoseconds in requests. The session's time
//! zone is UTC.

use jiff::Timestamp;

/// A time in a request, in nanoseconds: RFC 3339 with `T` and a zone.
pub(crate) fn from_rfc3339(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= 20
        && bytes[10] == b'T'
        && !text.contains([',', ' '])
        && (text.ends_with('Z') || offset(text).is_some_and(|(_, zone)| zone.len() == 6));
    if !shaped {
        return None;
    }
    text.parse::<Timestamp>().ok().map(Timestamp::as_nanosecond)
}

/// Splits the text before the sign of the zone.
fn offset(text: &str) -> Option<(&str, &str)> {
    let clock = text.get(10..)?;
    let sign = clock.rfind(['+', '-'])?;
    Some((&text[..10 + sign], &text[10 + sign..]))
}

/// A time as the database parses it, in microseconds: with `T` or a space, with or without zone or
/// time of day.
pub(crate) fn from_database(text: &str) -> Option<i64> {
    let text = text.trim();
    let (plain, zone) = match (text.strip_suffix(['Z', 'z']), offset(text)) {
        (Some(plain), _) => (plain, "+00:00".to_owned()),
        (None, Some((plain, zone))) => (plain, full_zone(zone)?),
        (None, None) => (text, "+00:00".to_owned()),
    };
    let (date, clock) = match plain.trim_end().split_once(['T', ' ']) {
        Some((date, clock)) => (date, clock_of_day(clock)?),
        None => (plain.trim_end(), "00:00:00".to_owned()),
    };
    let nanos = format!("{date}T{clock}{zone}").parse::<Timestamp>().ok()?.as_nanosecond();
    i64::try_from((nanos + 500).div_euclid(1000)).ok()
}

/// `+00`, `+0000` and `+00:00` as `+00:00`.
fn full_zone(zone: &str) -> Option<String> {
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    if !digits.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    match digits.len() {
        2 => Some(format!("{}{digits}:00", &zone[..1])),
        4 => Some(format!("{}{}:{}", &zone[..1], &digits[..2], &digits[2..])),
        _ => None,
    }
}

/// A time of day as the database writes it: always with seconds, a fraction without trailing zeros.
pub(crate) fn clock_of_day(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<u32> = whole.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let (hour, minute, second) = match parts[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 || !fraction.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{hour:02}:{minute:02}:{second:02}{dot}{fraction}"))
}

/// A date as the database writes it.
pub(crate) fn day(text: &str) -> Option<String> {
    let date = text.trim().get(..10)?.parse::<jiff::civil::Date>().ok()?;
    Some(date.to_string())
}

/// A time in a message member: `2026-11-20T06:41:50.896045Z`.
pub(crate) fn in_message(micros: i64) -> String {
    Timestamp::from_microsecond(micros).unwrap_or_default().to_string()
}

/// A time in the JSON of a row, from microseconds since 1970: `2026-11-20T06:41:50.896045+00:00`.
pub fn in_row(micros: i64) -> String {
    in_message(micros).trim_end_matches('Z').to_owned() + "+00:00"
}

//! Instants: one text to write, several to read.
//!
//! Written as `YYYY-MM-DDTHH:MM:SS.ffffffZ`, years 0001 to 9999 (D4). Read: RFC 3339 with any offset and up to nine
//! digits, and SQLite's own `YYYY-MM-DD HH:MM:SS`, taken as UTC.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// The canonical text of an instant; instants outside the years 0001 to 9999 are held at the nearest end.
pub fn format(micros: Micros) -> String {
    let stamp = Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    });
    let time = stamp.to_zoned(TimeZone::UTC).datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        time.year().clamp(1, 9999),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.subsec_nanosecond() / 1000
    )
}

/// The instant that `text` names, in microseconds (further digits are cut), or `None` if it is no instant.
pub fn parse(text: &str) -> Option<Micros> {
    let text = text.trim();
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Some(stamp.as_microsecond());
    }
    let civil: DateTime = text.parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

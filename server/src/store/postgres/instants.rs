//! Instants in the database's binary form, in microseconds since 2000: conversion to text and back
//! would dominate the cost of a row.

use rejoin_protocol::time;
use tokio_postgres::types::{FromSql, Type};

/// Microseconds from 1970 to 2000, the epoch of PostgreSQL.
const SINCE_1970: i64 = 946_684_800_000_000;
const DAY: i64 = 86_400_000_000;

/// A cell of type `timestamp` or `timestamptz`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instant {
    micros: i64,
    zoned: bool,
}

impl<'a> FromSql<'a> for Instant {
    fn from_sql(
        of: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self { micros: i64::from_be_bytes(raw.try_into()?), zoned: *of == Type::TIMESTAMPTZ })
    }

    fn accepts(of: &Type) -> bool {
        matches!(*of, Type::TIMESTAMP | Type::TIMESTAMPTZ)
    }
}

impl Instant {
    /// The canonical text, or the database's own form where there is none (infinity, years before 1
    /// or after 9999).
    pub(super) fn text(self) -> String {
        match self.micros {
            i64::MAX => return String::from("infinity"),
            i64::MIN => return String::from("-infinity"),
            _ => {}
        }
        let micros = self.micros.checked_add(SINCE_1970);
        match micros.filter(|micros| (time::FIRST..=time::LAST).contains(micros)) {
            Some(micros) => time::format(micros),
            None => self.odd(),
        }
    }

    /// `0044-03-15 12:00:00+00 BC`.
    fn odd(self) -> String {
        let (days, rest) = (self.micros.div_euclid(DAY), self.micros.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
        let mut text = format!(
            "{:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
            if year > 0 { year } else { 1 - year },
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
        );
        if fraction > 0 {
            let digits = format!(".{fraction:06}");
            text.push_str(digits.trim_end_matches('0'));
        }
        text.push_str(if self.zoned { "+00" } else { "" });
        text.push_str(if year > 0 { "" } else { " BC" });
        text
    }
}

/// Year, month and day of a day since 2000-01-01; the year before 1 is 0.
fn civil(day: i64) -> (i64, i64, i64) {
    // Years start in March here, so that a leap day is the last one.
    let day = day + 730_425;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::Instant;

    #[test]
    fn instants_convert_to_canonical_or_database_text() {
        // PostgreSQL 15's text and binary values.
        let table = [
            (0, "2000-01-01T00:00:00.000000Z"),
            (846_504_000_250_000, "2026-10-28T12:00:00.250000Z"),
            (252_455_615_999_999_999, "9999-12-31T23:59:59.999999Z"),
            (252_455_616_000_000_000, "10000-01-01 00:00:00+00"),
            (-63_082_281_600_000_000, "0001-01-01T00:00:00.000000Z"),
            (-63_082_281_600_000_001, "0001-12-31 23:59:59.999999+00 BC"),
            (-64_487_620_800_000_000, "0045-06-20 12:00:00+00 BC"),
            (-211_813_488_000_000_000, "4714-11-24 00:00:00+00 BC"),
            (9_223_371_331_199_999_999, "294276-12-31 23:59:59.999999+00"),
            (i64::MAX, "infinity"),
            (i64::MIN, "-infinity"),
        ];
        for (micros, text) in table {
            assert_eq!(Instant { micros, zoned: true }.text(), text);
            let bare = text.replace("+00", "");
            assert_eq!(Instant { micros, zoned: false }.text(), bare);
        }
    }
}

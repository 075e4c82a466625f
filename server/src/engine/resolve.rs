//! Calls a host's resolver with column names and maps its result to column positions.
//!
//! The time of an edit is the server's time minus the age measured by the device, so the device's
//! clock does not matter.

use std::collections::BTreeMap;

use rejoin_protocol::wire::push::Operation;
use rejoin_protocol::{Value, time};

use crate::error::Fault;
use crate::model::resolver::{Contention, Resolution, Resolver};
use crate::model::{Row, Table};

/// A conflict with the column positions of the table.
pub(super) struct Case<'a> {
    pub(super) table: &'a Table,
    pub(super) id: &'a str,
    pub(super) user: &'a str,
    pub(super) operation: Operation,
    pub(super) row: &'a Row,
    pub(super) seen: &'a [(usize, Value)],
    pub(super) sent: &'a [(usize, Value)],
    pub(super) written_at: Option<i64>,
    pub(super) present_at: i64,
}

/// The resolver's result, with columns by position.
pub(super) enum Resolved {
    Conflict,
    Apply,
    Write(Vec<(usize, Value)>),
    Refuse(String),
}

impl Case<'_> {
    /// Calls the host's resolver. A column that it may not write is a host fault: the group stays
    /// undecided.
    pub(super) fn ask(&self, resolver: &dyn Resolver) -> Result<Resolved, Fault> {
        let columns = &self.table.columns;
        let resolution = resolver.resolve(&Contention {
            table: &self.table.name,
            id: self.id,
            user: self.user,
            operation: self.operation,
            present: columns.iter().map(|c| c.name.as_str()).zip(&self.row.cells).collect(),
            is_deleted: self.row.is_deleted(self.table),
            seen: self.named(self.seen),
            sent: self.named(self.sent),
            written_at: self.written_at,
            present_at: self.present_at,
        });
        Ok(match resolution {
            Resolution::Conflict => Resolved::Conflict,
            Resolution::Apply => Resolved::Apply,
            Resolution::Refuse(why) => Resolved::Refuse(why),
            Resolution::Write(cells) => {
                let placed = cells.into_iter().map(|(name, value)| Ok((self.place(&name)?, value)));
                Resolved::Write(placed.collect::<Result<_, Fault>>()?)
            }
        })
    }

    fn named<'c>(&'c self, cells: &'c [(usize, Value)]) -> BTreeMap<&'c str, &'c Value> {
        let named = cells.iter().filter_map(|(at, value)| {
            self.table.columns.get(*at).map(|column| (column.name.as_str(), value))
        });
        named.collect()
    }

    fn place(&self, name: &str) -> Result<usize, Fault> {
        let table = self.table;
        let free = |at: &usize| {
            let fixed = *at == table.key || table.parent_column() == Some(*at);
            !fixed && table.columns.get(*at).is_some_and(|c| !c.protected && !c.generated)
        };
        table.column(name).filter(free).ok_or_else(|| {
            Fault::Internal(format!("the resolver of {} writes {name:?}: it may not", table.name))
        })
    }
}

/// The time of an edit by the server's clock: now minus the reported age, but after the row version
/// the author read, and never in the future.
pub(super) fn written_at(now: i64, age_ms: i64, seen: Option<&str>) -> i64 {
    let ago = now.saturating_sub(age_ms.max(0).saturating_mul(1_000));
    let seen = seen.and_then(time::parse).map_or(i64::MIN, |seen| seen.saturating_add(1));
    ago.max(seen).min(now)
}

/// Whether an edit of this time overwrites a row of that time.
pub(super) fn is_later(written_at: i64, tolerance_ms: u32, present_at: i64) -> bool {
    written_at.saturating_add(i64::from(tolerance_ms) * 1_000) > present_at
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_225_600_000_000; // 2026-01-01T00:00:00Z

    #[test]
    fn edit_time_is_bounded_by_seen_version_and_now() {
        let seen = "2025-12-31T23:00:00.000000Z";
        let hour = 3_600_000_i64;
        let table = [
            ("just now", 0, None, NOW),
            ("a while ago", 1_000, None, NOW - 1_000_000),
            ("a while after what was seen", hour / 2, Some(seen), NOW - hour / 2 * 1_000),
            (
                "a clock that jumped by fifty years",
                56 * 365 * 24 * hour,
                Some(seen),
                NOW - hour * 1_000 + 1,
            ),
            ("a clock that was put back", -hour, None, NOW),
            ("an absurd age", i64::MAX, None, NOW.saturating_sub(i64::MAX)),
            ("an absurd negative age", i64::MIN, None, NOW),
            ("seen in the future", 0, Some("2100-01-01T00:00:00Z"), NOW),
            ("no version", hour, Some("yesterday"), NOW - hour * 1_000),
        ];
        for (name, age, seen, expected) in table {
            assert_eq!(written_at(NOW, age, seen), expected, "{name}");
        }
    }

    #[test]
    fn later_edit_wins_beyond_the_tolerance() {
        let table = [
            (0, 0, false),
            (1, 0, true),
            (-1, 0, false),
            (0, 1, true),
            (-999, 1, true),
            (-1_000, 1, false),
        ];
        for (after, tolerance, later) in table {
            assert_eq!(is_later(NOW + after, tolerance, NOW), later, "{after} {tolerance}");
        }
    }
}

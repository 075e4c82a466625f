//! Bounds of requests: what a hostile device may not make the server process.
//!
//! [`CheckBounds`] covers what no correct device sends: the request is refused whole (400). The
//! content of an entry comes from the app and may be too large by mistake, so [`check_offer`] makes
//! the server answer `denied` for that entry only, and its author parks it. Page limits are not
//! checked but capped by the server. `rejoin_protocol::limits` has the numbers.

use rejoin_protocol::Value;
use rejoin_protocol::lengths::TooLong;
use rejoin_protocol::limits::{LOG_EFFECTS, LOG_ENTRY, LOG_OFFERS, LOG_PAGE, NAME, ROW_ID};

use super::super::effect::{Effect, Effects};
use super::super::entry::{Intent, Offer};
use super::super::ids::Name;
use super::super::row::{Columns, RowName};
use super::rows::RowsRequest;
use super::snapshot::{SnapshotPlace, SnapshotRequest};
use super::{Correct, Fetch, Publish};

/// The highest number that every database stores as an integer.
const NUMBER: u64 = i64::MAX as u64;

/// The end of the year 9999: SQL has no later time.
const TIME: u64 = 253_402_300_799_999;

/// A request, or an entry, that exceeds a bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    /// A list is too long.
    #[error("{member} has {count} elements, and at most {most} are allowed: send fewer at once")]
    TooMany {
        /// The path of the member.
        member: &'static str,
        /// Its number of elements.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// A number is too high.
    #[error("{member} is {value}, and at most {most} is allowed: send a lower one")]
    TooHigh {
        /// The path of the member.
        member: &'static str,
        /// Its value.
        value: u64,
        /// The limit.
        most: u64,
    },
    /// A text, or an entry, has too many bytes.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// A name is empty or has a NUL character, or a key has one.
    #[error("{member} has an empty name, or a NUL character in a name or a key: send text")]
    NoName {
        /// The path of the member.
        member: &'static str,
    },
}

/// A request with bounds.
pub trait CheckBounds {
    /// The first bound that it exceeds.
    fn check_bounds(&self) -> Result<(), OutOfBounds>;
}

impl CheckBounds for Publish {
    fn check_bounds(&self) -> Result<(), OutOfBounds> {
        at_most("log.number", self.number, NUMBER)?;
        at_most_of("log.offers", self.offers.len(), LOG_OFFERS)
    }
}

impl CheckBounds for Fetch {
    /// A cursor that is too high is answered `resync`, and a limit is capped.
    fn check_bounds(&self) -> Result<(), OutOfBounds> {
        Ok(())
    }
}

impl CheckBounds for SnapshotRequest {
    fn check_bounds(&self) -> Result<(), OutOfBounds> {
        match self.after.as_ref().map(|after| &after.at) {
            Some(SnapshotPlace::Row(row)) => check_row("log.after.at.row", row),
            Some(SnapshotPlace::Cursor(_)) | None => Ok(()),
        }
    }
}

impl CheckBounds for RowsRequest {
    fn check_bounds(&self) -> Result<(), OutOfBounds> {
        at_most_of("log.rows", self.rows.len(), LOG_PAGE)?;
        self.rows.iter().try_for_each(|row| check_row("log.rows", row))
    }
}

impl CheckBounds for Correct {
    fn check_bounds(&self) -> Result<(), OutOfBounds> {
        at_most_of("log.corrections", self.corrections.len(), LOG_OFFERS)?;
        self.corrections.iter().try_for_each(|correction| check_content(None, &correction.effects))
    }
}

/// Checks the content of an entry, on the server before it is accepted and on a device before it
/// is written.
pub fn check_offer(offer: &Offer) -> Result<(), OutOfBounds> {
    at_most("time", offer.time, TIME)?;
    check_content(offer.intent.as_ref(), &offer.effects)
}

/// Checks the content of an entry that no device offers.
pub fn check_effects(effects: &Effects) -> Result<(), OutOfBounds> {
    check_content(None, effects)
}

fn check_content(intent: Option<&Intent>, effects: &Effects) -> Result<(), OutOfBounds> {
    at_most_of("effects", effects.iter().count(), LOG_EFFECTS)?;
    at_most_bytes("effects and intent", bytes_of(intent, effects), LOG_ENTRY)?;
    for (row, effect) in effects.iter() {
        check_row("effects", row)?;
        let names = columns(effect).into_iter().flat_map(Columns::keys);
        names.into_iter().try_for_each(|name| check_name("effects", name))?;
    }
    let Some(intent) = intent else { return Ok(()) };
    check_name("intent.action", &intent.action)?;
    intent.arguments.keys().try_for_each(|name| check_name("intent.arguments", name))
}

/// The bytes of an entry: of its names, keys and values.
pub fn bytes_of(intent: Option<&Intent>, effects: &Effects) -> usize {
    let of_effects = effects.iter().map(|(row, effect)| {
        let name = row.table.as_str().len() + row.id.as_str().len();
        name + columns(effect).map_or(0, bytes_of_columns)
    });
    let of_intent = intent
        .map_or(0, |intent| intent.action.as_str().len() + bytes_of_columns(&*intent.arguments));
    of_effects.sum::<usize>() + of_intent
}

fn columns(effect: &Effect) -> Option<&Columns> {
    match effect {
        Effect::Insert(image) => Some(image.columns()),
        Effect::Update(columns) => Some(columns),
        Effect::Delete => None,
    }
}

/// The bytes of names and values; a number counts as eight.
pub(crate) fn bytes_of_columns<'c>(
    columns: impl IntoIterator<Item = (&'c Name, &'c Value)>,
) -> usize {
    let bytes = |value: &Value| match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 8,
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
    };
    columns.into_iter().map(|(name, value)| name.as_str().len() + bytes(value)).sum()
}

fn check_row(member: &'static str, row: &RowName) -> Result<(), OutOfBounds> {
    check_name(member, &row.table)?;
    at_most_bytes(member, row.id.as_str().len(), ROW_ID)?;
    if row.id.as_str().contains('\0') { Err(OutOfBounds::NoName { member }) } else { Ok(()) }
}

fn check_name(member: &'static str, name: &Name) -> Result<(), OutOfBounds> {
    let text = name.as_str();
    at_most_bytes(member, text.len(), NAME)?;
    if text.is_empty() || text.contains('\0') {
        return Err(OutOfBounds::NoName { member });
    }
    Ok(())
}

fn at_most(member: &'static str, value: u64, most: u64) -> Result<(), OutOfBounds> {
    if value > most { Err(OutOfBounds::TooHigh { member, value, most }) } else { Ok(()) }
}

fn at_most_of(member: &'static str, count: usize, most: usize) -> Result<(), OutOfBounds> {
    if count > most { Err(OutOfBounds::TooMany { member, count, most }) } else { Ok(()) }
}

fn at_most_bytes(member: &'static str, length: usize, most: usize) -> Result<(), OutOfBounds> {
    if length > most { Err(TooLong { member, length, most }.into()) } else { Ok(()) }
}

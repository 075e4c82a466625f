//! How a story names things: `c1.3` is the fourth entry of the second device, `r0` a row, `{b=A v=x}` what stands in it.

use std::fmt::Write as _;

use rejoin_core::sync::log::effect::{Effect, Effects};
use rejoin_core::sync::log::entry::Intent;
use rejoin_core::sync::log::ids::{AuthorId, EntryId};
use rejoin_core::sync::log::key::Key;
use rejoin_core::sync::log::row::{Columns, RowName};
use rejoin_core::value::Value;
use uuid::Uuid;

/// The id of a device's `number`th database: the first it begins with, later ones after it was found to be a copy.
pub(super) fn author(device: usize, number: u64) -> AuthorId {
    AuthorId(Uuid::from_u64_pair(u64::MAX / 2 - device as u64, number))
}

/// The id of a device's `number`th entry.
pub(super) fn entry_id(device: usize, number: u64) -> EntryId {
    EntryId(Uuid::from_u64_pair(device as u64 + 1, number))
}

/// An entry, as `c1.3`.
pub(super) fn entry(id: EntryId) -> String {
    let (device, number) = id.0.as_u64_pair();
    format!("c{}.{number}", device.wrapping_sub(1))
}

/// A key without what the entry says already.
pub(super) fn key(key: &Key) -> String {
    format!("{}/{}", key.millis, key.counter)
}

/// A row's name.
pub(super) fn name(row: &RowName) -> String {
    match row.id.as_str() {
        id if id.len() > 12 => format!("note {}", &id[..6]),
        id => id.to_owned(),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => match Uuid::try_parse(text) {
            Ok(id) if text.len() == 36 => entry(EntryId(id)),
            _ => format!("{text:?}"),
        },
        other => format!("{other:?}"),
    }
}

/// The columns that say something.
pub(super) fn row(row: &Columns) -> String {
    let told = row.iter().map(|(name, content)| format!("{name}={}", value(content)));
    format!("{{{}}}", told.collect::<Vec<_>>().join(" "))
}

/// What an entry does.
pub(super) fn effects(effects: &Effects) -> String {
    if effects.is_empty() {
        return "nothing".to_owned();
    }
    let one = |(at, effect): (&RowName, &Effect)| match effect {
        Effect::Insert(image) => format!("insert {} {}", name(at), row(image.columns())),
        Effect::Update(columns) => format!("update {} {}", name(at), row(columns)),
        Effect::Delete => format!("delete {}", name(at)),
    };
    effects.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What was meant.
pub(super) fn intent(intent: &Intent) -> String {
    let mut text = intent.action.as_str().to_owned();
    for (parameter, argument) in intent.arguments.iter() {
        // Writing to a String cannot fail.
        let _ = write!(text, " {parameter}={}", value(argument));
    }
    text
}

//! What the stories about the session with a plain server share: its tables, and what a device has asked.

use rejoin_plain::{Column, Config, Table, Trigger};
use rejoin_tests::{Device, PlainBackend};

/// A server of notes and their parts, with every kind of value that could suffer on its way.
pub(crate) fn notes() -> PlainBackend {
    notes_with(Trigger::ClockTime)
}

/// The same, where the app's trigger does this to `updated_at`.
pub(crate) fn notes_with(trigger: Trigger) -> PlainBackend {
    let notes = Table::owned("notes", "user_id")
        .text_key()
        .column(Column::new("user_id", "text"))
        .column(Column::new("title", "text").default("''::text"))
        .column(Column::new("size", "bigint").nullable())
        .column(Column::new("price", "numeric(20,4)").nullable())
        .column(Column::new("due", "timestamp with time zone").nullable())
        .times()
        .trigger(trigger);
    let parts = Table::child("parts", "notes", "note_id")
        .text_key()
        .column(Column::new("note_id", "text"))
        .column(Column::new("body", "text").nullable())
        .times()
        .trigger(trigger);
    let mut config = Config::new(vec![notes, parts]);
    config.row_level_security = true;
    PlainBackend::with(config)
}

/// Paths of the requests that the device has sent, without `/sync/`, since this was asked last.
pub(crate) fn heard(device: &mut Device) -> String {
    let sent = std::mem::take(&mut device.sent);
    let words = sent.iter().map(|one| one.path.trim_start_matches("/sync/"));
    words.collect::<Vec<_>>().join(" ")
}

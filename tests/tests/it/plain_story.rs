//! Shared code of the tests with a plain server: its tables, and the requests of a device.

use rejoin_plain::{Column, Config, Table, Trigger};
use rejoin_tests::{Device, PlainBackend};
use serde_json::json;

/// A server of notes and their parts, with every type of value that a conversion could change.
pub(crate) fn notes() -> PlainBackend {
    let trigger = Trigger::ClockTime;
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

/// Paths of the requests that the device has sent since the last call, without `/sync/`.
pub(crate) fn take_paths(device: &mut Device) -> String {
    let sent = std::mem::take(&mut device.sent);
    let words = sent.iter().map(|one| one.path.trim_start_matches("/sync/"));
    words.collect::<Vec<_>>().join(" ")
}

/// A device synced with a server that has one note.
pub(crate) fn with_a_note(server: &PlainBackend) -> Device {
    server.insert("notes", &json!({"id": "n1", "user_id": "ana", "title": "first", "size": 0}));
    let mut device = Device::new("ana", 1);
    device.sync(server);
    take_paths(&mut device);
    device
}

/// A device of Ana's with this page size.
pub(crate) fn with_small_pages(size: u32) -> Device {
    Device::with("ana", 1, None, |config| config.page_size = size)
}

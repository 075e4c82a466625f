//! Pushes to a plain server through the whole session: values that come back unchanged, and
//! regressions from the simulation (`cargo xtask simulate --model plain`).

use rejoin_plain::Column;
use rejoin_tests::{Device, Fault};
use serde_json::json;

use crate::plain_story::{notes, with_a_note};
use rejoin_core::engine::rebase::decide;

#[test]
fn pushed_values_come_back_unchanged() {
    let server = notes();
    let mut device = with_a_note(&server);
    device.write(
        "INSERT INTO notes (id, title, size, price, due) VALUES \
         ('n2', 'mine', 9007199254740993, '12345678901.2345', '2026-02-01T08:00:00Z')",
    );
    device.write("UPDATE notes SET title = 'second' WHERE id = 'n1'");
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked, report.still_pending), (2, 0, 0));
    assert_eq!(
        server.see("notes", &["id", "title", "size", "price"]),
        "n1|second|0|- n2|mine|9007199254740993|12345678901.2345"
    );
    device.sync(&server);
    assert_eq!(
        device.see("SELECT id, title, size, price FROM notes ORDER BY id"),
        "n1|second|0|- n2|mine|9007199254740993|12345678901.2345"
    );
    device.write("DELETE FROM notes WHERE id = 'n1'");
    device.sync(&server);
    assert_eq!(server.see("notes", &["id"]), "n2");
}

#[test]
fn discarded_soft_delete_is_reversed_like_a_delete() {
    let server = notes();
    let mut device = with_a_note(&server);
    device.write("UPDATE notes SET deleted_at = '2026-01-01T00:00:00.000000Z' WHERE id = 'n1'");
    device.faults.push_back(Fault::AnswerLost);
    let _ = device.pass(&server);
    let id = device.queue()[0].id;
    decide::discard(device.engine(), id).unwrap();
    for _ in 0..3 {
        device.sync(&server);
    }
    assert_eq!(server.see("notes", &["id", "title"]), "n1|first");
    assert_eq!(device.see("SELECT id, title FROM notes WHERE deleted_at IS NULL"), "n1|first");
    assert!(device.queue().is_empty());
}

#[test]
fn reverse_never_restores_a_discarded_value() {
    let server = notes();
    let mut device = with_a_note(&server);
    device.write("UPDATE notes SET title = 'one' WHERE id = 'n1'");
    device.write("UPDATE notes SET title = 'two' WHERE id = 'n1'");
    let ids: Vec<_> = device.queue().iter().map(|one| one.id).collect();
    decide::discard(device.engine(), ids[0]).unwrap();
    device.faults.push_back(Fault::AnswerLost);
    let _ = device.pass(&server);
    decide::discard(device.engine(), ids[1]).unwrap();
    for _ in 0..3 {
        device.sync(&server);
    }
    assert_eq!(server.see("notes", &["title"]), "first");
    assert_eq!(device.see("SELECT title FROM notes"), "first");
}

#[test]
fn schema_change_during_staged_first_sync_is_handled() {
    let server = notes();
    let mut device = Device::with("ana", 1, None, |config| config.page_size = 1);
    server.insert("notes", &json!({"id": "n1", "user_id": "ana", "title": "first"}));
    device.step(&server).unwrap();
    device.step(&server).unwrap();
    // Accepted before the first page: from then on the pages are staged.
    device.write("INSERT INTO notes (id, title) VALUES ('n2', 'mine')");
    for _ in 0..3 {
        device.step(&server).unwrap();
    }
    server.server().alter(|tables| tables[0].add(Column::new("more", "text").nullable()));
    let report = device.sync(&server);
    assert!(report.first_sync_done);
    assert_eq!(device.see("SELECT id, more FROM notes ORDER BY id"), "n1|- n2|-");
}

/// A mutation that wrote the removed column is parked whole, whether or not it was sent; the others
/// continue.
#[test]
fn edit_of_removed_column_is_parked_and_blocks_nothing() {
    for is_sent in [false, true] {
        let server = notes();
        let mut device = with_a_note(&server);
        device.write("UPDATE notes SET title = 'mine', size = 5 WHERE id = 'n1'");
        if is_sent {
            device.faults.push_back(Fault::RequestLost);
            let _ = device.pass(&server);
        }
        device.write("INSERT INTO notes (id, title) VALUES ('n2', 'new')");
        server.server().alter(|tables| tables[0].drop_column("size"));
        for _ in 0..3 {
            device.sync(&server);
        }
        assert_eq!(device.waiting(), "Parked:Rejected/1", "sent: {is_sent}");
        assert_eq!(server.see("notes", &["id", "title"]), "n1|first n2|new");
        assert_eq!(device.see("SELECT id, title FROM notes ORDER BY id"), "n1|first n2|new");
        let id = device.queue()[0].id;
        decide::edit(device.engine(), id, |_| Ok(())).unwrap();
        device.sync(&server);
        assert_eq!(
            (device.waiting().as_str(), &*server.see("notes", &["title"])),
            ("", "mine new")
        );
    }
}

#[test]
fn row_deleted_before_the_first_page_does_not_come_back() {
    let server = notes();
    let mut device = with_a_note(&server);
    device.write("UPDATE notes SET title = 'second' WHERE id = 'n1'");
    server.server().alter(|tables| tables[0].add(Column::new("more", "text").nullable()));
    // The push, the schema, and the push again, which is accepted; the snapshot has begun, and has
    // no page.
    for _ in 0..3 {
        device.step(&server).unwrap();
    }
    assert_eq!(server.see("notes", &["title"]), "second");
    server.soft_delete("notes", "n1");
    for _ in 0..2 {
        device.sync(&server);
    }
    assert_eq!(device.see("SELECT id FROM notes"), "");
}

#[test]
fn edits_above_poison_record_overwrite_no_pulled_value() {
    let server = notes();
    let mut device = with_a_note(&server);
    server.server().poison_when(|_, _, data| data["title"] == "bad");
    device.limit_faults(3);
    device.write("UPDATE notes SET title = 'bad' WHERE id = 'n1'");
    device.faults.push_back(Fault::AnswerLost);
    let _ = device.pass(&server);
    device.write("UPDATE notes SET title = 'mine' WHERE id = 'n1'");
    server.update("notes", "n1", &json!({"title": "theirs"}));
    for _ in 0..3 {
        device.sync(&server);
    }
    assert_eq!(server.see("notes", &["title"]), "theirs");
    assert_eq!(device.see("SELECT title FROM notes"), "theirs");
    assert_eq!(device.queue().len(), 2, "both are parked with what they wrote");
}

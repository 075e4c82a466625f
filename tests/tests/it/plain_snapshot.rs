//! Snapshot of a plain server: kept positions, empty logs, long absences, and rows missing from the
//! log.

use rejoin_core::sync::session::Phase;
use rejoin_plain::Fault as Inside;
use rejoin_tests::{Device, Fault, PlainBackend};
use serde_json::json;

use crate::plain_story::{notes, take_paths, with_small_pages};

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

fn filled(rows: usize) -> PlainBackend {
    let server = notes();
    for number in 0..rows {
        let id = format!("n{number}");
        server.insert("notes", &json!({"id": id, "user_id": "ana", "title": "first"}));
    }
    server
}

/// Continues until a snapshot request has been answered.
fn one_page(device: &mut Device, server: &PlainBackend) {
    device.until(server, Phase::Snapshot).unwrap();
    device.step(server).unwrap();
}

#[test]
fn snapshot_keeps_the_position_of_the_first_page() {
    // After the second page's position nothing would name the row that was deleted before it was
    // read.
    let server = notes();
    let mut device = with_small_pages(2);
    for number in 0..5 {
        server.insert("notes", &json!({"id": format!("n{number}"), "user_id": "ana"}));
    }
    // The log is empty when the first page is read: its position is 0, and the next page has
    // another.
    server.server().compact_to(i64::MAX);
    one_page(&mut device, &server);
    server.update("notes", "n0", &json!({"title": "changed while it was paged"}));
    device.sync(&server);
    assert_eq!(device.see("SELECT title FROM notes WHERE id = 'n0'"), "changed while it was paged");
}

#[test]
fn pull_at_position_zero_is_followed_by_one_at_position_one() {
    let server = notes();
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    take_paths(&mut device);
    device.sync(&server);
    let asked: Vec<i64> = device
        .sent
        .iter()
        .map(|one| {
            let body: serde_json::Value =
                serde_json::from_slice(one.body.as_ref().unwrap()).unwrap();
            body["checkpoint"].as_i64().unwrap()
        })
        .collect();
    assert_eq!(asked, [0, 1]);
    assert_eq!(take_paths(&mut device), "pull pull");
    server.insert("notes", &json!({"id": "n1", "user_id": "ana"}));
    device.sync(&server);
    take_paths(&mut device);
    device.sync(&server);
    assert_eq!(take_paths(&mut device), "pull", "with a position of its own it asks once");
}

#[test]
fn snapshot_follows_after_six_days_without_a_pull() {
    let server = filled(2);
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    take_paths(&mut device);
    // A pull counts, even without changes.
    for _ in 0..2 {
        device.host.advance(DAY * 5);
        device.sync(&server);
        assert!(!take_paths(&mut device).contains("snapshot"));
    }
    server.insert("notes", &json!({"id": "n9", "user_id": "ana"}));
    // An emptied log does not show what it lost.
    server.server().compact_to(i64::MAX);
    device.host.advance(DAY * 7);
    device.sync(&server);
    assert_eq!(device.see("SELECT id FROM notes ORDER BY id"), "n0 n1 n9");
}

#[test]
fn rows_missing_on_server_are_removed_after_a_rebuild() {
    let server = filled(4);
    let mut device = with_small_pages(2);
    device.sync(&server);
    server.server().truncate("notes"); // The log has no entry for it.
    server.insert("notes", &json!({"id": "n3", "user_id": "ana", "title": "again"}));
    server.server().require_snapshot();
    device.sync(&server);
    device.sync(&server);
    assert_eq!(device.see("SELECT id, title FROM notes"), "n3|again");
}

#[test]
fn rebuild_shows_nothing_until_complete() {
    let server = filled(5);
    let mut device = with_small_pages(2);
    device.sync(&server);
    server.update("notes", "n0", &json!({"title": "second"}));
    server.server().require_snapshot();
    device.step(&server).unwrap();
    one_page(&mut device, &server);
    assert_eq!(device.see("SELECT DISTINCT title FROM notes"), "first");
    device.crash();
    device.sync(&server);
    assert_eq!(device.see("SELECT title FROM notes WHERE id = 'n0'"), "second");
}

#[test]
fn pages_are_staged_unless_the_base_is_empty() {
    // A pushed row may be deleted before the first page, and no page and no log entry would show
    // that. Here the row came from another server's first page.
    let server = filled(3);
    let mut device = with_small_pages(2);
    one_page(&mut device, &server);
    device.crash();
    let other = notes();
    other.insert("notes", &json!({"id": "n9", "user_id": "ana"}));
    other.server().forget_client("ana", &device.engine().meta("client_id").unwrap().unwrap());
    device.engine().set_meta("snapshot", None).unwrap();
    device.engine().set_meta("first_sync", None).unwrap();
    device.sync(&other);
    assert_eq!(device.see("SELECT id FROM notes"), "n9");
}

/// Found by a simulated run.
#[test]
fn created_row_that_a_snapshot_lacks_was_not_deleted() {
    let server = filled(1);
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    let id = "5b8b6a0e-0000-4000-8000-000000000001";
    device.write(&format!("INSERT INTO notes (id, title) VALUES ('{id}', 'mine')"));
    // Whether the server has the row is unknown when a snapshot without it is merged.
    device.host.advance(DAY * 7);
    take_paths(&mut device);
    device.until(&server, Phase::Pushing).unwrap();
    server.server().fail_next(Inside::FailsBeforeCommit);
    device.pass(&server).unwrap();
    assert!(take_paths(&mut device).contains("snapshot"));
    assert_eq!(device.queue().len(), 1);
    // Now the server gets it, and another writer changes it before the device learns that.
    device.until(&server, Phase::Pushing).unwrap();
    device.faults.push_back(Fault::AnswerLost);
    device.step(&server).unwrap_err();
    server.update("notes", id, &json!({"title": "theirs"}));
    device.sync(&server);
    device.sync(&server);
    assert_eq!(device.waiting(), "", "the row with this key can only be the device's own");
    assert_eq!(device.see(&format!("SELECT title FROM notes WHERE id = '{id}'")), "theirs");
}

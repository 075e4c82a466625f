//! Snapshot of a plain server: kept positions, empty logs, long absences, and rows that nobody names (P9).

use rejoin_core::sync::session::Phase;
use rejoin_tests::{Device, PlainBackend};
use serde_json::json;

use crate::plain_story::{heard, notes};

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

fn with_small_pages(size: u32) -> Device {
    Device::with("ana", 1, None, |config| config.page_size = size)
}

fn filled(rows: usize) -> PlainBackend {
    let server = notes();
    for number in 0..rows {
        let id = format!("n{number}");
        server.insert("notes", &json!({"id": id, "user_id": "ana", "title": "first"}));
    }
    server
}

/// Goes on until a request for the snapshot has been answered.
fn one_page(device: &mut Device, server: &PlainBackend) {
    device.until(server, Phase::Snapshot).unwrap();
    device.step(server).unwrap();
}

#[test]
fn a_first_sync_shows_its_rows_page_by_page() {
    let server = filled(5);
    let mut device = with_small_pages(2);
    one_page(&mut device, &server);
    assert_eq!(device.see("SELECT count(*) FROM notes"), "2");
    let report = device.sync(&server);
    assert_eq!(device.see("SELECT count(*) FROM notes"), "5");
    assert!(report.first_sync_done);
}

#[test]
fn the_position_is_that_of_the_first_page() {
    // Behind the second page's position nothing would tell of the row that was deleted before it was read.
    let server = notes();
    let mut device = with_small_pages(2);
    for number in 0..5 {
        server.insert("notes", &json!({"id": format!("n{number}"), "user_id": "ana"}));
    }
    // The log is empty when the first page is read: its position is 0, and the next page takes another.
    server.server().compact_to(i64::MAX);
    one_page(&mut device, &server);
    server.update("notes", "n0", &json!({"title": "changed while it was paged"}));
    device.sync(&server);
    assert_eq!(device.see("SELECT title FROM notes WHERE id = 'n0'"), "changed while it was paged");
}

#[test]
fn from_position_zero_a_log_that_was_compacted_is_noticed() {
    let server = notes();
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    // B12: written, compacted, written: at 0 the server does not say that anything is missing.
    server.insert("notes", &json!({"id": "n1", "user_id": "ana"}));
    server.server().compact_to(i64::MAX);
    server.insert("notes", &json!({"id": "n2", "user_id": "ana"}));
    server.insert("notes", &json!({"id": "n3", "user_id": "ana"}));
    device.sync(&server);
    assert_eq!(device.see("SELECT id FROM notes ORDER BY id"), "n1 n2 n3");
}

#[test]
fn at_position_zero_each_pull_is_followed_by_one_with_position_one() {
    let server = notes();
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    heard(&mut device);
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
    assert_eq!(heard(&mut device), "pull pull");
    server.insert("notes", &json!({"id": "n1", "user_id": "ana"}));
    device.sync(&server);
    heard(&mut device);
    device.sync(&server);
    assert_eq!(heard(&mut device), "pull", "with a position of its own it asks once");
}

#[test]
fn after_six_days_away_everything_is_fetched_anew() {
    let server = filled(2);
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    server.insert("notes", &json!({"id": "n9", "user_id": "ana"}));
    // An emptied log says nothing of what it lost.
    server.server().compact_to(i64::MAX);
    device.host.advance(DAY * 7);
    device.sync(&server);
    assert_eq!(device.see("SELECT id FROM notes ORDER BY id"), "n0 n1 n9");
}

#[test]
fn five_days_away_are_no_reason() {
    let server = filled(2);
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.host.advance(DAY * 5);
    heard(&mut device);
    device.sync(&server);
    assert!(!heard(&mut device).contains("snapshot"));
    // Polling counts, whether or not there was anything.
    device.host.advance(DAY * 5);
    device.sync(&server);
    assert!(!heard(&mut device).contains("snapshot"));
}

#[test]
fn a_snapshot_that_stood_still_for_a_week_begins_anew() {
    let server = filled(4);
    let mut device = with_small_pages(2);
    one_page(&mut device, &server);
    server.server().remove("notes", "n0").unwrap();
    server.server().compact_to(i64::MAX);
    device.crash();
    device.host.advance(DAY * 7);
    device.sync(&server);
    assert_eq!(device.see("SELECT id FROM notes ORDER BY id"), "n1 n2 n3");
}

#[test]
fn a_snapshot_is_required_at_any_moment_and_what_is_pending_is_kept() {
    for moment in 0..6 {
        let server = filled(5);
        let mut device = with_small_pages(2);
        device.sync(&server);
        device.write("UPDATE notes SET title = 'mine' WHERE id = 'n1'");
        for number in 5..8 {
            server.insert("notes", &json!({"id": format!("n{number}"), "user_id": "ana"}));
        }
        server.server().remove("notes", "n0").unwrap();
        for _ in 0..moment {
            let _ = device.step(&server);
        }
        server.server().require_snapshot();
        device.sync(&server);
        device.sync(&server);
        assert_eq!(
            device.see("SELECT id FROM notes ORDER BY id"),
            "n1 n2 n3 n4 n5 n6 n7",
            "moment {moment}"
        );
        assert_eq!(
            device.see("SELECT title FROM notes WHERE id = 'n1'"),
            "mine",
            "moment {moment}"
        );
        assert!(!device.waiting().contains("Parked"), "moment {moment}: {}", device.waiting());
    }
}

#[test]
fn rows_that_the_server_lacks_go_at_the_end_of_a_rebuild() {
    let server = filled(4);
    let mut device = with_small_pages(2);
    device.sync(&server);
    server.server().truncate("notes"); // The log hears nothing of it.
    server.insert("notes", &json!({"id": "n3", "user_id": "ana", "title": "again"}));
    server.server().require_snapshot();
    device.sync(&server);
    device.sync(&server);
    assert_eq!(device.see("SELECT id, title FROM notes"), "n3|again");
}

#[test]
fn a_rebuild_shows_nothing_before_it_is_whole() {
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
fn rows_that_change_while_they_are_paged_come_with_the_pull_behind() {
    for straight in [true, false] {
        let server = filled(6);
        let mut device = with_small_pages(2);
        if !straight {
            device.sync(&server);
            server.server().require_snapshot();
            device.step(&server).unwrap();
        }
        one_page(&mut device, &server);
        server.update("notes", "n0", &json!({"title": "second"}));
        server.server().remove("notes", "n1").unwrap();
        server.insert("notes", &json!({"id": "n00", "user_id": "ana", "title": "between"}));
        device.sync(&server);
        assert_eq!(
            device.see("SELECT id, title FROM notes ORDER BY id"),
            "n0|second n00|between n2|first n3|first n4|first n5|first",
            "straight {straight}"
        );
    }
}

#[test]
fn a_process_that_dies_between_any_two_steps_of_a_first_sync_loses_nothing() {
    for deaths in 4..9 {
        let server = filled(7);
        let mut device = with_small_pages(2);
        for step in 0.. {
            assert!(step < 200, "it ends");
            match device.step(&server) {
                Ok(rejoin_tests::Moment::Finished(_)) => break,
                _ if step % deaths == 0 => drop(device.crash()),
                _ => {}
            }
        }
        assert_eq!(device.see("SELECT count(*) FROM notes"), "7", "deaths {deaths}");
    }
}

#[test]
fn straight_only_while_the_base_is_empty() {
    // What was pushed before the first page may be deleted before it: no page and no log would say so. Here the row came
    // from another server's first page.
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

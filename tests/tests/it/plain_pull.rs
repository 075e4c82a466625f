//! Pull from a plain server: rows as they are now, deletes as they once were (P6).

use rejoin_core::sync::session::Phase;
use rejoin_plain::Trigger;
use rejoin_tests::Device;
use serde_json::json;

use crate::plain_story::{heard, notes, notes_with};

fn with_small_pages(size: u32) -> Device {
    Device::with("ana", 1, None, |config| config.page_size = size)
}

#[test]
fn what_others_write_comes_with_the_next_pull() {
    let server = notes();
    let mut device = Device::new("ana", 1);
    server.insert("notes", &json!({"id": "n1", "user_id": "ana", "title": "first"}));
    device.sync(&server);
    assert_eq!(device.see("SELECT id, title FROM notes"), "n1|first");
    server.update("notes", "n1", &json!({"title": "second"}));
    server.insert("notes", &json!({"id": "n2", "user_id": "ana", "title": "new"}));
    server.insert("notes", &json!({"id": "n3", "user_id": "bob", "title": "of bob"}));
    let report = device.sync(&server);
    assert_eq!(device.see("SELECT id, title FROM notes ORDER BY id"), "n1|second n2|new");
    assert_eq!((report.pulled, report.first_sync_done), (2, true));
    server.remove("notes", "n2");
    device.sync(&server);
    assert_eq!(device.see("SELECT id FROM notes"), "n1");
    assert_eq!(device.sync(&server).pulled, 0, "nothing is new");
}

#[test]
fn a_row_whose_time_did_not_move_is_taken_as_it_is_now() {
    let server = notes_with(Trigger::LeftAlone);
    let mut device = Device::new("ana", 1);
    server.insert("notes", &json!({"id": "n1", "user_id": "ana", "title": "first"}));
    device.sync(&server);
    let before = device.see("SELECT updated_at FROM notes");
    server.update("notes", "n1", &json!({"title": "second"}));
    device.sync(&server);
    assert_eq!(device.see("SELECT title FROM notes"), "second");
    assert_eq!(device.see("SELECT updated_at FROM notes"), before, "the app has no trigger");
}

#[test]
fn a_stale_delete_changes_the_base_and_judges_nothing() {
    // B8: the log says deleted, and behind the page it says created again.
    let server = notes();
    server.insert("notes", &json!({"id": "n1", "user_id": "ana", "title": "first"}));
    let mut device = with_small_pages(1);
    device.sync(&server);
    server.remove("notes", "n1");
    server.insert("notes", &json!({"id": "n0", "user_id": "ana"}));
    server.insert("notes", &json!({"id": "n1", "user_id": "ana", "title": "first"}));
    device.until(&server, Phase::Pulling).unwrap();
    device.write("UPDATE notes SET size = 7 WHERE id = 'n1'");
    device.step(&server).unwrap();
    assert_eq!(device.see("SELECT id FROM notes"), "", "the page with the delete is applied");
    assert_eq!(device.waiting(), "Pending/1", "and nothing is judged by it");
    device.until(&server, Phase::Pulling).unwrap();
    device.step(&server).unwrap();
    device.until(&server, Phase::Pulling).unwrap();
    device.step(&server).unwrap();
    assert_eq!(device.see("SELECT id, size FROM notes ORDER BY id"), "n0|- n1|7");
    assert!(!device.waiting().contains("Parked"), "{}", device.waiting());
}

#[test]
fn a_row_that_is_softly_deleted_goes_and_one_that_comes_back_comes_back() {
    let server = notes();
    server.insert("notes", &json!({"id": "n1", "user_id": "ana", "title": "first"}));
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    server.update("notes", "n1", &json!({"deleted_at": "2026-01-02T00:00:00Z"}));
    device.sync(&server);
    assert_eq!(device.see("SELECT id FROM notes"), "");
    server.update("notes", "n1", &json!({"deleted_at": null}));
    device.sync(&server);
    assert_eq!(device.see("SELECT id, title FROM notes"), "n1|first");
}

#[test]
fn numbers_and_times_are_kept_as_they_came() {
    let server = notes();
    server.insert(
        "notes",
        &json!({
            "id": "n1", "user_id": "ana", "size": 9_007_199_254_740_993_i64, "price": "12.5000",
            "due": "2026-11-20T06:41:50.896045Z",
        }),
    );
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    assert_eq!(
        device.see("SELECT size, price, due FROM notes"),
        "9007199254740993|12.5000|2026-11-20T06:41:50.896045+00:00"
    );
}

#[test]
fn both_forms_of_one_time_are_the_same_value() {
    // The row has its `due` in the server's form; the user wrote it in ours, and another column was changed on the side.
    let server = notes();
    server.insert("notes", &json!({"id": "n1", "user_id": "ana", "due": "2026-11-20T06:00:00Z"}));
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.until(&server, Phase::Pulling).unwrap();
    device.write("UPDATE notes SET due = '2026-11-21T06:00:00.000000Z' WHERE id = 'n1'");
    server.update("notes", "n1", &json!({"due": "2026-11-21T06:00:00Z", "title": "on the side"}));
    device.step(&server).unwrap();
    assert_eq!(device.waiting(), "Pending/1", "both meant the same instant");
    assert_eq!(device.see("SELECT title FROM notes"), "on the side");
}

#[test]
fn a_pull_that_was_lost_is_asked_again_and_changes_nothing_twice() {
    for fault in rejoin_tests::Fault::ALL {
        let server = notes();
        let mut device = with_small_pages(2);
        device.sync(&server);
        for number in 0..5 {
            let id = format!("n{number}");
            server.insert("notes", &json!({"id": id, "user_id": "ana"}));
        }
        device.until(&server, Phase::Pulling).unwrap();
        device.faults.push_back(fault);
        device.sync(&server);
        assert_eq!(device.see("SELECT count(*) FROM notes"), "5", "{fault:?}");
    }
}

#[test]
fn a_server_that_has_lost_what_it_told_is_asked_for_everything() {
    let server = notes();
    for number in 0..3 {
        server.insert("notes", &json!({"id": format!("n{number}"), "user_id": "ana"}));
    }
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.until(&server, Phase::Pulling).unwrap();
    device.write("INSERT INTO notes (id, user_id, title) VALUES ('mine', 'ana', 'waits')");
    // A backup of the evening before: the log is shorter, and one of the rows was never there.
    let restored = notes();
    restored.insert("notes", &json!({"id": "n0", "user_id": "ana", "title": "as of yesterday"}));
    device.crash();
    heard(&mut device);
    device.sync(&restored);
    assert_eq!(
        device.see("SELECT id, title FROM notes ORDER BY id"),
        "mine|waits n0|as of yesterday"
    );
    assert!(heard(&mut device).contains("snapshot"));
}

#[test]
fn a_position_that_goes_back_asks_for_everything() {
    let server = notes();
    server.insert("notes", &json!({"id": "n1", "user_id": "ana"}));
    server.insert("notes", &json!({"id": "n2", "user_id": "ana"}));
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.until(&server, Phase::Pulling).unwrap();
    heard(&mut device);
    let back = |response: rejoin_core::sync::session::Response| {
        let mut json: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        json["checkpoint"] = json!(1);
        rejoin_core::sync::session::Response { body: json.to_string().into(), ..response }
    };
    device.step_with(&server, back).unwrap();
    device.sync(&server);
    assert!(heard(&mut device).contains("snapshot"));
    assert_eq!(device.see("SELECT id FROM notes ORDER BY id"), "n1 n2");
}

#[test]
fn buckets_that_come_and_go_bring_everything_anew() {
    let server = notes();
    server.insert("notes", &json!({"id": "n1", "user_id": "ana"}));
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    heard(&mut device);
    device.sync(&server);
    assert_eq!(heard(&mut device), "pull", "the first answer only told which there are");
    let client = device.engine().meta("client_id").unwrap().unwrap();
    server.server().client("ana", &client).unwrap().buckets.push("team:1".to_owned());
    device.sync(&server);
    assert!(heard(&mut device).contains("snapshot"));
    device.sync(&server);
    assert_eq!(heard(&mut device), "pull", "once");
}

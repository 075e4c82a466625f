//! Pull from a plain server: `changes` are current rows, `deletes` are history.

use rejoin_core::sync::session::Phase;
use rejoin_tests::Device;
use serde_json::json;

use crate::plain_story::{notes, take_paths, with_a_note, with_small_pages};

#[test]
fn stale_delete_changes_the_base_and_detects_no_conflict() {
    // The log has a delete, and after the page a create.
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
    assert_eq!(device.waiting(), "Pending/1", "and no conflict is detected");
    device.until(&server, Phase::Pulling).unwrap();
    device.step(&server).unwrap();
    device.until(&server, Phase::Pulling).unwrap();
    device.step(&server).unwrap();
    assert_eq!(device.see("SELECT id, size FROM notes ORDER BY id"), "n0|- n1|7");
    assert!(!device.waiting().contains("Parked"), "{}", device.waiting());
}

#[test]
fn server_restored_from_backup_causes_a_snapshot() {
    let server = notes();
    for number in 0..3 {
        server.insert("notes", &json!({"id": format!("n{number}"), "user_id": "ana"}));
    }
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.until(&server, Phase::Pulling).unwrap();
    device.write("INSERT INTO notes (id, user_id, title) VALUES ('mine', 'ana', 'waits')");
    // A backup of the previous day: the log is shorter, and one of the rows never existed.
    let restored = notes();
    restored.insert("notes", &json!({"id": "n0", "user_id": "ana", "title": "as of yesterday"}));
    device.crash();
    take_paths(&mut device);
    device.sync(&restored);
    assert_eq!(
        device.see("SELECT id, title FROM notes ORDER BY id"),
        "mine|waits n0|as of yesterday"
    );
    assert!(take_paths(&mut device).contains("snapshot"));
}

#[test]
fn decreasing_position_causes_a_snapshot() {
    let server = notes();
    server.insert("notes", &json!({"id": "n1", "user_id": "ana"}));
    server.insert("notes", &json!({"id": "n2", "user_id": "ana"}));
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.until(&server, Phase::Pulling).unwrap();
    take_paths(&mut device);
    let back = |response: rejoin_core::sync::session::Response| {
        let mut json: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        json["checkpoint"] = json!(1);
        rejoin_core::sync::session::Response { body: json.to_string().into(), ..response }
    };
    device.step_with(&server, back).unwrap();
    device.sync(&server);
    assert!(take_paths(&mut device).contains("snapshot"));
    assert_eq!(device.see("SELECT id FROM notes ORDER BY id"), "n1 n2");
}

#[test]
fn bucket_changes_cause_a_snapshot() {
    let server = notes();
    let mut device = with_a_note(&server);
    device.sync(&server);
    assert_eq!(take_paths(&mut device), "pull", "the first response only names the buckets");
    let client = device.engine().meta("client_id").unwrap().unwrap();
    server.server().client("ana", &client).unwrap().buckets.push("team:1".to_owned());
    device.sync(&server);
    assert!(take_paths(&mut device).contains("snapshot"));
    device.sync(&server);
    assert_eq!(take_paths(&mut device), "pull", "once");
}

//! Write skew: two actions that each write what the other has read. The server compares rows that
//! were read by key; other reads are covered by the server's own checks.

use std::sync::Arc;

use rejoin_core::Actions;
use rejoin_core::engine::action::perform;
use rejoin_core::engine::queue::mutation::ParkReason;
use rejoin_core::engine::rebase::decide;
use rejoin_protocol::argument::{Parameter, ParameterType};
use rejoin_server::ActionConfig;
use rejoin_tests::{Backend, Device, Store};

use crate::{apply, each_store};
use serde_json::json;

/// A doctor leaves if a colleague stays.
const LEAVE: &str = r#"{"name": "leave",
    "parameters": [{"name": "who", "type": "text"}, {"name": "other", "type": "text"}],
    "preconditions": [{"sql": "SELECT on_call FROM shifts WHERE id = :other", "message": "one doctor must stay"}],
    "statements": ["UPDATE shifts SET on_call = 0 WHERE id = :who"]}"#;

/// The same by a count, which is no read of a row by its key.
const LEAVE_BY_COUNT: &str = r#"{"name": "leave", "parameters": [{"name": "who", "type": "text"}],
    "preconditions": [{"sql": "SELECT count(*) > 1 FROM shifts WHERE on_call > 0", "message": "one doctor must stay"}],
    "statements": ["UPDATE shifts SET on_call = 0 WHERE id = :who"]}"#;

/// A shift on a day without a holiday, and a holiday on a day without a shift.
const OPEN: &str = r#"{"name": "open", "parameters": [{"name": "day", "type": "text"}],
    "preconditions": [{"sql": "SELECT count(*) = 0 FROM holidays WHERE id = :day", "message": "it is a holiday"}],
    "statements": ["INSERT INTO shifts (id, on_call) VALUES (:day, 1)"]}"#;
const CLOSE: &str = r#"{"name": "close", "parameters": [{"name": "day", "type": "text"}],
    "preconditions": [{"sql": "SELECT count(*) = 0 FROM shifts WHERE id = :day", "message": "the day has a shift"}],
    "statements": ["INSERT INTO holidays (id) VALUES (:day)"]}"#;

const ON_CALL: &str = "SELECT group_concat(id, ' ') FROM (SELECT id FROM shifts WHERE on_call > 0 ORDER BY id) AS them";

/// A server on which two doctors are on call.
fn clinic(store: Store) -> Backend {
    let mut server = Backend::on(store);
    let shifts = "CREATE TABLE shifts (id TEXT PRIMARY KEY, on_call INTEGER, user_id TEXT NOT NULL,
        created_at TEXT, updated_at TEXT, deleted_at TEXT);
        INSERT INTO shifts (id, on_call, user_id) VALUES ('ann', 1, 'ana'), ('bob', 1, 'ana')";
    let holidays = "CREATE TABLE holidays (id TEXT PRIMARY KEY, user_id TEXT NOT NULL,
        created_at TEXT, updated_at TEXT, deleted_at TEXT)";
    server.add_table(shifts, "shifts");
    server.add_table(holidays, "holidays");
    server
}

/// A synced device of the clinic with these actions.
fn device(server: &Backend, seed: u64, actions: &[&str]) -> Device {
    let mut device = Device::new("ana", seed);
    device.sync(server);
    let actions = actions.iter().fold(Actions::new(), |all, one| all.declare(one));
    perform::set_actions(device.engine(), Arc::new(actions), true).unwrap();
    device
}

fn leave(device: &mut Device, who: &str, other: &str) {
    perform::perform(device.engine(), "leave", &json!({"who": who, "other": other})).unwrap();
}

/// Ann and Bob leave, each on an offline device, each because the other stays.
#[apply(each_store)]
fn only_one_of_two_skewed_actions_is_accepted(store: Store) {
    let server = clinic(store);
    let [mut one, mut two] = [1, 2].map(|seed| device(&server, seed, &[LEAVE]));
    leave(&mut one, "ann", "bob");
    leave(&mut two, "bob", "ann");
    one.sync(&server);
    two.sync(&server);
    assert_eq!(server.see(ON_CALL), "bob");
    let parked = two.queue();
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].reason, Some(ParkReason::Unreplayable));
    assert!(parked[0].detail.as_ref().unwrap().contains("one doctor must stay"));
    assert_eq!(two.see(ON_CALL), "bob", "her device shows that Bob must stay");
}

/// One device adds a shift on a day, the other a holiday: each read that the other row was missing.
#[apply(each_store)]
fn absent_row_read_by_key_is_compared(store: Store) {
    let server = clinic(store);
    let [mut one, mut two] = [1, 2].map(|seed| device(&server, seed, &[OPEN, CLOSE]));
    perform::perform(one.engine(), "open", &json!({"day": "monday"})).unwrap();
    perform::perform(two.engine(), "close", &json!({"day": "monday"})).unwrap();
    perform::perform(two.engine(), "close", &json!({"day": "tuesday"})).unwrap();
    one.sync(&server);
    two.sync(&server);
    two.sync(&server);
    let days = "SELECT (SELECT count(*) FROM shifts WHERE id = 'monday'), group_concat(id, ' ') FROM holidays";
    assert_eq!(server.see(days), "1|tuesday");
}

#[apply(each_store)]
fn irrelevant_change_of_a_read_row_causes_a_new_attempt(store: Store) {
    let server = clinic(store);
    let mut one = device(&server, 1, &[LEAVE]);
    leave(&mut one, "ann", "bob");
    server.outside("UPDATE shifts SET on_call = 2 WHERE id = 'bob'");
    one.sync(&server);
    one.sync(&server);
    assert_eq!((server.see(ON_CALL), one.waiting()), ("bob".to_owned(), String::new()));
    assert_eq!(one.raw("SELECT attempt FROM rejoin_history"), "2");
}

#[apply(each_store)]
fn read_of_a_pending_write_matches_the_accepted_value(store: Store) {
    let server = clinic(store);
    let mut one = device(&server, 1, &[LEAVE]);
    one.write("UPDATE shifts SET on_call = 3 WHERE id = 'bob'");
    leave(&mut one, "ann", "bob");
    one.sync(&server);
    assert_eq!(
        (server.see("SELECT on_call FROM shifts ORDER BY id"), one.waiting()),
        ("0 3".to_owned(), String::new())
    );
}

/// The server's own count: one doctor must stay.
fn one_stays() -> ActionConfig {
    ActionConfig::new("leave").with_parameter(Parameter::new("who", ParameterType::Text)).with_check(
        "SELECT count(*) > 0 FROM shifts WHERE on_call > 0 AND deleted_at IS NULL AND id <> :who",
        "the ward would be empty",
    )
}

/// Both leave because more than one is on call.
#[apply(each_store)]
fn counted_rows_are_checked_by_the_server(store: Store) {
    let mut server = clinic(store);
    server.asks_before(one_stays());
    let [mut one, mut two] = [1, 2].map(|seed| device(&server, seed, &[LEAVE_BY_COUNT]));
    perform::perform(one.engine(), "leave", &json!({"who": "ann"})).unwrap();
    perform::perform(two.engine(), "leave", &json!({"who": "bob"})).unwrap();
    one.sync(&server);
    two.sync(&server);
    assert_eq!(server.see(ON_CALL), "bob");
    let parked = two.queue();
    assert_eq!(parked[0].reason, Some(ParkReason::Rejected));
    assert!(parked[0].detail.as_ref().unwrap().contains("the ward would be empty"));
    // When Ann is back, Bob can go.
    server.outside("UPDATE shifts SET on_call = 1 WHERE id = 'ann'");
    two.sync(&server);
    decide::retry(two.engine(), parked[0].id).unwrap();
    two.sync(&server);
    assert_eq!((server.see(ON_CALL), two.waiting()), ("ann".to_owned(), String::new()));
}

#[apply(each_store)]
fn server_without_checks_receives_no_action(store: Store) {
    for asks in [false, true] {
        let mut server = clinic(store);
        if asks {
            server.asks_before(one_stays());
        }
        let mut one = device(&server, 1, &[LEAVE_BY_COUNT]);
        perform::perform(one.engine(), "leave", &json!({"who": "ann"})).unwrap();
        one.sync(&server);
        let pushed = one.sent.iter().filter(|request| request.path == "/sync/push");
        let is_sent = pushed.filter_map(|request| request.body.as_ref()).any(|body| {
            String::from_utf8_lossy(body)
                .contains(r#""action":{"name":"leave","version":1,"arguments":{"who":"ann"}}"#)
        });
        assert_eq!(is_sent, asks);
    }
}

//! Write skew: two actions that each write what the other has read (O8). Rows that were read by key are compared on the server;
//! what was read otherwise is the server's own to ask.

use std::sync::Arc;

use rejoin_core::Actions;
use rejoin_core::engine::queue::mutation::ParkReason;
use rejoin_protocol::argument::{Parameter, ParameterType};
use rejoin_server::ActionConfig;
use rejoin_tests::{Backend, Device, Store};

use crate::{apply, each_store};
use serde_json::json;

/// Somebody leaves, if a colleague stays.
const LEAVE: &str = r#"{"name": "leave",
    "parameters": [{"name": "who", "type": "text"}, {"name": "other", "type": "text"}],
    "preconditions": [{"sql": "SELECT on_call FROM shifts WHERE id = :other", "message": "somebody must stay"}],
    "statements": ["UPDATE shifts SET on_call = 0 WHERE id = :who"]}"#;

/// The same by a count, which is no read of a row by its key.
const LEAVE_BY_COUNT: &str = r#"{"name": "leave", "parameters": [{"name": "who", "type": "text"}],
    "preconditions": [{"sql": "SELECT count(*) > 1 FROM shifts WHERE on_call > 0", "message": "somebody must stay"}],
    "statements": ["UPDATE shifts SET on_call = 0 WHERE id = :who"]}"#;

/// A shift on a day that is no holiday, and a holiday on a day without a shift.
const OPEN: &str = r#"{"name": "open", "parameters": [{"name": "day", "type": "text"}],
    "preconditions": [{"sql": "SELECT count(*) = 0 FROM holidays WHERE id = :day", "message": "it is a holiday"}],
    "statements": ["INSERT INTO shifts (id, on_call) VALUES (:day, 1)"]}"#;
const CLOSE: &str = r#"{"name": "close", "parameters": [{"name": "day", "type": "text"}],
    "preconditions": [{"sql": "SELECT count(*) = 0 FROM shifts WHERE id = :day", "message": "somebody works"}],
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

/// A device of the clinic, in step, that can do this.
fn device(server: &Backend, seed: u64, actions: &[&str]) -> Device {
    let mut device = Device::new("ana", seed);
    device.sync(server);
    let actions = actions.iter().fold(Actions::new(), |all, one| all.declare(one));
    device.engine().set_actions(Arc::new(actions), true).unwrap();
    device
}

fn leave(device: &mut Device, who: &str, other: &str) {
    device.engine().perform("leave", &json!({"who": who, "other": other})).unwrap();
}

/// Ann and Bob leave, each on a device of their own that has no network, each because the other stays.
#[apply(each_store)]
fn of_two_that_leave_because_the_other_stays_one_stays(store: Store) {
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
    assert!(parked[0].detail.as_ref().unwrap().contains("somebody must stay"));
    assert_eq!(two.see(ON_CALL), "bob", "she sees that he must stay");
}

/// One opens a day, the other makes it a holiday: each saw that there was nothing of the other kind.
#[apply(each_store)]
fn a_row_that_was_not_there_is_compared_as_well(store: Store) {
    let server = clinic(store);
    let [mut one, mut two] = [1, 2].map(|seed| device(&server, seed, &[OPEN, CLOSE]));
    one.engine().perform("open", &json!({"day": "monday"})).unwrap();
    two.engine().perform("close", &json!({"day": "monday"})).unwrap();
    two.engine().perform("close", &json!({"day": "tuesday"})).unwrap();
    one.sync(&server);
    two.sync(&server);
    two.sync(&server);
    let days = "SELECT (SELECT count(*) FROM shifts WHERE id = 'monday'), group_concat(id, ' ') FROM holidays";
    assert_eq!(server.see(days), "1|tuesday");
}

#[apply(each_store)]
fn what_has_changed_and_does_not_matter_makes_it_another_attempt(store: Store) {
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
fn what_an_action_reads_of_earlier_work_that_waits_is_what_the_server_has_by_then(store: Store) {
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

/// Somebody must stay, by the server's own count.
fn stays() -> ActionConfig {
    ActionConfig::new("leave").with_parameter(Parameter::new("who", ParameterType::Text)).with_check(
        "SELECT count(*) > 0 FROM shifts WHERE on_call > 0 AND deleted_at IS NULL AND id <> :who",
        "the ward would be empty",
    )
}

/// Both leave because more than one is on call.
#[apply(each_store)]
fn what_was_counted_is_asked_by_the_server_itself(store: Store) {
    let mut server = clinic(store);
    server.asks_before(stays());
    let [mut one, mut two] = [1, 2].map(|seed| device(&server, seed, &[LEAVE_BY_COUNT]));
    one.engine().perform("leave", &json!({"who": "ann"})).unwrap();
    two.engine().perform("leave", &json!({"who": "bob"})).unwrap();
    one.sync(&server);
    two.sync(&server);
    assert_eq!(server.see(ON_CALL), "bob");
    let parked = two.queue();
    assert_eq!(parked[0].reason, Some(ParkReason::Rejected));
    assert!(parked[0].detail.as_ref().unwrap().contains("the ward would be empty"));
    // When Ann is back, Bob can go.
    server.outside("UPDATE shifts SET on_call = 1 WHERE id = 'ann'");
    two.sync(&server);
    two.engine().retry(parked[0].id).unwrap();
    two.sync(&server);
    assert_eq!((server.see(ON_CALL), two.waiting()), ("ann".to_owned(), String::new()));
}

#[apply(each_store)]
fn a_server_that_asks_nothing_is_not_told_what_was_performed(store: Store) {
    for asks in [false, true] {
        let mut server = clinic(store);
        if asks {
            server.asks_before(stays());
        }
        let mut one = device(&server, 1, &[LEAVE_BY_COUNT]);
        one.engine().perform("leave", &json!({"who": "ann"})).unwrap();
        one.sync(&server);
        let pushed = one.sent.iter().filter(|request| request.path == "/sync/push");
        let told = pushed.filter_map(|request| request.body.as_ref()).any(|body| {
            String::from_utf8_lossy(body)
                .contains(r#""action":{"name":"leave","version":1,"arguments":{"who":"ann"}}"#)
        });
        assert_eq!(told, asks);
    }
}

//! Push to the scripted plain server, through the whole session: what the unit stories tell with a smaller one.

use rejoin_core::engine::queue::mutation::{ParkReason, State};
use rejoin_plain::{Fault as Inside, Trigger};
use rejoin_tests::{Device, Fault, PlainBackend};
use serde_json::json;

use crate::plain_story::{heard, notes, notes_with};

/// A device that has everything, and a server that has one note.
fn with_a_note(server: &PlainBackend) -> Device {
    server.insert("notes", &json!({"id": "n1", "user_id": "ana", "title": "first", "size": 0}));
    let mut device = Device::new("ana", 1);
    device.sync(server);
    heard(&mut device);
    device
}

#[test]
fn what_is_written_here_is_there_after_a_pass_and_comes_back_unchanged() {
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
fn an_answer_that_is_lost_at_any_request_loses_nothing_and_doubles_nothing() {
    for fault in [Fault::AnswerLost, Fault::FailedAfterwards, Fault::RequestLost, Fault::CutBody] {
        let server = notes();
        let mut device = with_a_note(&server);
        device.write("UPDATE notes SET title = 'second' WHERE id = 'n1'");
        device.write("INSERT INTO notes (id, title) VALUES ('n2', 'mine')");
        device.faults.push_back(fault);
        let _ = device.pass(&server);
        device.write("DELETE FROM notes WHERE id = 'n2'");
        device.crash();
        let report = device.sync(&server);
        assert_eq!((report.parked, report.still_pending), (0, 0), "{fault:?}");
        assert_eq!(server.see("notes", &["id", "title"]), "n1|second", "{fault:?}");
        assert_eq!(device.see("SELECT id, title FROM notes"), "n1|second", "{fault:?}");
    }
}

#[test]
fn one_poison_record_among_a_hundred_costs_twenty_requests_and_itself() {
    for bad in [0, 37, 99] {
        let server = notes();
        let mut device = with_a_note(&server);
        for number in 0..100 {
            device.write(&format!("INSERT INTO notes (id, title) VALUES ('m{number:03}', 'x')"));
        }
        server.server().poison("notes", &format!("m{bad:03}"));
        let report = device.sync(&server);
        let requests = heard(&mut device);
        // The last one is the pull that ends every pass.
        let spent = requests.split(' ').count() - 1;
        assert!(spent <= 20, "{spent} requests for the one at {bad}: {requests}");
        assert_eq!((report.accepted, report.parked, report.still_pending), (99, 1, 0));
        assert_eq!(server.server().live("notes").len(), 100);
        let parked = device.queue().remove(0);
        assert_eq!((parked.state, parked.reason), (State::Parked, Some(ParkReason::Rejected)));
        assert_eq!(parked.effect.rows[0].row.key, format!("m{bad:03}").into());
    }
}

#[test]
fn a_500_after_the_commit_and_a_server_that_is_down_park_nothing() {
    let server = notes();
    let mut device = with_a_note(&server);
    device.write("INSERT INTO notes (id, title) VALUES ('n2', 'mine')");
    server.server().fail_next(Inside::FailsAfterCommit);
    let report = device.sync(&server);
    assert_eq!((report.parked, report.still_pending), (0, 0));
    server.server().outage(Some(rejoin_plain::Outage::Refusing));
    device.write("UPDATE notes SET size = 5 WHERE id = 'n2'");
    for _ in 0..5 {
        let _ = device.pass(&server);
    }
    server.server().outage(None);
    let report = device.sync(&server);
    assert_eq!((report.parked, report.still_pending), (0, 0));
    assert_eq!(server.see("notes", &["id", "size"]), "n1|0 n2|5");
}

#[test]
fn a_transaction_of_which_the_server_takes_a_part_keeps_the_rest_under_its_id() {
    let server = notes();
    let mut device = with_a_note(&server);
    device.write_together(&[
        "INSERT INTO notes (id, title) VALUES ('n2', 'mine')",
        "INSERT INTO notes (id, title) VALUES ('n3', 'bad')",
        "INSERT INTO parts (id, note_id, body) VALUES ('p3', 'n3', 'of the bad one')",
        "INSERT INTO parts (id, note_id, body) VALUES ('p2', 'n2', 'of the good one')",
    ]);
    let id = device.queue()[0].id;
    server.server().poison("notes", "n3");
    device.sync(&server);
    let parked = device.queue().remove(0);
    assert_eq!((parked.id, parked.reason), (id, Some(ParkReason::Remainder)));
    assert!(parked.detail.as_ref().is_some_and(|text| text.contains("accepted in part")));
    let keys: Vec<_> = parked.effect.rows.iter().map(|patch| patch.row.key.clone()).collect();
    assert_eq!(keys, ["n3".into(), "p3".into()]);
    assert_eq!(server.see("notes", &["id"]), "n1 n2");
    assert_eq!(server.see("parts", &["id"]), "p2");
    assert_eq!(device.see("SELECT id FROM notes UNION SELECT id FROM parts"), "n1 n2 p2");
}

#[test]
fn a_row_that_somebody_deleted_is_raised_by_a_create_and_not_by_an_edit() {
    let server = notes();
    let mut device = with_a_note(&server);
    server.soft_delete("notes", "n1");
    device.write("UPDATE notes SET title = 'late' WHERE id = 'n1'");
    device.sync(&server);
    assert_eq!(device.queue()[0].reason, Some(ParkReason::Conflicted));
    assert_eq!(device.see("SELECT id FROM notes"), "");
    device.write("INSERT INTO notes (id, title) VALUES ('n1', 'again')");
    device.sync(&server);
    assert_eq!(server.see("notes", &["id", "title"]), "n1|again");
    assert_eq!(device.see("SELECT id, title FROM notes"), "n1|again");
}

#[test]
fn two_devices_and_a_row_whose_time_does_not_move_agree() {
    let server = notes_with(Trigger::LeftAlone);
    let mut ana = with_a_note(&server);
    let mut other = Device::new("ana", 2);
    other.sync(&server);
    ana.write("UPDATE notes SET title = 'from one' WHERE id = 'n1'");
    other.write("UPDATE notes SET size = 7 WHERE id = 'n1'");
    for _ in 0..2 {
        ana.sync(&server);
        other.sync(&server);
    }
    for device in [&mut ana, &mut other] {
        assert_eq!(device.see("SELECT title, size FROM notes"), "from one|7");
    }
}

#[test]
fn what_was_given_up_and_sent_is_taken_back() {
    let server = notes();
    let mut device = with_a_note(&server);
    device.write("UPDATE notes SET title = 'second' WHERE id = 'n1'");
    device.faults.push_back(Fault::AnswerLost);
    let _ = device.pass(&server);
    let id = device.queue()[0].id;
    device.engine().discard(id).expect("a plain server's record is hidden");
    assert_eq!(device.see("SELECT title FROM notes"), "first");
    device.sync(&server);
    device.sync(&server);
    assert_eq!(server.see("notes", &["title"]), "first");
    assert_eq!(device.see("SELECT title FROM notes"), "first");
    assert!(device.queue().is_empty());
}

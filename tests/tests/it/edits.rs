//! What `edit` of a pending mutation compares: the values that the mutation had found, never its
//! own values in a copy.

use rejoin_core::engine::rebase::decide;
use rejoin_core::ids::MutationId;
use rejoin_core::sync::session::Phase;
use rejoin_core::{Error, InputFault, Policy};
use rejoin_tests::{Backend, Device, Fault, Store};
use serde_json::json;

use crate::places::{PLACES, check_in_sync, one_place};
use crate::plain_story::{notes, with_a_note};
use crate::{apply, each_store};

const CREATE: &str = "INSERT INTO places (id, name, note, score) VALUES ('p2', 'typo', 'm', 1)";
const P2: &str = "SELECT name, note, score FROM places WHERE id = 'p2'";
const NOTES: [&str; 3] = ["id", "title", "size"];

/// Edits the first mutation of the queue; returns the new one.
#[track_caller]
fn edit(device: &mut Device, sql: &str) -> Option<MutationId> {
    let id = device.queue()[0].id;
    decide::edit(device.engine(), id, |tx| tx.execute(sql, &[]).map(drop)).unwrap()
}

/// A device that has sent this write without receiving the verdict; its rows are pulled all the
/// same.
fn uncertain(store: Store, sql: &str, fault: Fault, others: &[&str]) -> (Backend, Device) {
    let (server, mut device) = one_place(store);
    device.write(sql);
    device.lose_push(&server, fault);
    for sql in others {
        server.outside(sql);
    }
    device.pull_only(&server);
    (server, device)
}

/// Syncs until nothing is pending.
#[track_caller]
fn settled(device: &mut Device, server: &Backend) {
    device.crash();
    device.sync(server);
    device.sync(server);
    assert_eq!(device.waiting(), "");
    check_in_sync(device, server);
}

#[apply(each_store)]
fn edit_of_uncertain_create_is_no_conflict_with_its_own_row(store: Store) {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let (server, mut device) = uncertain(store, CREATE, fault, &[]);
        let made = server.see("SELECT created_at FROM places WHERE id = 'p2'");
        let edited = edit(&mut device, "UPDATE places SET name = 'right' WHERE id = 'p2'").unwrap();
        assert_eq!(device.see(PLACES), "p1|A|n|3 p2|right|m|1", "{fault:?}");
        settled(&mut device, &server);
        assert_eq!(server.see(P2), "right|m|1", "{fault:?}");
        assert!(device.engine().was_accepted(edited).unwrap());
        if fault == Fault::AnswerLost {
            let now = server.see("SELECT created_at FROM places WHERE id = 'p2'");
            assert_eq!(now, made, "the row was never deleted in between");
        }
    }
}

#[apply(each_store)]
fn edit_of_uncertain_create_keeps_foreign_changes(store: Store) {
    for is_pulled in [true, false] {
        let theirs = "UPDATE places SET note = 'theirs' WHERE id = 'p2'";
        let others: &[&str] = if is_pulled { &[theirs] } else { &[] };
        let (server, mut device) = uncertain(store, CREATE, Fault::AnswerLost, others);
        edit(&mut device, "UPDATE places SET name = 'right' WHERE id = 'p2'").unwrap();
        if !is_pulled {
            server.outside(theirs);
        }
        settled(&mut device, &server);
        assert_eq!(server.see(P2), "right|theirs|1", "pulled: {is_pulled}");
    }
    // A column that both have changed is a conflict, as for any other edit.
    let theirs = "UPDATE places SET name = 'theirs' WHERE id = 'p2'";
    let (server, mut device) = uncertain(store, CREATE, Fault::AnswerLost, &[theirs]);
    edit(&mut device, "UPDATE places SET name = 'right' WHERE id = 'p2'").unwrap();
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    assert_eq!((server.see(P2), device.see(P2)), ("theirs|m|1".into(), "theirs|m|1".into()));
}

/// An edit that leaves an uncertain mutation unchanged, and one that empties it.
#[apply(each_store)]
fn edit_of_uncertain_create_may_change_nothing_or_all(store: Store) {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let cases = [
            ("UPDATE places SET note = note WHERE id = 'p2'", true, "typo|m|1"),
            ("DELETE FROM places WHERE id = 'p2'", false, ""),
        ];
        for (sql, is_left, left) in cases {
            let (server, mut device) = uncertain(store, CREATE, fault, &[]);
            let edited = edit(&mut device, sql);
            assert_eq!(edited.is_some(), is_left, "{sql}");
            settled(&mut device, &server);
            assert_eq!(
                server.see(&format!("{P2} AND deleted_at IS NULL")),
                left,
                "{fault:?} {sql}"
            );
            if let Some(edited) = edited {
                assert!(device.engine().was_accepted(edited).unwrap(), "{fault:?} {sql}");
            }
        }
    }
}

#[apply(each_store)]
fn edit_of_uncertain_create_keeps_sent_dependents(store: Store) {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let (server, mut device) = one_place(store);
        device.write(CREATE);
        device.write("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p2', 'monday')");
        device.write("UPDATE places SET note = 'later', score = 4 WHERE id = 'p2'");
        device.lose_push(&server, fault);
        edit(&mut device, "UPDATE places SET name = 'right', score = 5 WHERE id = 'p2'").unwrap();
        assert_eq!(device.see(P2), "right|later|5", "{fault:?}");
        settled(&mut device, &server);
        assert_eq!(server.see(P2), "right|later|5", "{fault:?}");
        assert_eq!(server.see("SELECT id, place_id FROM visits WHERE deleted_at IS NULL"), "v1|p2");
    }
}

/// A pull has brought the server's result of the mutation, so its writes no longer change the rows.
#[apply(each_store)]
fn edit_of_uncertain_update_keeps_its_other_columns(store: Store) {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let update = "UPDATE places SET name = 'mine', note = 'typo' WHERE id = 'p1'";
        let (server, mut device) = uncertain(store, update, fault, &[]);
        edit(&mut device, "UPDATE places SET note = 'right' WHERE id = 'p1'").unwrap();
        assert_eq!(device.see(PLACES), "p1|mine|right|3");
        settled(&mut device, &server);
        assert_eq!(server.see(PLACES), "p1|mine|right|3", "{fault:?}");
        let (server, mut device) =
            uncertain(store, "DELETE FROM places WHERE id = 'p1'", fault, &[]);
        edit(&mut device, "UPDATE places SET note = 'right' WHERE id = 'p1'").unwrap();
        settled(&mut device, &server);
        assert_eq!(
            (server.see("SELECT id FROM places WHERE deleted_at IS NULL"), device.see(PLACES)),
            (String::new(), String::new()),
            "{fault:?}: it stays deleted"
        );
    }
}

const MINE: &str = "UPDATE places SET name = 'mine' WHERE id = 'p1'";
const RECREATED: [&str; 2] = [
    "DELETE FROM places WHERE id = 'p1'",
    "INSERT INTO places (id, name, note, score, user_id) VALUES ('p1', 'theirs', 'new', 1, 'ana')",
];

#[apply(each_store)]
fn edit_of_pending_update_conflicts_with_recreated_row(store: Store) {
    for policy in [Policy::AcceptServer, Policy::KeepLocal] {
        for fault in [Fault::AnswerLost, Fault::RequestLost] {
            let (server, mut device) = uncertain(store, MINE, fault, &RECREATED);
            device.govern([("places".to_owned(), policy)].into());
            assert_eq!(device.see(PLACES), "p1|mine|new|1", "its own value covers theirs");
            edit(&mut device, "UPDATE places SET name = 'right' WHERE id = 'p1'").unwrap();
            device.sync(&server);
            device.sync(&server);
            let (name, waits) = match policy {
                Policy::AcceptServer => ("theirs", "Parked:Conflicted/1"),
                _ => ("right", ""),
            };
            let expected = format!("p1|{name}|new|1");
            assert_eq!(device.waiting(), waits, "{policy:?} {fault:?}");
            assert_eq!((server.see(PLACES), device.see(PLACES)), (expected.clone(), expected));
        }
    }
}

/// The row is not compared while another edit of it is in flight.
#[apply(each_store)]
fn edit_above_uncertain_update_overwrites_no_foreign_value(store: Store) {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let (server, mut device) = one_place(store);
        device.write("UPDATE places SET note = 'first' WHERE id = 'p1'");
        device.lose_push(&server, fault);
        device.write(MINE);
        server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p1'");
        device.pull_only(&server);
        let id = device.queue()[1].id;
        let sql = "UPDATE places SET name = 'right' WHERE id = 'p1'";
        decide::edit(device.engine(), id, |tx| tx.execute(sql, &[]).map(drop)).unwrap();
        assert_eq!(device.see(PLACES), "p1|right|first|3");
        device.sync(&server);
        assert_eq!(device.waiting(), "Parked:Conflicted/1", "{fault:?}");
        assert_eq!(server.see(PLACES), "p1|theirs|first|3", "{fault:?}");
    }
}

#[apply(each_store)]
fn edit_of_a_resurrection_resurrects_the_row(store: Store) {
    for fault in [None, Some(Fault::AnswerLost), Some(Fault::RequestLost)] {
        let (server, mut device) = one_place(store);
        device.govern([("places".to_owned(), Policy::KeepLocal)].into());
        let delete = "DELETE FROM places WHERE id = 'p1'";
        if let Some(fault) = fault {
            device.write(MINE);
            device.lose_push(&server, fault);
            server.outside(delete);
            device.pull_only(&server);
        } else {
            // Written while the change is in flight, so that it is never sent before it.
            server.outside(delete);
            device.until(&server, Phase::Pulling).unwrap();
            device.write(MINE);
            device.step(&server).unwrap();
        }
        edit(&mut device, "UPDATE places SET name = 'right' WHERE id = 'p1'").unwrap();
        assert_eq!(device.see(PLACES), "p1|right|n|3", "{fault:?}");
        settled(&mut device, &server);
        let live = PLACES.replace("ORDER", "WHERE deleted_at IS NULL ORDER");
        assert_eq!(server.see(&live), "p1|right|n|3", "{fault:?}");
    }
}

/// The same with a plain server, as far as that can identify the author of a row.
#[test]
fn edit_of_uncertain_create_keeps_the_row_on_a_plain_server() {
    for (id, theirs) in [("n2", false), ("3f1c2f0e-6f0b-4b9e-9c57-0b6f0a4b2c11", true)] {
        for fault in [Fault::AnswerLost, Fault::RequestLost] {
            let server = notes();
            let mut device = with_a_note(&server);
            let create = "INSERT INTO notes (id, title, size) VALUES ('ID', 'typo', 1)";
            device.write(&create.replace("ID", id));
            device.faults.push_back(fault);
            let _ = device.pass(&server);
            let size = if theirs && fault == Fault::AnswerLost { 7 } else { 1 };
            if size == 7 {
                server.update("notes", id, &json!({"size": 7}));
            }
            let before = device.sent.len();
            edit(&mut device, &format!("UPDATE notes SET title = 'right' WHERE id = '{id}'"));
            for _ in 0..3 {
                device.sync(&server);
            }
            assert_eq!(device.waiting(), "", "{id} {fault:?}");
            let row = format!("{id}|right|{size}");
            let all = server.see("notes", &NOTES);
            assert!(all.split(' ').any(|one| one == row), "{fault:?}: {all}");
            let bodies = device.sent[before..].iter().filter_map(|one| one.body.as_deref());
            let deletes = |body: &[u8]| String::from_utf8_lossy(body).contains("\"delete\"");
            assert!(!bodies.into_iter().any(deletes), "{id} {fault:?}: nothing is deleted");
        }
    }
}

/// A note that the server refuses beside one that it accepts: the remainder is parked.
fn remainder() -> (rejoin_tests::PlainBackend, Device, MutationId) {
    let server = notes();
    let mut device = with_a_note(&server);
    server.server().poison_when(|_, _, data| data["title"] == "bad");
    device.limit_faults(3);
    device.write_together(&[
        "UPDATE notes SET size = 5 WHERE id = 'n1'",
        "INSERT INTO notes (id, title) VALUES ('n2', 'bad')",
    ]);
    for _ in 0..4 {
        device.sync(&server);
    }
    assert_eq!(device.waiting(), "Parked:PartlyAccepted/1");
    let id = device.queue()[0].id;
    (server, device, id)
}

#[test]
fn remainder_can_be_retried_edited_and_discarded() {
    let (server, mut device, id) = remainder();
    decide::retry(device.engine(), id).unwrap();
    assert_eq!(device.see("SELECT id, title, size FROM notes ORDER BY id"), "n1|first|5 n2|bad|-");
    server.server().heal();
    device.crash();
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    assert_eq!(server.see("notes", &NOTES), "n1|first|5 n2|bad|-");
    assert!(device.engine().was_accepted(id).unwrap());
    let undone = decide::undo(device.engine(), id);
    assert!(undone.is_ok(), "the history has all of it: {undone:?}");
    assert_eq!(device.see("SELECT id, title, size FROM notes ORDER BY id"), "n1|first|0");

    let (server, mut device, id) = remainder();
    let edited = edit(&mut device, "UPDATE notes SET title = 'good' WHERE id = 'n2'").unwrap();
    assert!(device.engine().was_accepted(id).unwrap(), "what the server has of it");
    device.crash();
    device.sync(&server);
    assert_eq!(
        (device.waiting().as_str(), &*server.see("notes", &NOTES)),
        ("", "n1|first|5 n2|good|-")
    );
    assert!(device.engine().was_accepted(edited).unwrap());

    let (server, mut device, id) = remainder();
    assert!(matches!(
        decide::undo(device.engine(), id),
        Err(Error::InvalidInput(InputFault::Refused { .. }))
    ));
    let again = decide::perform_again(device.engine(), id, &json!({}));
    assert!(
        matches!(&again, Err(Error::InvalidInput(InputFault::Refused { reason: why, .. })) if why.contains("accepted rows"))
    );
    device.write("INSERT INTO parts (id, note_id, body) VALUES ('x', 'n1', 'b')");
    assert_eq!(decide::discard_chain(device.engine(), id).unwrap(), [id]);
    device.sync(&server);
    assert_eq!((device.waiting().as_str(), &*server.see("notes", &NOTES)), ("", "n1|first|5"));
}

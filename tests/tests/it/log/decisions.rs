//! Undo, redo and edits of entries of the log.

use macro_rules_attribute::apply;
use rejoin_core::engine::queue::mutation::ParkReason;
use rejoin_core::engine::rebase::decide;
use rejoin_core::{AcceptedMutation, Error, Inspection, MutationId, QueueFault, Undone};
use rejoin_tests::{Device, Store};
use serde_json::json;

use super::{SEATS, devices, later, reason, server, settle, sold_twice};
use crate::each_store;

/// Writes plain SQL; returns the id of its entry.
fn write(device: &mut Device, sql: &str) -> MutationId {
    let known: Vec<_> = device.queue().iter().map(|one| one.id).collect();
    device.write(sql);
    let new = device.queue().into_iter().find(|one| !known.contains(&one.id));
    new.unwrap().id
}

fn undone_by(undone: Undone) -> MutationId {
    let Undone::NewMutation(id) = undone else { panic!("{undone:?}") };
    id
}

#[apply(each_store)]
fn entry_is_undone_and_redone_by_new_entries(store: Store) {
    let server = server(store);
    let [mut phone, mut tablet] = devices(&server, ["ana", "ben"]);
    let made = write(&mut phone, "INSERT INTO seats VALUES ('s1', 'e1', NULL, 'old', 1)");
    let edit = write(&mut phone, "UPDATE seats SET note = 'new', number = 7 WHERE id = 's1'");
    let undo = undone_by(decide::undo(phone.engine(), edit).unwrap());
    assert_eq!(phone.see(SEATS), "s1|e1|-|old|1", "before the server has it");
    phone.sync(&server);
    tablet.sync(&server);
    assert_eq!(tablet.see(SEATS), "s1|e1|-|old|1");
    tablet.write("UPDATE seats SET owner = 'ben' WHERE id = 's1'");
    tablet.sync(&server);
    phone.crash().sync(&server);

    undone_by(decide::redo(phone.engine(), edit).unwrap());
    assert_eq!(phone.see(SEATS), "s1|e1|ben|new|7", "another column has changed since");
    let twice = decide::redo(phone.engine(), edit).unwrap_err();
    assert!(reason(&twice).contains("its undo was undone already"), "{twice}");
    let never = decide::redo(phone.engine(), made).unwrap_err();
    assert!(reason(&never).contains("it was not undone"), "{never}");
    let changed = decide::undo(phone.engine(), undo).unwrap_err();
    assert!(matches!(changed, Error::Queue(QueueFault::Changed { .. })), "{changed}");
    settle(&server, &mut [phone, tablet]);
    assert_eq!(server.see(SEATS), "s1|e1|ben|new|7");
}

/// The accepted mutations and entries of a file, newest first: ids, and the columns of each row.
fn history(device: &Device) -> Vec<(MutationId, Vec<String>)> {
    let columns = |one: &AcceptedMutation| {
        let columns = one.rows.iter().flat_map(|row| &row.columns);
        columns.map(|column| format!("{}: {:?}", column.name, column.old)).collect()
    };
    let mut history = Inspection::of(device.path()).unwrap().history;
    history.reverse();
    history.iter().map(|one| (one.id, columns(one))).collect()
}

#[apply(each_store)]
fn accepted_entries_are_in_the_history(store: Store) {
    let server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, 'old', 1)");
    phone.sync(&server);
    later(&server, &[&phone], 60);
    let edit = write(&mut phone, "UPDATE seats SET note = 'new' WHERE id = 's1'");
    assert_eq!(history(&phone).len(), 1, "only what is accepted");
    phone.sync(&server);
    let [(newest, columns), _] = &history(&phone)[..] else { panic!("{:?}", history(&phone)) };
    assert_eq!((*newest, &columns[..]), (edit, &[String::from("note: Text(\"old\")")][..]));
    let undo = undone_by(decide::undo(phone.engine(), *newest).unwrap());
    phone.sync(&server);
    let undone = Inspection::of(phone.path()).unwrap().history.pop().unwrap();
    assert_eq!((undone.id, undone.undoes), (undo, Some(edit)));
    assert_eq!(server.see(SEATS), "s1|e1|-|old|1");
}

#[apply(each_store)]
fn created_and_deleted_rows_are_undone(store: Store) {
    let server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', 'ana', 'kept', 1)");
    phone.sync(&server);
    let made = write(&mut phone, "INSERT INTO seats VALUES ('s2', 'e1', NULL, '', 2)");
    let gone = write(&mut phone, "DELETE FROM seats WHERE id = 's1'");
    phone.sync(&server);
    assert_eq!(server.see(SEATS), "s2|e1|-||2");
    undone_by(decide::undo(phone.engine(), gone).unwrap());
    undone_by(decide::undo(phone.engine(), made).unwrap());
    assert_eq!(phone.see(SEATS), "s1|e1|ana|kept|1");
    settle(&server, &mut [phone]);
    assert_eq!(server.see(SEATS), "s1|e1|ana|kept|1");
}

/// What others have written since is never overwritten.
#[apply(each_store)]
fn undo_of_a_changed_column_is_refused(store: Store) {
    let server = server(store);
    let [mut phone, mut tablet] = devices(&server, ["ana", "ben"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, 'old', 1)");
    let edit = write(&mut phone, "UPDATE seats SET note = 'new', number = 7 WHERE id = 's1'");
    phone.sync(&server);
    tablet.sync(&server);
    later(&server, &[&phone, &tablet], 60);
    let theirs = write(&mut tablet, "UPDATE seats SET note = 'theirs' WHERE id = 's1'");
    tablet.sync(&server);
    phone.sync(&server);
    let error = decide::undo(phone.engine(), edit).unwrap_err();
    let Error::Queue(QueueFault::Changed { rows }) = error else { panic!("{error}") };
    assert_eq!((rows.len(), &rows[0].columns[..]), (1, &[String::from("note")][..]));
    let foreign = decide::undo(phone.engine(), theirs).unwrap_err();
    assert!(matches!(foreign, Error::Queue(QueueFault::Unknown(_))), "{foreign}");
    settle(&server, &mut [phone, tablet]);
    assert_eq!(server.see(SEATS), "s1|e1|-|theirs|7");
}

#[apply(each_store)]
fn denied_entry_is_edited(store: Store) {
    let server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, 'mine', 1)");
    server.server().revoke("ana", "event:e1").unwrap();
    server.server().grant("ana", "event:e2").unwrap();
    phone.sync(&server);
    let denied = phone.queue()[0].id;
    let undo = decide::undo(phone.engine(), denied).unwrap_err();
    assert!(reason(&undo).contains("discard it"), "{undo}");

    let body = |sql: &'static str| {
        move |tx: &mut rejoin_core::engine::EngineTransaction<'_>| tx.execute(sql, &[]).map(drop)
    };
    let failed = decide::edit(phone.engine(), denied, body("UPDATE seats SET nothing = 1"));
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!((phone.waiting(), phone.see(SEATS)), ("Parked:Refused/0".into(), String::new()));
    let moved = body("UPDATE seats SET event = 'e2' WHERE note = 'mine'");
    let edited = decide::edit(phone.engine(), denied, moved).unwrap().unwrap();
    assert_eq!((phone.queue().len(), phone.queue()[0].id), (1, edited));
    settle(&server, &mut [phone]);
    assert_eq!(server.see(SEATS), "s1|e2|-|mine|1");
}

#[apply(each_store)]
fn rejected_action_is_performed_again_with_other_arguments(store: Store) {
    let server = server(store);
    let ([mut phone, mut tablet], [_, second]) = sold_twice(&server);
    phone.write("INSERT INTO seats VALUES ('s2', 'e1', NULL, '', 2)");
    let pending = decide::perform_again(tablet.engine(), second, &json!({"id": "s2", "to": "ben"}));
    assert!(reason(&pending.unwrap_err()).contains("it is not parked"));
    tablet.sync(&server);
    phone.sync(&server);
    tablet.sync(&server);
    assert_eq!(tablet.queue()[0].reason, Some(ParkReason::Unreplayable));
    let nothing = decide::edit(tablet.engine(), second, |_| Ok(()));
    assert!(reason(&nothing.unwrap_err()).contains("it has no effect now"));

    let sold = decide::perform_again(tablet.engine(), second, &json!({"id": "s1", "to": "ben"}));
    assert!(sold.unwrap_err().to_string().contains("the seat is sold"));
    assert_eq!(tablet.queue()[0].id, second, "it stays as it was");
    let other = decide::perform_again(tablet.engine(), second, &json!({"id": "s2", "to": "ben"}));
    assert_eq!(tablet.queue()[0].id, other.unwrap().id.unwrap());
    settle(&server, &mut [phone, tablet]);
    assert_eq!(server.see(SEATS), "s1|e1|ana||1 s2|e1|ben||2");
}

/// Its own insert replaced a row that another user had created: the undo restores that row.
#[apply(each_store)]
fn undo_of_an_insert_restores_the_row_that_it_replaced(store: Store) {
    let server = server(store);
    let [mut phone, mut tablet] = devices(&server, ["ana", "ben"]);
    tablet.write("INSERT INTO seats VALUES ('s1', 'e1', 'ben', 'theirs', 1)");
    later(&server, &[&phone, &tablet], 60);
    let made = write(&mut phone, "INSERT INTO seats VALUES ('s1', 'e1', 'ana', 'mine', 2)");
    phone.sync(&server);
    tablet.sync(&server);
    phone.sync(&server);
    assert_eq!(phone.see(SEATS), "s1|e1|ana|mine|2");
    undone_by(decide::undo(phone.engine(), made).unwrap());
    settle(&server, &mut [phone, tablet]);
    assert_eq!(server.see(SEATS), "s1|e1|ben|theirs|1");
}

/// Its view of the entry is an insert of the row where the user moved it: the undo deleted the row for
/// all readers.
#[apply(each_store)]
fn undo_of_an_entry_in_a_bucket_that_the_user_left_is_refused(store: Store) {
    let server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    server.server().grant("ana", "event:e2").unwrap();
    phone.sync(&server);
    phone.sync(&server);
    let moved = write(&mut phone, "UPDATE seats SET event = 'e2' WHERE id = 's1'");
    phone.sync(&server);
    server.server().revoke("ana", "event:e1").unwrap();
    phone.sync(&server);
    phone.sync(&server);
    assert_eq!(phone.see(SEATS), "s1|e2|-||1");
    let error = decide::undo(phone.engine(), moved).unwrap_err();
    assert!(reason(&error).contains("a row that is not in this file"), "{error}");
}

/// Columns that have the new value already are written again by an edit.
#[apply(each_store)]
fn edit_of_a_denied_update_keeps_all_its_columns(store: Store) {
    let server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', 'ana', '', 1)");
    server.server().grant("ana", "event:e2").unwrap();
    phone.sync(&server);
    phone.sync(&server);
    phone.write("UPDATE seats SET event = 'e2', owner = NULL WHERE id = 's1'");
    server.server().revoke("ana", "event:e2").unwrap();
    phone.sync(&server);
    phone.sync(&server);
    assert_eq!(
        (phone.waiting(), phone.see(SEATS)),
        ("Parked:Refused/0".into(), "s1|e1|ana||1".into())
    );
    let denied = phone.queue()[0].id;
    let back = |tx: &mut rejoin_core::engine::EngineTransaction<'_>| {
        tx.execute("UPDATE seats SET event = 'e1' WHERE id = 's1'", &[]).map(drop)
    };
    decide::edit(phone.engine(), denied, back).unwrap().unwrap();
    settle(&server, &mut [phone]);
    assert_eq!(server.see(SEATS), "s1|e1|-||1");
}

/// The verdict came before the server had the new revision; meanwhile every decision was refused.
#[apply(each_store)]
fn rejected_action_can_be_decided_before_the_server_has_its_revision(store: Store) {
    let server = server(store);
    let ([mut phone, mut tablet], [_, second]) = sold_twice(&server);
    tablet.sync(&server);
    phone.sync(&server);
    while tablet.engine().verdicts(0, 10).unwrap().entries.len() < 2 {
        tablet.step(&server).unwrap();
    }
    assert_eq!(tablet.waiting(), "Parked:Unreplayable/1");
    let counts = tablet.engine().counts().unwrap();
    assert_eq!((counts.pending, counts.parked), (0, 1));
    decide::discard(tablet.engine(), second).unwrap();
    assert_eq!(tablet.waiting(), "");
    assert_eq!(tablet.engine().counts().unwrap().pending, 0);
    settle(&server, &mut [phone, tablet]);
    assert_eq!(server.see(SEATS), "s1|e1|ana||1");
}

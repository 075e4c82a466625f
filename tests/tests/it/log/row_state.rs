//! The sync state of rows of the log: `rejoin_row_state`, `row_sync_state` and its notifications.

use std::sync::mpsc;

use rejoin_core::engine::action::perform::perform;
use rejoin_core::engine::rebase::decide;
use rejoin_core::engine::reset::{Keep, reset};
use rejoin_core::{Update, block_on};
use rejoin_tests::{Backend, Device, Store};
use serde_json::json;

use super::{devices, later, rounds, sell, server, settle, with_actions};
use crate::client::{PATIENCE, Phone, Served};

const STATES: &str = "SELECT id, rejoin_row_state('seats', id) FROM seats ORDER BY id";

/// The state of a row that need not exist.
fn state(device: &mut Device, id: &str) -> &'static str {
    device.engine().row_sync_state("seats", &id.into()).unwrap().as_str()
}

/// A device with a denied entry that inserts the row s1.
fn denied(server: &Backend) -> Device {
    let [mut phone] = devices(server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    server.server().revoke("ana", "event:e1").unwrap();
    phone.sync(server);
    server.server().grant("ana", "event:e1").unwrap();
    phone.sync(server);
    phone
}

#[test]
fn row_is_pending_until_its_entry_is_published() {
    let server = server(Store::Sqlite);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1), ('s2', 'e1', NULL, '', 2)");
    assert_eq!(phone.see(STATES), "s1|pending s2|pending");
    phone.sync(&server);
    assert_eq!(phone.see(STATES), "s1|synced s2|synced");
    phone.write("UPDATE seats SET note = 'one' WHERE id = 's1'");
    phone.write("UPDATE seats SET number = 7 WHERE id = 's1'");
    phone.write("DELETE FROM seats WHERE id = 's2'");
    assert_eq!((phone.see(STATES), state(&mut phone, "s2")), ("s1|pending".into(), "pending"));
    phone.crash();
    assert_eq!((phone.see(STATES), state(&mut phone, "s2")), ("s1|pending".into(), "pending"));
    settle(&server, std::slice::from_mut(&mut phone));
    assert_eq!((phone.see(STATES), state(&mut phone, "s2")), ("s1|synced".into(), "synced"));
}

#[test]
fn rolled_back_entry_shows_no_state() {
    let server = server(Store::Sqlite);
    let [mut phone] = devices(&server, ["ana"]);
    let failed = phone.engine().execute_batch(
        "INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1);
         INSERT INTO seats VALUES ('s2', 'e2', NULL, '', 1)",
    );
    failed.unwrap_err();
    assert_eq!(state(&mut phone, "s1"), "synced");
}

#[test]
fn row_of_a_denied_entry_is_parked_until_the_decision() {
    let server = server(Store::Sqlite);
    let mut phone = denied(&server);
    assert_eq!((phone.see(STATES), state(&mut phone, "s1")), (String::new(), "parked"));
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, 'again', 3)");
    assert_eq!(phone.see(STATES), "s1|parked", "a later entry is pending");
    assert_eq!(phone.crash().see(STATES), "s1|parked");
    let parked = phone.queue().into_iter().find(|one| one.reason.is_some()).unwrap().id;
    decide::retry(phone.engine(), parked).unwrap();
    assert_eq!(phone.see(STATES), "s1|pending");
    settle(&server, std::slice::from_mut(&mut phone));
    assert_eq!(phone.see(STATES), "s1|synced");

    let mut phone = denied(&super::server(Store::Sqlite));
    let parked = phone.queue()[0].id;
    decide::discard(phone.engine(), parked).unwrap();
    assert_eq!(state(&mut phone, "s1"), "synced");
}

#[test]
fn entry_that_changes_again_on_an_earlier_one_is_reported() {
    let server = server(Store::Sqlite);
    let [mut phone, mut tablet] = devices(&server, ["ana", "ben"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 0)");
    for device in [&mut phone, &mut tablet] {
        device.sync(&server);
        with_actions(device);
    }
    perform(phone.engine(), "count", &json!({"id": "s1"})).unwrap();
    later(&server, &[&phone, &tablet], 60);
    perform(tablet.engine(), "count", &json!({"id": "s1"})).unwrap();
    assert_eq!(tablet.see(STATES), "s1|pending");
    rounds(&server, std::slice::from_mut(&mut tablet));
    assert_eq!(tablet.see(STATES), "s1|synced");
    phone.sync(&server);
    let changes = tablet.listen();
    rounds(&server, std::slice::from_mut(&mut tablet));
    let queue: Vec<bool> = changes.lock().unwrap().iter().map(|change| change.queue).collect();
    assert_eq!(queue, [true, true, false], "pending again, published, and received");
    assert_eq!(
        (tablet.see(STATES), server.see("SELECT number FROM seats")),
        ("s1|synced".into(), "2".into())
    );
}

#[test]
fn row_of_an_action_that_now_rejects_without_effect_is_synced() {
    let server = server(Store::Sqlite);
    let [mut phone, mut tablet] = devices(&server, ["ana", "ben"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    for device in [&mut phone, &mut tablet] {
        device.sync(&server);
        with_actions(device);
    }
    sell(&mut phone, "ana").unwrap();
    later(&server, &[&phone, &tablet], 60);
    sell(&mut tablet, "ben").unwrap();
    tablet.sync(&server);
    phone.sync(&server);
    tablet.sync(&server);
    assert_eq!(tablet.waiting(), "Parked:Unreplayable/1");
    assert_eq!(tablet.see(STATES), "s1|synced", "its effect names no row");
}

#[test]
fn states_follow_a_reset_and_the_next_snapshot() {
    let server = server(Store::Sqlite);
    let mut phone = denied(&server);
    phone.write("INSERT INTO seats VALUES ('s2', 'e1', NULL, '', 2)");
    reset(phone.engine(), Keep::Pending, &[]).unwrap();
    assert_eq!((state(&mut phone, "s1"), state(&mut phone, "s2")), ("parked", "pending"));
    phone.sync(&server);
    assert_eq!((phone.see(STATES), state(&mut phone, "s1")), ("s2|synced".into(), "parked"));
    phone.write("UPDATE seats SET number = 9");
    let named: Vec<_> = phone.queue().iter().map(|one| one.id).collect();
    reset(phone.engine(), Keep::Nothing, &named).unwrap();
    assert_eq!((state(&mut phone, "s1"), state(&mut phone, "s2")), ("synced", "synced"));
    phone.sync(&server);
    assert_eq!(phone.see(STATES), "s2|synced");
}

/// A phone after its first sync, whose driver is stopped.
fn synced(network: &Served) -> Phone {
    let phone = Phone::new("ana", Some(&network.url));
    phone.sync();
    phone.client.stop().wait().unwrap();
    phone
}

/// A local write of a table of the log reported no table, so its queries did not run again.
#[test]
fn watch_of_rows_runs_again_at_local_writes() {
    let server = server(Store::Sqlite);
    let network = Served::new(&server);
    let phone = synced(&network);
    let (sender, updates) = mpsc::channel();
    let watch = block_on(phone.client.watch("SELECT note FROM seats", (), &[])).unwrap();
    let _subscription = watch.each(move |update| drop(sender.send(update.unwrap())));
    let next = || {
        let update: Update = updates.recv_timeout(PATIENCE).expect("an update arrives");
        update.rows.iter().next().map(|row| row.get::<String>(0).unwrap())
    };
    assert_eq!(next(), None);
    phone.run("INSERT INTO seats VALUES ('s1', 'e1', NULL, 'one', 1)");
    assert_eq!(next().as_deref(), Some("one"));
    phone.run("UPDATE seats SET note = 'two' WHERE id = 's1'");
    assert_eq!(next().as_deref(), Some("two"));
    let edit = phone.client.queue().all().wait().unwrap()[1].id;
    phone.client.queue().undo(edit).wait().unwrap();
    assert_eq!(next().as_deref(), Some("one"));
}

#[test]
fn watch_of_the_state_shows_an_entry_until_it_is_published() {
    let server = server(Store::Sqlite);
    let network = Served::new(&server);
    let phone = synced(&network);
    let (sender, updates) = mpsc::channel();
    let watch = block_on(phone.client.watch(STATES, (), &["id"])).unwrap();
    let _subscription = watch.each(move |update| drop(sender.send(update.unwrap())));
    let shown = |sign: &str| {
        let cells = |update: Update| {
            format!("{:?}", update.rows.iter().next().map(|row| row.get::<String>(1)))
        };
        while !cells(updates.recv_timeout(PATIENCE).expect("an update arrives")).contains(sign) {}
    };
    phone.run("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    shown("pending");
    phone.sync();
    shown("synced");
}

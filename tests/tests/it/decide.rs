//! An app's decisions about parked or pending mutations: `retry`, `edit`, `discard`, alone and with
//! a chain.

use rejoin_core::engine::rebase::decide;
use rejoin_core::ids::MutationId;
use rejoin_core::{Error, InputFault, Network, QueueFault, Transaction};
use rejoin_tests::{Backend, Device, Fault, Store};

use crate::client::{Phone, Served};
use crate::places::{PLACES, one_place};
use crate::{apply, each_store};

/// The server has changed a name since: the device's edit is parked.
fn conflicted(store: Store) -> (Backend, Device, MutationId) {
    let (server, mut device) = one_place(store);
    device.write("UPDATE places SET name = 'mine' WHERE id = 'p1'");
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p1'");
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    assert_eq!(device.see(PLACES), "p1|theirs|n|3");
    let id = device.queue()[0].id;
    (server, device, id)
}

/// A place that the server refuses, with a visit to it and an edit of it: all three are parked.
fn refused_chain(store: Store) -> (Backend, Device, Vec<MutationId>) {
    let (server, mut device) = one_place(store);
    device.write("INSERT INTO places (id, name, note, score) VALUES ('p2', 'bad', 'm', 9)");
    device.write("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p2', 'monday')");
    device.write("UPDATE places SET name = 'worse' WHERE id = 'p2'");
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Rejected/1 Parked:Depends/2 Parked:Depends/2");
    let ids = device.queue().iter().map(|mutation| mutation.id).collect();
    (server, device, ids)
}

#[apply(each_store)]
fn retry_compares_with_current_rows(store: Store) {
    let (server, mut device, id) = conflicted(store);
    server.outside("UPDATE places SET note = 'foreign', score = 1 WHERE id = 'p1'");
    decide::retry(device.engine(), id).unwrap();
    assert_eq!(device.see(PLACES), "p1|mine|n|3", "at once");
    assert_eq!(device.waiting(), "Pending/2");
    device.sync(&server);
    assert_eq!((device.waiting(), server.see(PLACES)), (String::new(), device.see(PLACES)));
    assert_eq!(server.see(PLACES), "p1|mine|foreign|1");
}

/// A create that met another user's row, which has been deleted since.
fn create_over_deleted_row(store: Store) -> (Backend, Device, MutationId) {
    let (server, mut device) = one_place(store);
    server.outside("INSERT INTO places (id, name, user_id) VALUES ('p2', 'theirs', 'ana')");
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'mine')");
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    server.outside("DELETE FROM places WHERE id = 'p2'");
    device.sync(&server);
    let id = device.queue()[0].id;
    (server, device, id)
}

#[apply(each_store)]
fn retried_create_over_pending_create_becomes_an_edit(store: Store) {
    let (server, mut device, id) = create_over_deleted_row(store);
    device.write("INSERT INTO places (id, name, note) VALUES ('p2', 'newer', 'n')");
    decide::retry(device.engine(), id).unwrap();
    device.sync(&server);
    // Both belong to the same user: the one that was retried later wins.
    assert_eq!(device.waiting(), "");
    let p2 = "SELECT id, name, note FROM places WHERE id = 'p2'";
    assert_eq!((server.see(p2), device.see(p2)), ("p2|mine|-".into(), "p2|mine|-".into()));
    decide::undo(device.engine(), id).unwrap();
    device.sync(&server);
    assert_eq!((device.waiting(), server.see(p2)), (String::new(), "p2|newer|n".to_owned()));
}

/// Regression (rows seed 23011842): it was sent as an edit of the deleted row, and parked as a
/// conflict of the device with itself.
#[apply(each_store)]
fn retried_create_over_own_soft_deleted_row_creates_it(store: Store) {
    let (server, mut device) = one_place(store);
    server.outside("INSERT INTO places (id, name, user_id) VALUES ('p2', 'theirs', 'ana')");
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'mine')");
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    let id = device.queue()[0].id;
    let deleted = "UPDATE places SET deleted_at = '2026-01-01T00:00:00.000000Z' WHERE id = 'p2'";
    device.write(deleted);
    decide::retry(device.engine(), id).unwrap();
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    let p2 = "SELECT id, name FROM places WHERE id = 'p2' AND deleted_at IS NULL";
    assert_eq!((server.see(p2), device.see(p2)), ("p2|mine".into(), "p2|mine".into()));
}

#[apply(each_store)]
fn retry_is_queued_last_even_after_restart(store: Store) {
    let (server, mut device, id) = conflicted(store);
    device.write("UPDATE places SET name = 'between' WHERE id = 'p1'");
    decide::retry(device.engine(), id).unwrap();
    device.crash();
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'after')");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    assert_eq!(server.see("SELECT id, name FROM places ORDER BY id"), "p1|mine p2|after");
    assert_eq!(device.see(PLACES), server.see(PLACES));
}

#[apply(each_store)]
fn retried_delete_removes_the_newer_row(store: Store) {
    let (server, mut device) = one_place(store);
    device.write("DELETE FROM places WHERE id = 'p1'");
    server.outside("UPDATE places SET note = 'newer' WHERE id = 'p1'");
    device.sync(&server);
    assert_eq!(device.waiting(), "Parked:Conflicted/1");
    assert_eq!(device.see(PLACES), "p1|A|newer|3");
    let id = device.queue()[0].id;
    decide::retry(device.engine(), id).unwrap();
    assert_eq!(device.see(PLACES), "");
    device.sync(&server);
    assert_eq!((device.waiting(), device.see(PLACES)), (String::new(), String::new()));
    assert_eq!(server.see("SELECT id FROM places WHERE deleted_at IS NULL"), "");
}

#[apply(each_store)]
fn retry_requires_parked_mutation_without_parked_dependency(store: Store) {
    let (_server, mut device, ids) = refused_chain(store);
    let error = decide::retry(device.engine(), ids[2]).unwrap_err();
    assert!(matches!(error, Error::Queue(QueueFault::ParentParked(on)) if on == ids[0]), "{error}");
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    let waiting = device.queue()[3].id;
    let error = decide::retry(device.engine(), waiting).unwrap_err();
    assert!(matches!(error, Error::InvalidInput(InputFault::Refused { .. })), "{error}");
    decide::discard(device.engine(), waiting).unwrap();
    for chain in [false, true] {
        let engine = device.engine();
        let gone = if chain {
            decide::retry_chain(engine, waiting).map(drop)
        } else {
            decide::retry(engine, waiting)
        };
        assert!(matches!(gone, Err(Error::Queue(QueueFault::Unknown(id))) if id == waiting));
    }
    assert_eq!(device.waiting(), "Parked:Rejected/1 Parked:Depends/2 Parked:Depends/2");
}

#[apply(each_store)]
fn delete_depends_on_the_create_of_its_row(store: Store) {
    for lost in [false, true] {
        let (server, mut device) = one_place(store);
        device.write("INSERT INTO places (id, name, score) VALUES ('p2', 'bad', 9)");
        device.write("DELETE FROM places WHERE id = 'p2'");
        if lost {
            device.lose_push(&server, Fault::AnswerLost);
        }
        device.sync(&server);
        assert_eq!(device.waiting(), "Parked:Rejected/1 Parked:Depends/2");
        let [create, delete] = device.queue().try_into().unwrap();
        assert_eq!(delete.because_of, Some(create.id));
        let error = decide::retry(device.engine(), delete.id).unwrap_err();
        assert!(
            matches!(error, Error::Queue(QueueFault::ParentParked(on)) if on == create.id),
            "{error}"
        );
        decide::discard_chain(device.engine(), create.id).unwrap();
        device.sync(&server);
        assert_eq!(
            (device.waiting(), server.see("SELECT id FROM places")),
            (String::new(), "p1".into())
        );
    }
}

#[apply(each_store)]
fn chain_is_corrected_at_its_root_and_retried_in_order(store: Store) {
    let (server, mut device, ids) = refused_chain(store);
    let corrected = decide::edit(device.engine(), ids[0], |tx| {
        tx.execute("UPDATE places SET score = 5 WHERE id = 'p2'", &[]).map(drop)
    })
    .unwrap()
    .unwrap();
    assert_ne!(corrected, ids[0], "another content is another mutation");
    assert_eq!(device.see(PLACES), "p1|A|n|3 p2|bad|m|5");
    assert_eq!(device.waiting(), "Parked:Depends/2 Parked:Depends/2 Pending/1");
    assert_eq!(decide::retry_chain(device.engine(), corrected).unwrap(), ids[1..]);
    assert_eq!(device.see(PLACES), "p1|A|n|3 p2|worse|m|5");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    assert_eq!(server.see(PLACES), "p1|A|n|3 p2|worse|m|5");
    assert_eq!(server.see("SELECT id, place_id FROM visits"), "v1|p2");
}

#[apply(each_store)]
fn discard_of_parked_or_pending_chain_is_complete(store: Store) {
    let (_server, mut device, ids) = refused_chain(store);
    assert_eq!(decide::discard_chain(device.engine(), ids[0]).unwrap(), ids);
    assert_eq!(device.waiting(), "");
    device.write("INSERT INTO places (id, name) VALUES ('p3', 'new')");
    device.write("INSERT INTO visits (id, place_id, day) VALUES ('v3', 'p3', 'monday')");
    device.write("UPDATE visits SET day = 'friday' WHERE id = 'v3'");
    device.write("UPDATE places SET name = 'B' WHERE id = 'p1'");
    let waiting: Vec<MutationId> = device.queue().iter().map(|mutation| mutation.id).collect();
    assert_eq!(decide::discard_chain(device.engine(), waiting[0]).unwrap(), waiting[..3]);
    device.crash();
    assert_eq!(device.waiting(), "Pending/1");
    assert_eq!(device.see(PLACES), "p1|B|n|3");
    assert_eq!(device.see("SELECT count(*) FROM visits"), "0");
}

#[apply(each_store)]
fn failed_edit_changes_nothing_and_empty_edit_discards(store: Store) {
    let (server, mut device, id) = conflicted(store);
    let failed = decide::edit(device.engine(), id, |tx| {
        tx.execute("UPDATE places SET name = 'half' WHERE id = 'p1'", &[])?;
        tx.execute("UPDATE no_such_table SET name = 'x'", &[]).map(drop)
    });
    assert!(matches!(failed, Err(Error::InvalidInput(InputFault::Sql(_)))));
    assert_eq!(
        (device.waiting(), device.see(PLACES)),
        ("Parked:Conflicted/1".into(), "p1|theirs|n|3".into())
    );
    let nothing = decide::edit(device.engine(), id, |tx| {
        tx.execute("UPDATE places SET name = 'theirs' WHERE id = 'p1'", &[]).map(drop)
    });
    assert_eq!(nothing.unwrap(), None);
    device.sync(&server);
    assert_eq!((device.waiting(), device.see(PLACES)), (String::new(), "p1|theirs|n|3".into()));
    let gone = decide::edit(device.engine(), id, |_| Ok(()));
    assert!(matches!(gone, Err(Error::Queue(QueueFault::Unknown(_)))));
}

#[apply(each_store)]
fn client_edits_and_retries_parked_mutations(store: Store) {
    let backend = Backend::on(store);
    let served = Served::new(&backend);
    let phone = Phone::new("ana", Some(&served.url));
    // Only `sync` pushes: a rejection of the place must not come before its visit.
    phone.client.sync().set_network(Network { online: false, metered: false });
    phone.sync();
    phone.run("INSERT INTO places (id, name, score) VALUES ('p1', 'bad', 9)");
    phone.run("INSERT INTO visits (id, place_id, day) VALUES ('v1', 'p1', 'monday')");
    phone.sync();
    let pending = phone.client.queue().all().wait().unwrap();
    let [refused, visit] = pending.as_slice() else { panic!("{pending:?}") };
    assert_eq!(visit.because_of, Some(refused.id));
    assert!(matches!(
        phone.client.queue().retry(visit.id).wait(),
        Err(Error::Queue(QueueFault::ParentParked(_)))
    ));
    let panicked = phone.client.queue().edit(refused.id, |_| panic!("a panic of the app")).wait();
    assert!(matches!(panicked, Err(Error::Callback(_))), "{panicked:?}");
    let correct = |tx: &mut Transaction<'_, '_>| {
        tx.execute("UPDATE places SET score = 5 WHERE id = 'p1'", ()).map(drop)
    };
    let corrected = phone.client.queue().edit(refused.id, correct).wait().unwrap().unwrap();
    assert_eq!(phone.client.queue().retry_chain(corrected).wait().unwrap(), [visit.id]);
    phone.sync();
    assert!(phone.client.queue().all().wait().unwrap().is_empty());
    assert_eq!(backend.see("SELECT name, score FROM places"), "bad|5");
    phone.run("INSERT INTO places (id, name, score) VALUES ('p2', 'given up', 9)");
    phone.sync();
    let id = phone.client.queue().all().wait().unwrap()[0].id;
    assert_eq!(phone.client.queue().discard_chain(id).wait().unwrap(), [id]);
    assert!(phone.client.queue().all().wait().unwrap().is_empty());
}

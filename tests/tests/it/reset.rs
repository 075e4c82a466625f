//! Resets with a server: responses to earlier requests are ignored, and kept mutations are synced.

use rejoin_core::engine::reset;
use rejoin_core::engine::reset::Keep;
use rejoin_core::ids::MutationId;
use rejoin_core::sync::session::Phase;
use rejoin_core::{Error, QueueFault};
use rejoin_tests::{Backend, Device, Fault, Moment, Store};

use crate::places::{check_in_sync, each};
use crate::{apply, each_store};

const PLACES: &str = "SELECT id, name, note FROM places ORDER BY id";

/// A server with rows of two users.
fn two_users(store: Store) -> Backend {
    let server = Backend::on(store);
    server.outside(
        "INSERT INTO places (id, name, user_id) VALUES ('a1', 'of ana', 'ana'), ('a2', 'of ana', 'ana'),
         ('a3', 'of ana', 'ana'), ('b1', 'of bob', 'bob')",
    );
    server
}

fn ids(device: &mut Device) -> Vec<MutationId> {
    device.queue().into_iter().map(|mutation| mutation.id).collect()
}

#[track_caller]
fn reset(device: &mut Device, keep: Keep) {
    let named = if keep == Keep::Pending { Vec::new() } else { ids(device) };
    reset::reset(device.engine(), keep, &named).unwrap();
}

#[apply(each_store)]
fn next_user_starts_empty_after_a_reset(store: Store) {
    let server = two_users(store);
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.write("INSERT INTO places (id, name) VALUES ('a4', 'not sent')");
    device.write("UPDATE places SET note = 'not sent' WHERE id = 'a1'");
    let before = device.engine().meta("client_id").unwrap();
    "bob".clone_into(&mut device.user);
    device.crash();
    let error = device.pass(&server).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::WrongUser { pending: 2 })), "{error}");
    let refused = reset::reset(device.engine(), Keep::Nothing, &[]);
    assert!(matches!(refused, Err(Error::Queue(QueueFault::Unsent { waiting: 2 }))), "{refused:?}");
    reset(&mut device, Keep::Nothing);
    assert_eq!(device.see(PLACES), "");
    let from = device.sent.len();
    device.write("INSERT INTO places (id, name) VALUES ('b2', 'of bob too')");
    device.sync(&server);
    assert_eq!(device.see(PLACES), "b1|of bob|- b2|of bob too|-");
    check_in_sync(&mut device, &server);
    assert_ne!(device.engine().meta("client_id").unwrap(), before, "another device");
    let sent = device.sent[from..].iter().filter_map(|one| one.body.clone());
    assert!(sent.into_iter().all(|body| !String::from_utf8_lossy(&body).contains("not sent")));
    assert_eq!(
        server.see("SELECT id, note FROM places WHERE user_id = 'ana' ORDER BY id"),
        "a1|- a2|- a3|-"
    );
}

#[apply(each_store)]
fn response_to_request_before_a_reset_is_ignored(store: Store) {
    for phase in
        [Phase::Registering, Phase::FetchingSchema, Phase::Snapshot, Phase::Pushing, Phase::Pulling]
    {
        for lost in [false, true] {
            let server = two_users(store);
            let mut device = Device::bundled("ana", 1, server.manifest());
            if phase == Phase::FetchingSchema {
                device = Device::new("ana", 1);
            } else if !matches!(phase, Phase::Snapshot | Phase::Registering) {
                device.sync(&server);
                device.write("UPDATE places SET note = 'on its way' WHERE id = 'a1'");
                server.outside("UPDATE places SET name = 'changed' WHERE user_id = 'ana'");
            }
            device.until(&server, phase).unwrap();
            reset(&mut device, Keep::Local);
            if lost {
                device.faults.push_back(Fault::AnswerLost);
            }
            let error = device.step(&server).unwrap_err().to_string();
            assert!(lost || error.contains("reset"), "{phase:?}: {error}");
            for fact in ["subject", "epoch", "cursor", "first_sync", "client_id"] {
                assert_eq!(device.engine().meta(fact).unwrap(), None, "{phase:?} {fact}");
            }
            let rows = if device.engine().schema().manifest.is_some() {
                device.see(PLACES)
            } else {
                String::new()
            };
            assert_eq!(rows, "", "{phase:?}");
            // Sent mutations belong to the former user; the file to the next one.
            "bob".clone_into(&mut device.user);
            device.sync(&server);
            assert_eq!(device.see(PLACES), "b1|of bob|-", "{phase:?}");
            check_in_sync(&mut device, &server);
        }
    }
}

#[apply(each_store)]
fn reset_between_two_requests_ends_the_pass(store: Store) {
    let server = two_users(store);
    let mut device = Device::new("ana", 1);
    device.until(&server, Phase::Snapshot).unwrap();
    device.step(&server).unwrap();
    reset(&mut device, Keep::Nothing);
    let sent = device.sent.len();
    let error = device.prepare().unwrap_err().to_string();
    assert!(error.contains("reset"), "{error}");
    assert_eq!(device.sent.len(), sent, "nothing is sent with the former user's credentials");
    "bob".clone_into(&mut device.user);
    device.sync(&server);
    assert_eq!(device.see(PLACES), "b1|of bob|-");
}

/// A device with every kind of pending mutation: an insert, an edit, a delete, a parked one, and an
/// uncertain one.
fn of_every_kind(server: &Backend) -> Device {
    let mut device = Device::with("ana", 1, None, |config| config.batch_size = 2);
    device.sync(server);
    device.write("INSERT INTO places (id, name, score) VALUES ('bad', 'refused', 9)");
    device.sync(server);
    device.write("INSERT INTO places (id, name) VALUES ('a4', 'uncertain')");
    device.write("UPDATE places SET name = 'uncertain' WHERE id = 'a1'");
    device.lose_push(server, Fault::AnswerLost);
    device.write("UPDATE places SET note = 'pending' WHERE id = 'a1'");
    device.write("UPDATE places SET note = 'pending' WHERE id = 'a4'");
    device.write("DELETE FROM places WHERE id = 'a2'");
    device.write("UPDATE places SET name = 'mine' WHERE id = 'a3'");
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'a3'");
    assert_eq!(
        device.waiting(),
        "Parked:Rejected/1 Uncertain/1 Uncertain/1 Pending/1 Pending/1 Pending/1 Pending/1"
    );
    device
}

#[apply(each_store)]
fn edits_kept_by_a_reset_get_their_verdicts(store: Store) {
    // With a crash at each moment of what follows.
    for crash_at in (0..10).step_by(each(store, 4)) {
        let server = two_users(store);
        let mut device = of_every_kind(&server);
        let before = ids(&mut device);
        reset::reset(device.engine(), Keep::Pending, &[]).unwrap();
        assert_eq!(ids(&mut device), before);
        assert_eq!(
            device.see(PLACES),
            "a4|uncertain|pending",
            "rows that the app created need no server"
        );
        for _ in 0..crash_at {
            if matches!(device.step(&server).unwrap(), Moment::Finished(_)) {
                break;
            }
        }
        device.crash();
        device.sync(&server);
        device.sync(&server);
        assert_eq!(device.waiting(), "Parked:Rejected/1 Parked:Conflicted/1", "{crash_at}");
        assert_eq!(
            server.see("SELECT id, name, note FROM places WHERE user_id = 'ana' ORDER BY id"),
            "a1|uncertain|pending a3|theirs|- a4|uncertain|pending"
        );
        assert_eq!(
            device.see(PLACES),
            server.see("SELECT id, name, note FROM places WHERE user_id = 'ana' ORDER BY id")
        );
        check_in_sync(&mut device, &server);
        let doubled = "SELECT count(*) - count(DISTINCT mutation_id) FROM rejoin_verdict WHERE ending = 'accepted'";
        assert_eq!(server.see(doubled), "0");
    }
}

#[apply(each_store)]
fn reset_that_keeps_the_queue_still_detects_a_restore(store: Store) {
    let mut server = two_users(store);
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    let backup = server.backup();
    device.write("INSERT INTO places (id, name) VALUES ('a4', 'accepted')");
    device.sync(&server);
    reset::reset(device.engine(), Keep::Pending, &[]).unwrap();
    server.restore(&backup);
    device.sync(&server);
    device.sync(&server);
    assert_eq!(server.see("SELECT name FROM places WHERE id = 'a4'"), "accepted");
    check_in_sync(&mut device, &server);
}

#[apply(each_store)]
fn push_in_flight_is_sent_again_after_reset_keeping_queue(store: Store) {
    for lost in [false, true] {
        let server = two_users(store);
        let mut device = Device::new("ana", 1);
        device.sync(&server);
        device.write("UPDATE places SET note = 'in flight' WHERE id = 'a1'");
        device.until(&server, Phase::Pushing).unwrap();
        reset::reset(device.engine(), Keep::Pending, &[]).unwrap();
        if lost {
            device.faults.push_back(Fault::AnswerLost);
        }
        device.step(&server).unwrap_err();
        device.sync(&server);
        device.sync(&server);
        assert_eq!(device.waiting(), "", "lost: {lost}");
        assert_eq!(server.see("SELECT note FROM places WHERE id = 'a1'"), "in flight");
        check_in_sync(&mut device, &server);
    }
}

/// Regression (rows seed 25012206): the response to a push without any acceptance carried a tip
/// older than the cursor, and the reset dropped the cursor.
#[apply(each_store)]
fn reset_after_rejected_push_still_detects_a_restore(store: Store) {
    let mut server = two_users(store);
    let (mut device, mut other) = (Device::new("ana", 1), Device::new("bob", 2));
    device.sync(&server);
    other.sync(&server);
    let backup = server.backup();
    device.write("INSERT INTO places (id, name) VALUES ('a4', 'accepted')");
    device.sync(&server);
    device.write("INSERT INTO places (id, name, score) VALUES ('bad', 'refused', 9)");
    device.until(&server, Phase::Pushing).unwrap();
    device.step(&server).unwrap();
    assert_eq!(device.waiting(), "Parked:Rejected/1");
    server.restore(&backup);
    for at in 0..3 {
        other.write(&format!("INSERT INTO places (id, name) VALUES ('b{at}x', 'later')"));
    }
    other.sync(&server);
    // After this no earlier position can be compared.
    let shelves = "CREATE TABLE shelves (id TEXT PRIMARY KEY, name TEXT, user_id TEXT, \
                   updated_at TEXT, deleted_at TEXT)";
    server.add_table(shelves, "shelves");
    reset::reset(device.engine(), Keep::Pending, &[]).unwrap();
    device.sync(&server);
    device.sync(&server);
    assert_eq!(server.see("SELECT name FROM places WHERE id = 'a4'"), "accepted");
    check_in_sync(&mut device, &server);
}

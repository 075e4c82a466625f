//! Inspection of a device's file from outside, while the device works.

use rejoin_core::sync::rows::digest;
use rejoin_core::{Inspection, MutationState, ParkReason};
use rejoin_tests::{Backend, Device, Fault};

/// A device with one edit in each durable state.
fn of_all_states(server: &Backend) -> Device {
    server.outside(
        "INSERT INTO places (id, name, score, user_id) VALUES ('p1', 'A', 1, 'ana'), ('p2', 'B', 2, 'ana')",
    );
    let mut device = Device::new("ana", 1);
    device.sync(server);
    device.write("UPDATE places SET name = 'accepted' WHERE id = 'p1'");
    device.write("UPDATE places SET score = 9 WHERE id = 'p2'");
    device.sync(server);
    device.write("INSERT INTO places (id, name) VALUES ('p3', 'unheard')");
    device.faults.push_back(Fault::AnswerLost);
    let _ = device.pass(server);
    device.write("DELETE FROM places WHERE id = 'p1'");
    device
}

#[test]
fn inspection_of_an_open_file_changes_nothing() {
    let server = Backend::new();
    let mut device = of_all_states(&server);
    let bytes = |device: &Device| {
        let log = device.path().with_extension("db-wal");
        (std::fs::read(device.path()).unwrap(), std::fs::read(log).unwrap())
    };
    let before = bytes(&device);
    let found = Inspection::of(device.path()).unwrap();
    assert!(bytes(&device) == before, "the file is as it was");

    let states: Vec<_> = found.queue.iter().map(|one| (one.state, one.reason)).collect();
    let expected = [
        (MutationState::Parked, Some(ParkReason::Rejected)),
        (MutationState::Uncertain, None),
        (MutationState::Pending, None),
    ];
    assert_eq!(states, expected);
    let of_history = &found.history[0].rows[0];
    assert_eq!((found.history.len(), of_history.columns[0].new.as_text()), (1, Some("accepted")));

    let places = found.tables.iter().find(|table| table.name == "places").unwrap();
    assert_eq!(
        (places.rows, places.base_rows),
        (2, 2),
        "p3 is seen and p1 is not; p1 and p2 are the server's"
    );
    assert_eq!(places.digest, digest::digest(device.engine(), "places").unwrap().sum_text());

    device.write("UPDATE places SET note = 'goes on' WHERE id = 'p3'");
    device.sync(&server);
    assert_eq!(server.see("SELECT note FROM places WHERE id = 'p3'"), "goes on");
}

#[test]
fn file_copy_without_its_log_can_be_inspected() {
    let server = Backend::new();
    let mut device = of_all_states(&server);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("sent.db");
    std::fs::write(&copy, device.backup()).unwrap();
    let original = Inspection::of(device.path()).unwrap();
    let found = Inspection::of(&copy).unwrap();
    assert_eq!((found.queue, found.history), (original.queue, original.history));
}

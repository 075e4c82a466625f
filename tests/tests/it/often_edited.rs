//! A row that the app edits again and again: each edit is a mutation of its own, and most of them
//! are pushed while many later ones wait.

use rejoin_core::sync::session::Phase;
use rejoin_tests::{Backend, Device, Fault, Store};

use crate::{apply, each_store};

const PLACE: &str = "SELECT note, score FROM places WHERE id = 'p1'";

/// A server with one row, and two devices that have it.
fn place(store: Store) -> (Backend, Device, Device) {
    let server = Backend::on(store);
    server.outside(
        "INSERT INTO places (id, name, note, score, user_id) VALUES ('p1', 'A', 'n', 1, 'ana')",
    );
    let [mut one, mut two] = [1, 2].map(|seed| Device::new("ana", seed));
    one.sync(&server);
    two.sync(&server);
    (server, one, two)
}

fn edit(device: &mut Device, numbers: std::ops::Range<u32>) {
    for n in numbers {
        device.write(&format!("UPDATE places SET note = 'note {n}' WHERE id = 'p1'"));
    }
}

/// Sends so many pushes.
fn push(device: &mut Device, server: &Backend, count: usize) {
    for _ in 0..count {
        device.until(server, Phase::Pushing).unwrap();
        device.step(server).unwrap();
    }
}

#[apply(each_store)]
fn another_devices_column_is_kept_between_many_edits(store: Store) {
    let (server, mut one, mut two) = place(store);
    edit(&mut one, 0..300);
    push(&mut one, &server, 2);
    two.write("UPDATE places SET score = 4 WHERE id = 'p1'");
    two.sync(&server);
    one.sync(&server);
    assert_eq!((one.waiting(), server.see(PLACE)), (String::new(), "note 299|4".into()));
    assert_eq!(one.see(PLACE), server.see(PLACE));
}

#[apply(each_store)]
fn many_edits_that_another_device_overtakes_conflict_or_win(store: Store) {
    let (server, mut one, mut two) = place(store);
    edit(&mut one, 0..300);
    push(&mut one, &server, 2);
    two.sync(&server);
    two.write("UPDATE places SET note = 'theirs' WHERE id = 'p1'");
    two.sync(&server);
    one.sync(&server);
    let parked = one.queue();
    assert!(!parked.is_empty(), "an edit was based on a value that the row no longer had");
    assert_eq!((one.see(PLACE), server.see(PLACE)), ("theirs|1".into(), "theirs|1".into()));
}

#[apply(each_store)]
fn refused_edit_among_many_leaves_the_accepted_ones(store: Store) {
    let (server, mut one, _) = place(store);
    edit(&mut one, 0..200);
    one.write("UPDATE places SET score = 99 WHERE id = 'p1'");
    edit(&mut one, 200..300);
    one.sync(&server);
    assert_eq!((one.see(PLACE), server.see(PLACE)), ("note 299|1".into(), "note 299|1".into()));
    assert_eq!(one.waiting(), "Parked:Rejected/1");
}

#[apply(each_store)]
fn row_deleted_between_many_edits_stays_deleted(store: Store) {
    let (server, mut one, mut two) = place(store);
    edit(&mut one, 0..300);
    push(&mut one, &server, 2);
    two.sync(&server);
    two.write("DELETE FROM places WHERE id = 'p1'");
    two.sync(&server);
    one.sync(&server);
    assert_eq!((one.see(PLACE), one.queue().is_empty()), (String::new(), false));
}

#[apply(each_store)]
fn many_edits_survive_each_fault_between_pushes(store: Store) {
    for fault in Fault::ALL {
        let (server, mut one, _) = place(store);
        edit(&mut one, 0..300);
        push(&mut one, &server, 2);
        one.until(&server, Phase::Pushing).unwrap();
        one.faults.push_back(fault);
        drop(one.step(&server));
        one.crash();
        one.sync(&server);
        assert_eq!((one.waiting(), one.see(PLACE)), (String::new(), "note 299|1".into()));
        assert_eq!(server.see(PLACE), "note 299|1");
    }
}

/// Each transaction counts in one row and adds another.
#[apply(each_store)]
fn counter_beside_new_rows_is_accepted(store: Store) {
    let (server, mut one, _) = place(store);
    for n in 0..200 {
        one.write(&format!("INSERT INTO places (id, name) VALUES ('new {n}', 'x')"));
        one.write(&format!("UPDATE places SET note = 'note {n}' WHERE id IN ('p1', 'new {n}')"));
    }
    one.sync(&server);
    let all = "SELECT count(*), count(DISTINCT note), max(score) FROM places";
    assert_eq!((one.waiting(), one.see(all)), (String::new(), "201|200|1".into()));
    assert_eq!(server.see(all), "201|200|1");
}

//! Copies of a device's file, and older copies that come back: nothing is lost, nothing is applied
//! twice, and every edit has its verdict on each copy. Databases and logs are copied byte for byte,
//! in the middle of operations.

use std::collections::BTreeSet;

use rejoin_core::engine::queue::mutation::{MutationState, ParkReason};
use rejoin_core::engine::rebase::decide;
use rejoin_core::sync::rows::digest;
use rejoin_core::sync::session::Phase;
use rejoin_tests::{Backend, Device, Fault, Moment, Store};

use crate::{apply, each_store};

const PLACES: &str = "SELECT id, name, note FROM places ORDER BY id";

/// A server that records each name that a place was ever given, and a synced device.
fn beginning(store: Store, batch: u32) -> (Backend, Device) {
    let server = Backend::on(store);
    server.outside_by(
        "CREATE TABLE audit (name TEXT);
         CREATE TRIGGER made AFTER INSERT ON places BEGIN INSERT INTO audit VALUES (NEW.name); END;
         CREATE TRIGGER named AFTER UPDATE OF name ON places WHEN OLD.name IS NOT NEW.name
         BEGIN INSERT INTO audit VALUES (NEW.name); END",
        "CREATE TABLE audit (name TEXT);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO audit VALUES (NEW.name); RETURN NULL; END $$;
         CREATE TRIGGER made AFTER INSERT ON places FOR EACH ROW EXECUTE FUNCTION note();
         CREATE TRIGGER named AFTER UPDATE ON places FOR EACH ROW WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION note()",
    );
    server
        .outside("INSERT INTO places (id, name, note, user_id) VALUES ('p0', 'there', '-', 'ana')");
    let mut device = Device::with("ana", 1, None, |config| config.batch_size = batch);
    device.sync(&server);
    (server, device)
}

/// Every mutation that these devices ever queued.
#[derive(Default)]
struct MutationSet(BTreeSet<String>);

impl MutationSet {
    fn note(&mut self, device: &mut Device) {
        self.0.extend(device.queue().into_iter().map(|mutation| mutation.id.to_string()));
    }

    /// Each is accepted on the server, once and under its own id, or parked on every device that
    /// has it.
    #[track_caller]
    fn balance(&self, server: &Backend, devices: &mut [&mut Device], refused: usize) {
        let accepted = "SELECT mutation_id FROM rejoin_verdict WHERE ending = 'accepted'";
        let accepted: BTreeSet<String> =
            server.see(accepted).split_whitespace().map(str::to_owned).collect();
        let open: BTreeSet<&String> = self.0.difference(&accepted).collect();
        assert_eq!(open.len(), refused, "not accepted: {open:?}");
        assert!(accepted.is_subset(&self.0), "the server has a mutation that no device wrote");
        let doubled = "SELECT name FROM audit GROUP BY name HAVING count(*) > 1";
        assert_eq!(server.see(doubled), "", "applied twice");
        for device in devices {
            for mutation in device.queue() {
                assert_eq!(mutation.state, MutationState::Parked, "{mutation:?}");
                assert!(open.contains(&mutation.id.to_string()), "parked though applied");
            }
            assert_eq!(device.see(PLACES), server.see(PLACES));
            let digest = digest::digest(device.engine(), "places").unwrap();
            assert_eq!(digest, server.digest("ana", "places"));
        }
    }
}

fn id_of(device: &mut Device) -> String {
    device.engine().meta("client_id").unwrap().unwrap()
}

#[apply(each_store)]
fn two_running_copies_of_a_file_become_two_devices(store: Store) {
    let (server, mut one) = beginning(store, 100);
    one.write("INSERT INTO places (id, name) VALUES ('p1', 'before the copy')");
    let mut two = one.copy(2);
    one.crash();
    // Each counts the same number of openings now, so the count alone cannot distinguish them.
    one.sync(&server);
    two.sync(&server);
    assert_ne!(id_of(&mut one), id_of(&mut two));
    let known = "SELECT count(*) FROM rejoin_client";
    assert_eq!(server.see(known), "2");
    // From now on they are two independent devices, in whatever order they are opened.
    let ids = (id_of(&mut one), id_of(&mut two));
    for round in 0..4 {
        one.write(&format!("INSERT INTO places (id, name) VALUES ('a{round}', 'one {round}')"));
        two.write(&format!("INSERT INTO places (id, name) VALUES ('b{round}', 'two {round}')"));
        if round % 2 == 0 {
            one.crash();
        }
        two.crash();
        one.sync(&server);
        two.sync(&server);
    }
    one.sync(&server);
    assert_eq!((id_of(&mut one), id_of(&mut two)), ids);
    assert_eq!(server.see(known), "2");
    assert_eq!(one.see(PLACES), two.see(PLACES));
    assert_eq!(one.see(PLACES), server.see(PLACES));
}

/// The queue of the device when it is copied: five mutations, one that the server refuses and one
/// that depends on it.
fn queue(device: &mut Device, mutations: &mut MutationSet) {
    device.write("INSERT INTO places (id, name) VALUES ('p1', 'first')");
    device.write("UPDATE places SET name = 'renamed' WHERE id = 'p0'");
    device.write("INSERT INTO places (id, name, score) VALUES ('p2', 'refused', 9)");
    device.write("UPDATE places SET note = 'stands on it' WHERE id = 'p2'");
    device.write("UPDATE places SET note = 'last' WHERE id = 'p1'");
    mutations.note(device);
}

/// Both copies continue and write more, in this order.
fn both_run(
    server: &Backend,
    one: &mut Device,
    two: &mut Device,
    mutations: &mut MutationSet,
    swapped: bool,
) {
    one.write("INSERT INTO places (id, name) VALUES ('p3', 'by the first')");
    two.write("INSERT INTO places (id, name) VALUES ('p4', 'by the second')");
    two.write("UPDATE places SET note = 'by the second' WHERE id = 'p0'");
    mutations.note(one);
    mutations.note(two);
    let (first, second) = if swapped { (two, one) } else { (one, two) };
    for _ in 0..2 {
        first.sync(server);
        first.deliver_late(server);
        second.sync(server);
        second.deliver_late(server);
    }
    first.sync(server);
    mutations.balance(server, &mut [first, second], 2);
}

#[apply(each_store)]
fn file_copy_during_push_loses_and_doubles_nothing(store: Store) {
    let (mut on_their_way, mut uncertain, mut midway) = (0, 0, 0);
    for step in (0..12).step_by(if store == Store::Postgres { 4 } else { 2 }) {
        for (fault, swapped) in [
            (None, false),
            (None, true),
            (Some(Fault::AnswerLost), false),
            (Some(Fault::AnswerLost), true),
            (Some(Fault::Late), false),
            (Some(Fault::Late), true),
        ] {
            let (server, mut one) = beginning(store, 2);
            let mut mutations = MutationSet::default();
            queue(&mut one, &mut mutations);
            for _ in 0..step {
                if matches!(one.prepare().unwrap(), Moment::Finished(_)) {
                    break;
                }
                one.step(&server).unwrap();
            }
            // The sent state was committed before the first byte was sent: the copy has it too.
            let leaving = one.prepare().unwrap();
            on_their_way += usize::from(leaving == Moment::Leaving(Phase::Pushing));
            let mut two = one.copy(2);
            uncertain += usize::from(two.waiting().contains("Uncertain"));
            midway += usize::from((1..5).contains(&two.queue().len()));
            one.faults.extend(fault);
            both_run(&server, &mut one, &mut two, &mut mutations, swapped);
        }
    }
    let least = if store == Store::Postgres { 2 } else { 5 };
    assert!(
        on_their_way > least && uncertain > least && midway > least,
        "{on_their_way} {uncertain} {midway}"
    );
}

#[apply(each_store)]
fn copy_does_not_repeat_an_edit_undone_since(store: Store) {
    let (server, mut one) = beginning(store, 100);
    one.write("UPDATE places SET name = 'mine' WHERE id = 'p0'");
    let mut two = one.copy(2);
    let mut mutations = MutationSet::default();
    mutations.note(&mut one);
    one.crash();
    one.sync(&server);
    assert_eq!(server.see("SELECT name FROM places"), "mine");
    // By its content alone the edit would apply again.
    server.outside("UPDATE places SET name = 'there' WHERE id = 'p0'; DELETE FROM audit");
    two.sync(&server);
    one.sync(&server);
    assert_eq!(server.see("SELECT name FROM places"), "there");
    assert_eq!((one.waiting(), two.waiting()), (String::new(), String::new()));
    mutations.balance(&server, &mut [&mut one, &mut two], 0);
}

#[apply(each_store)]
fn retry_in_one_copy_finds_push_of_the_other(store: Store) {
    let (server, mut one) = beginning(store, 100);
    one.write("UPDATE places SET note = 'sent' WHERE id = 'p0'");
    one.until(&server, Phase::Pulling).unwrap();
    one.write("UPDATE places SET name = 'mine' WHERE id = 'p0'");
    let mut two = one.copy(2);
    two.sync(&server);
    server.outside("UPDATE places SET name = 'theirs' WHERE id = 'p0'");
    // The file that keeps its device id does not learn of the other, and meets the row before it
    // registers.
    one.pass(&server).unwrap();
    let parked = one.queue().remove(0);
    assert_eq!(
        (parked.state, parked.reason),
        (MutationState::Parked, Some(ParkReason::Conflicted))
    );
    decide::retry(one.engine(), parked.id).unwrap();
    one.sync(&server);
    assert_eq!(one.waiting(), "");
    assert_eq!(server.see(PLACES), "p0|theirs|sent");
    assert_eq!(one.see(PLACES), server.see(PLACES));
}

#[apply(each_store)]
fn restored_server_accepts_lost_edits_of_two_copies_once(store: Store) {
    let (mut server, mut one) = beginning(store, 100);
    let backup = server.backup();
    let mut mutations = MutationSet::default();
    one.write("INSERT INTO places (id, name) VALUES ('p1', 'lost by the restore')");
    mutations.note(&mut one);
    one.sync(&server);
    one.write("UPDATE places SET note = 'pending' WHERE id = 'p1'");
    mutations.note(&mut one);
    let mut two = one.copy(2);
    one.crash();
    server.restore(&backup);
    one.sync(&server);
    two.write("UPDATE places SET name = 'renamed by the copy' WHERE id = 'p0'");
    mutations.note(&mut two);
    two.sync(&server);
    one.sync(&server);
    mutations.balance(&server, &mut [&mut one, &mut two], 0);
    assert_eq!(server.see(PLACES), "p0|renamed by the copy|- p1|lost by the restore|pending");
}

#[apply(each_store)]
fn older_file_copy_pushes_its_queue_and_catches_up(store: Store) {
    let (server, mut device) = beginning(store, 100);
    let mut mutations = MutationSet::default();
    device.write("INSERT INTO places (id, name) VALUES ('p1', 'in the backup, sent later')");
    device.write("UPDATE places SET name = 'in the backup' WHERE id = 'p0'");
    mutations.note(&mut device);
    let backup = device.backup();
    device.sync(&server);
    device.write("UPDATE places SET note = 'after the backup' WHERE id = 'p1'");
    device.write("INSERT INTO places (id, name) VALUES ('p2', 'after the backup')");
    mutations.note(&mut device);
    device.sync(&server);
    device.write("DELETE FROM places WHERE id = 'p2'");
    let old = id_of(&mut device);
    device.restore(&backup);
    // Its numbers restart where the backup ended: other mutations had them, and have their
    // verdicts.
    device.write("INSERT INTO places (id, name) VALUES ('p3', 'under a number given before')");
    device.write("UPDATE places SET note = 'of the restored' WHERE id = 'p0'");
    mutations.note(&mut device);
    device.sync(&server);
    device.sync(&server);
    assert_ne!(id_of(&mut device), old, "the server knows a later opening");
    assert_eq!(device.waiting(), "");
    mutations.balance(&server, &mut [&mut device], 0);
    // Only mutations that had never been sent are lost with the file.
    assert_eq!(server.see("SELECT id FROM places ORDER BY id"), "p0 p1 p2 p3");
}

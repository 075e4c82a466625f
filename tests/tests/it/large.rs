//! Transactions that are larger than one request travel in parts, and are applied as a whole.

use rejoin_core::engine::rebase::decide;
use rejoin_core::sync::session::Request;
use rejoin_protocol::wire::path;
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Device, Fault, Moment, Store};

use crate::{apply, each_store};

const ALL: &str =
    "SELECT count(*), coalesce(sum(length(note)), 0), coalesce(sum(score), 0) FROM places";

/// Inserts rows whose note has so many characters, as one statement.
fn rows(count: usize, length: usize) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO places (id, name, note, score)
         SELECT 'n' || i, 'new', replace(hex(zeroblob({length} / 2)), '0', 'x'), 3 FROM n"
    )
}

fn backend(store: Store, limits: Limits) -> (Backend, Device) {
    let tables = vec![TableConfig::owned("places", "user_id")];
    let server = Backend::made(store, rejoin_tests::tables::SERVER, tables, limits);
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    (server, device)
}

fn parts(device: &Device) -> Vec<&Request> {
    device.sent.iter().filter(|one| one.path.starts_with(path::STAGE)).collect()
}

#[apply(each_store)]
fn transaction_of_many_rows_is_accepted(store: Store) {
    let (server, mut device) = backend(store, Limits::default());
    device.write(&rows(12_000, 10));
    let report = device.sync(&server);
    assert_eq!((report.accepted, report.parked, device.waiting()), (1, 0, String::new()));
    assert_eq!(server.see(ALL), "12000|120000|36000");
    assert_eq!(device.see(ALL), server.see(ALL));
    device.write("UPDATE places SET score = 4");
    device.sync(&server);
    device.write("DELETE FROM places");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    assert_eq!((server.see(ALL), device.see(ALL)), ("0|0|0".into(), "0|0|0".into()));
    let mut other = Device::new("ana", 2);
    other.sync(&server);
    assert_eq!(other.see(ALL), "0|0|0");
}

#[apply(each_store)]
fn value_larger_than_a_request_is_accepted(store: Store) {
    let (server, mut device) = backend(store, Limits::default());
    device.write(&rows(1, 9 << 20)).write("INSERT INTO places (id, name) VALUES ('small', 's')");
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    assert_eq!(server.see("SELECT id, length(note) FROM places ORDER BY id"), "n1|9437184 small|-");
    assert!(parts(&device).len() > 9, "{}", parts(&device).len());
    let mut other = Device::new("ana", 2);
    other.sync(&server);
    assert_eq!(other.see(ALL), server.see(ALL));
}

/// Requests of at most 20,000 bytes: the content has six parts, or one more.
fn small(store: Store) -> (Backend, Device) {
    let limits = Limits { body: 20_000, ..Limits::default() };
    let (server, mut device) = backend(store, limits);
    device.write(&rows(100, 1_000));
    (server, device)
}

#[apply(each_store)]
fn upload_survives_each_fault_of_each_request(store: Store) {
    let (server, mut device) = small(store);
    device.sync(&server);
    let all = device.sent.len();
    assert_eq!(parts(&device).len(), 7);
    let every = if store == Store::Sqlite { 3 } else { 7 };
    for (number, fault) in Fault::ALL.into_iter().chain([Fault::TooLarge]).enumerate() {
        for at in (number % every..all).step_by(every) {
            let (server, mut device) = small(store);
            let mut sent = 0;
            loop {
                if sent == at {
                    device.faults.push_back(fault);
                }
                sent += 1;
                if !matches!(device.step(&server), Ok(Moment::Leaving(_))) {
                    break;
                }
            }
            device.deliver_late(&server);
            device.sync(&server);
            assert_eq!(device.waiting(), "", "{fault:?} at {at}");
            assert_eq!(server.see(ALL), "100|100000|300", "{fault:?} at {at}");
            assert_eq!(device.see(ALL), server.see(ALL), "{fault:?} at {at}");
        }
    }
}

/// One after the other, without waiting for another pass, and each content is made a bounded number of
/// times.
#[test]
fn several_large_mutations_are_sent_in_one_pass() {
    let limits = Limits { body: 20_000, ..Limits::default() };
    let (server, mut device) = backend(Store::Sqlite, limits);
    for number in 0..5 {
        device.write(&rows(30, 1_000).replace("'n'", &format!("'n{number} '")));
    }
    device.write("INSERT INTO places (id, name) VALUES ('small', 's')");
    let report = device.pass(&server).unwrap();
    assert_eq!((report.accepted, report.parked, device.waiting()), (6, 0, String::new()));
    assert_eq!(server.see(ALL), "151|150000|450");
    let pushes: Vec<usize> = device
        .sent
        .iter()
        .enumerate()
        .filter(|(_, one)| one.path == path::PUSH)
        .map(|(at, _)| at)
        .collect();
    let first_part = device.sent.iter().position(|one| one.path.starts_with(path::STAGE)).unwrap();
    assert!(pushes[0] < first_part, "the small one first");
    assert_eq!(pushes.len(), 6);
}

#[apply(each_store)]
fn mutation_discarded_during_its_upload_is_not_sent(store: Store) {
    let (server, mut device) = small(store);
    while parts(&device).len() < 3 {
        device.step(&server).unwrap();
    }
    let id = device.queue()[0].id;
    decide::discard(device.engine(), id).unwrap();
    let sent = device.sent.len();
    device.sync(&server);
    assert!(device.sent.len() < sent + 10, "{} requests", device.sent.len() - sent);
    assert_eq!((device.waiting(), server.see(ALL)), (String::new(), "0|0|0".into()));
    assert_eq!(device.see(ALL), "0|0|0");
}

//! Shared code of scenarios with places: servers, devices, and the comparison.

use rejoin_core::sync::rows::digest;
use rejoin_core::sync::session::Phase;
use rejoin_tests::{Backend, Device, Fault, Moment, Store, cases};

pub(crate) const IDS: &str = "SELECT id FROM places ORDER BY id";
pub(crate) const PLACES: &str = "SELECT id, name, note, score FROM places ORDER BY id";

/// A server with `count` places of Ana's (`p1`, ...), and a new device with pages of this size.
pub(crate) fn places(store: Store, count: usize, page: u32) -> (Backend, Device) {
    let server = Backend::on(store);
    let rows: Vec<String> =
        (1..=count).map(|number| format!("('p{number}', 'A', 'n', 3, 'ana')")).collect();
    server.outside(&format!(
        "INSERT INTO places (id, name, note, score, user_id) VALUES {}",
        rows.join(", ")
    ));
    (server, Device::with("ana", 1, None, |config| config.page_size = page))
}

/// A server with one place of Ana's, and a synced device of hers.
pub(crate) fn one_place(store: Store) -> (Backend, Device) {
    let (server, mut device) = places(store, 1, 100);
    device.sync(&server);
    (server, device)
}

/// The device applies this many pages of a snapshot.
#[track_caller]
pub(crate) fn pages(device: &mut Device, server: &Backend, count: usize) {
    let mut pages = 0;
    while pages < count {
        match device.step(server).unwrap() {
            Moment::Leaving(Phase::Snapshot) => pages += 1,
            Moment::Leaving(_) => {}
            Moment::Finished(report) => panic!("over after {pages} pages: {report:?}"),
        }
    }
}

/// Compacts the server's log past devices that have not read it by now.
pub(crate) fn compact_past_cursor(server: &Backend, change: &str) {
    server.outside(change);
    server.clock.advance(400 * 86_400_000_000);
    Device::new("ana", 99).sync(server);
    server.compact();
}

/// Over PostgreSQL only the faults by which a request arrives twice, late or not at all.
pub(crate) fn faults(store: Store) -> Vec<Fault> {
    match store {
        Store::Sqlite => Fault::ALL.to_vec(),
        Store::Postgres => vec![Fault::RequestLost, Fault::AnswerLost, Fault::Doubled, Fault::Late],
    }
}

/// Step width of a loop over moments. Over PostgreSQL each takes a database, so only one of `other`
/// runs.
pub(crate) fn each(store: Store, other: usize) -> usize {
    if store == Store::Postgres && cases(1) == 1 { other } else { 1 }
}

/// The device has the rows that the server has for its user.
#[track_caller]
pub(crate) fn check_in_sync(device: &mut Device, server: &Backend) {
    let user = device.user.clone();
    for table in ["places", "visits"] {
        assert_eq!(
            digest::digest(device.engine(), table).unwrap(),
            server.digest(&user, table),
            "{table}"
        );
    }
    let theirs = PLACES.replace("ORDER", &format!("WHERE user_id = '{user}' ORDER"));
    assert_eq!(device.see(PLACES), server.see(&theirs));
}

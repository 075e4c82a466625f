//! First sync: pages are written directly to the tables while the app already works, and the
//! following pull makes them one consistent state.

use std::cell::RefCell;
use std::time::Duration;

use rejoin_core::sync::session::{Phase, Request, Response};
use rejoin_protocol::wire::snapshot::SnapshotResponse;
use rejoin_tests::{Backend, Device, Fault, Moment, Peer, Store, cases};
use serde_json::Value;

use crate::places::{IDS, check_in_sync, compact_past_cursor, pages, places};
use crate::{apply, each_store};

/// A server with nine places of Ana's, and a device with a page size of three.
fn nine_places(store: Store) -> (Backend, Device) {
    places(store, 9, 3)
}

#[apply(each_store)]
fn pages_are_applied_directly_and_status_is_partial(store: Store) {
    let (server, mut device) = nine_places(store);
    assert_eq!(device.engine().meta("first_sync").unwrap(), None);
    pages(&mut device, &server, 1);
    assert_eq!(device.see(IDS), "p1 p2 p3", "seen at once");
    assert_eq!(device.engine().meta("first_sync").unwrap().as_deref(), Some("partial"));
    let progress = device.progress();
    assert_eq!((progress.phase, progress.done, progress.total), (Phase::Snapshot, 3, Some(9)));
    let report = device.sync(&server);
    assert!(report.first_sync_done);
    assert_eq!(report.pulled, 9);
    assert_eq!(device.engine().meta("first_sync").unwrap().as_deref(), Some("done"));
    check_in_sync(&mut device, &server);
}

#[apply(each_store)]
fn first_sync_resumes_after_crash_between_any_two_pages(store: Store) {
    for crash_after in 1..=3 {
        let (server, mut device) = nine_places(store);
        pages(&mut device, &server, crash_after);
        let before = device.sent.len();
        device.crash();
        device.sync(&server);
        check_in_sync(&mut device, &server);
        let asked = device.sent[before..].iter().filter(|one| one.phase == Phase::Snapshot);
        assert!(
            asked.count() <= 4 - crash_after,
            "pages that were applied are not requested again"
        );
    }
}

#[apply(each_store)]
fn first_sync_survives_every_fault_in_every_exchange(store: Store) {
    // Each exchange meets some of the faults, and each fault meets some of the exchanges.
    let each = if store == Store::Postgres || cases(1) == 1 { 5 } else { 1 };
    for (number, fault) in Fault::ALL.into_iter().enumerate() {
        for at in (number % each..7).step_by(each) {
            let (server, mut device) = nine_places(store);
            device.faults.extend(std::iter::repeat_n(Fault::Doubled, at).chain([fault]));
            device.sync(&server);
            device.crash();
            device.deliver_late(&server);
            device.sync(&server);
            check_in_sync(&mut device, &server);
        }
    }
}

#[apply(each_store)]
fn local_writes_during_first_sync_are_kept_and_pushed(store: Store) {
    let (server, mut device) = nine_places(store);
    pages(&mut device, &server, 1);
    device.write("UPDATE places SET name = 'mine' WHERE id = 'p2'");
    device.write(
        "INSERT INTO places (id, name) VALUES ('p0', 'before the page'), ('p45', 'after it')",
    );
    device.write("DELETE FROM places WHERE id = 'p3'");
    device.crash();
    pages(&mut device, &server, 1);
    device.write("UPDATE places SET note = 'mine too' WHERE id = 'p4'");
    let report = device.sync(&server);
    assert_eq!(report.parked, 0, "{}", device.waiting());
    device.sync(&server);
    assert_eq!(device.waiting(), "");
    check_in_sync(&mut device, &server);
    assert_eq!(server.see("SELECT name FROM places WHERE id = 'p2'"), "mine");
    assert_eq!(server.see("SELECT note FROM places WHERE id = 'p4'"), "mine too");
    assert_eq!(device.see(IDS), "p0 p1 p2 p4 p45 p5 p6 p7 p8 p9");
}

#[apply(each_store)]
fn pull_starts_at_the_cursor_of_the_first_page(store: Store) {
    let (server, mut device) = nine_places(store);
    pages(&mut device, &server, 1);
    let first = device.sent.last().unwrap().clone();
    server.outside("UPDATE places SET name = 'changed' WHERE id = 'p1'");
    device.crash();
    // Later pages name a newer head, which does not move the device's cursor.
    loop {
        match device.prepare().unwrap() {
            Moment::Leaving(Phase::Snapshot) => device.step_with(&server, |mut answer| {
                let fresh = server.answer("ana", &first);
                let fresh: SnapshotResponse = serde_json::from_slice(&fresh.body).unwrap();
                let mut page: SnapshotResponse = serde_json::from_slice(&answer.body).unwrap();
                page.rejoin.as_mut().unwrap().pull_cursor = fresh.rejoin.unwrap().pull_cursor;
                answer.body = serde_json::to_vec(&page).unwrap().into();
                answer
            }),
            Moment::Leaving(Phase::Registering) => device.step(&server),
            _ => break,
        }
        .unwrap();
    }
    device.sync(&server);
    check_in_sync(&mut device, &server);
}

#[apply(each_store)]
fn each_page_deletes_missing_rows_of_its_key_range(store: Store) {
    let (server, _) = nine_places(store);
    let mut device = Device::bundled("ana", 1, server.manifest());
    device.write("INSERT INTO places (id, name) VALUES ('p33', 'mine')");
    device.until(&server, Phase::Snapshot).unwrap();
    assert_eq!(device.see(IDS), "p33", "accepted, and in the base before the first page");
    // The log entry is compacted before the first page is read: only the page shows the change.
    server.outside("DELETE FROM places WHERE id = 'p33'");
    device.sync(&server);
    check_in_sync(&mut device, &server);
}

#[apply(each_store)]
fn restarted_first_sync_is_staged(store: Store) {
    let (mut server, mut device) = nine_places(store);
    pages(&mut device, &server, 2);
    device.write("UPDATE places SET name = 'mine' WHERE id = 'p1'");
    server.alter("ALTER TABLE places ADD COLUMN stars INTEGER DEFAULT 2");
    device.until(&server, Phase::FetchingSchema).unwrap();
    device.step(&server).unwrap();
    pages(&mut device, &server, 1);
    assert_eq!(device.see(IDS), "p1 p2 p3 p4 p5 p6", "what was there stays, and no page shows yet");
    let staged = "SELECT count(*) > 0 FROM sqlite_master WHERE name GLOB 'rejoin_staging_*'";
    assert_eq!(device.raw(staged), "1");
    let report = device.sync(&server);
    assert!(report.first_sync_done);
    check_in_sync(&mut device, &server);
    assert_eq!(device.see("SELECT name, stars FROM places WHERE id = 'p1'"), "mine|2");
}

/// A server behind a network on which each page takes `took`. It records the rows that pages were asked
/// for, and a gateway refuses the pages with these numbers.
pub(crate) struct SlowServer<'a> {
    pub(crate) server: &'a Backend,
    /// The endpoint of its pages.
    pub(crate) path: &'a str,
    pub(crate) took: Duration,
    pub(crate) refused: &'a [usize],
    pub(crate) asked: RefCell<Vec<u64>>,
}

impl Peer for SlowServer<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let answer = self.server.exchange(user, request)?;
        if request.path != self.path {
            return Some(answer);
        }
        let body: Value = serde_json::from_slice(request.body.as_ref()?).unwrap();
        self.asked.borrow_mut().extend(body["limit"].as_u64().or(body["log"]["limit"].as_u64()));
        let is_refused = self.refused.contains(&self.asked.borrow().len());
        let status = if is_refused { 502 } else { answer.status };
        Some(Response { status, took: self.took, ..answer })
    }
}

#[test]
fn pages_follow_the_network_and_each_snapshot_begins_again() {
    let near = Duration::from_millis(200);
    let table: [(Duration, &[usize], &[u64]); 4] = [
        (near, &[], &[400, 1_600]),
        (near, &[2], &[400, 1_600, 800, 1_000]),
        (Duration::from_secs(2), &[], &[400, 400, 400, 400]),
        (Duration::from_secs(6), &[], &[400, 200, 100, 100, 100, 100, 100, 100, 100, 100, 100]),
    ];
    for (took, refused, expected) in table {
        let (server, mut device) = places(Store::Sqlite, 1_450, 400);
        let slow = SlowServer {
            server: &server,
            path: "/sync/snapshot",
            took,
            refused,
            asked: RefCell::default(),
        };
        device.sync(&slow);
        assert_eq!(*slow.asked.borrow(), expected, "{took:?}, refused {refused:?}");
        check_in_sync(&mut device, &server);
        // Another snapshot, in which no page was slow or refused before.
        slow.asked.take();
        compact_past_cursor(&server, "UPDATE places SET note = 'later' WHERE id = 'p9'");
        device.sync(&slow);
        assert_eq!(slow.asked.borrow()[0], 400, "{took:?}");
    }
}

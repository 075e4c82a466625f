//! Snapshots of the log, by an app that ends at any moment of them.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use rejoin_core::sync::session::{Request, Response};
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Device, Fault, Moment, Peer, Store};
use serde_json::Value as Json;

use super::{SEATS, TABLES, later, settle};
use crate::first_sync::SlowServer;
use crate::{apply, each_store};

const COUNT: &str = "SELECT count(*) FROM seats";

/// A server with 8 rows from before the log.
fn server(store: Store) -> Backend {
    server_with(store, 8)
}

fn server_with(store: Store, rows: usize) -> Backend {
    let rows: Vec<String> =
        (0..rows).map(|at| format!("('s{at}', 'e1', NULL, '', {at})")).collect();
    let sql = format!("{TABLES}; INSERT INTO seats VALUES {}", rows.join(", "));
    let tables = vec![TableConfig::log("seats", "event", "event:")];
    let server = Backend::made(store, &sql, tables, Limits::default());
    server.server().grant("ana", "event:e1").unwrap();
    server
}

/// A device with the tables of its release, as an app that starts offline.
pub(super) fn new_device(server: &Backend, seed: u64) -> Device {
    Device::with("ana", seed, Some(server.manifest()), |config| config.page_size = 3)
}

/// The requests for pages of the snapshot so far.
fn pages(device: &Device) -> usize {
    device.sent.iter().filter(|request| request.path == "/log/snapshot").count()
}

#[apply(each_store)]
fn app_that_ends_after_every_page_continues_its_first_snapshot(store: Store) {
    let server = server(store);
    let mut plain = new_device(&server, 1);
    plain.sync(&server);
    assert_eq!(pages(&plain), 4, "three of rows, and one of entries");

    let mut device = new_device(&server, 2);
    device.write("INSERT INTO seats VALUES ('mine', 'e1', NULL, 'offline', 1)");
    let mut seen = Vec::new();
    for _ in 0..50 {
        let before = pages(&device);
        if let Moment::Finished(_) = device.step(&server).unwrap() {
            break;
        }
        if pages(&device) == before {
            continue;
        }
        device.crash();
        seen.push(device.see(COUNT));
        assert_eq!(device.see("SELECT note FROM seats WHERE id = 'mine'"), "offline");
        if pages(&device) == 2 {
            assert_eq!(device.see(COUNT), "7", "two pages and the app's own row");
            device.write("UPDATE seats SET note = 'meanwhile' WHERE id IN ('s0', 's7')");
        }
    }
    assert_eq!(pages(&device), 4, "no page is fetched twice: {seen:?}");
    assert!(seen.is_sorted(), "no row is lost: {seen:?}");
    settle(&server, &mut [device, plain]);
    assert_eq!(server.see("SELECT id FROM seats WHERE note <> '' ORDER BY id"), "mine s0");
}

/// The user gets a further bucket, so all rows come once more.
#[apply(each_store)]
fn app_that_ends_after_every_page_continues_a_later_snapshot(store: Store) {
    let server = server(store);
    let mut device = new_device(&server, 1);
    device.sync(&server);
    device.write("INSERT INTO seats VALUES ('other', 'e1', NULL, 'synced', 1)");
    device.sync(&server);
    let first = pages(&device);
    server.server().grant("ana", "event:e9").unwrap();
    server.server().grant("ben", "event:e9").unwrap();
    let mut others = Device::with("ben", 2, None, |_| {});
    others.sync(&server);
    others.write("INSERT INTO seats VALUES ('s9', 'e9', NULL, '', 9)");
    others.sync(&server);
    device.write("UPDATE seats SET note = 'offline' WHERE id = 's7'");
    for _ in 0..50 {
        let before = pages(&device);
        if let Moment::Finished(_) = device.step(&server).unwrap() {
            break;
        }
        if pages(&device) > before {
            device.crash();
            assert_eq!(device.see("SELECT note FROM seats WHERE id = 's7'"), "offline");
        }
    }
    assert_eq!(pages(&device) - first, 4, "no page is fetched twice");
    assert_eq!(device.see(COUNT), "10", "eight, the synced one, and that of the further bucket");
    settle(&server, &mut [device]);
    assert_eq!(server.see("SELECT id FROM seats WHERE note <> '' ORDER BY id"), "other s7");
}

/// Answers the third page request with the response to another request.
struct ConfusedServer<'s> {
    server: &'s Backend,
    pages: Cell<u32>,
}

impl Peer for ConfusedServer<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let mut answer = self.server.exchange(user, request)?;
        if request.path != "/log/snapshot" {
            return Some(answer);
        }
        self.pages.set(self.pages.get() + 1);
        if self.pages.get() == 3 {
            let mut body: Json = serde_json::from_slice(&answer.body).unwrap();
            assert!(body["page"]["cursor"].is_number(), "the last page: {body}");
            body["page"]["after"]["stamp"]["membership"] = 7_000.into();
            answer.body = serde_json::to_vec(&body).unwrap().into();
        }
        Some(answer)
    }
}

/// As if the app had called `resync` while the last page was on its way: the pass failed with the
/// error for a log that was restored.
#[test]
fn last_page_of_a_snapshot_that_has_begun_again_is_ignored() {
    let server = server_with(Store::Sqlite, 5);
    for is_first in [true, false] {
        let mut device = new_device(&server, 1 + u64::from(is_first));
        if !is_first {
            device.sync(&server);
            device.resync();
        }
        let confused = ConfusedServer { server: &server, pages: Cell::new(0) };
        device.pass(&confused).unwrap();
        assert_eq!(confused.pages.get(), 4, "first: {is_first}");
        settle(&server, &mut [device]);
    }
}

#[test]
fn pages_follow_the_network() {
    let (near, slow) = (Duration::from_millis(200), Duration::from_secs(6));
    // The last page has the items.
    let table: [(Duration, &[usize], &[u64]); 3] = [
        (near, &[], &[400, 1_600, 6_400]),
        (near, &[2], &[400, 1_600, 800, 1_000, 1_250]),
        (slow, &[], &[400, 200, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100]),
    ];
    for (took, refused, expected) in table {
        let server = server_with(Store::Sqlite, 1_450);
        let mut device = Device::with("ana", 1, None, |config| config.page_size = 400);
        let asked = RefCell::default();
        let slow = SlowServer { server: &server, path: "/log/snapshot", took, refused, asked };
        device.sync(&slow);
        assert_eq!(*slow.asked.borrow(), expected, "{took:?}, refused {refused:?}");
        settle(&server, &mut [device]);
    }
}

#[apply(each_store)]
fn first_snapshot_of_a_log_that_is_replaced_begins_again(store: Store) {
    let server = server(store);
    let mut device = new_device(&server, 1);
    while pages(&device) < 2 {
        device.step(&server).unwrap();
    }
    server.server().begin_epoch().unwrap();
    device.crash();
    settle(&server, &mut [device]);
    assert!(server.see(SEATS).starts_with("s0|"));
}

/// The rows of the new table come before those that the device has already read.
#[apply(each_store)]
fn table_that_is_added_amid_the_pages_is_complete(store: Store) {
    for is_first in [true, false] {
        let mut server = server(store);
        let mut device = new_device(&server, 1);
        if !is_first {
            device.sync(&server);
            server.server().grant("ana", "event:e9").unwrap();
        }
        let before = pages(&device);
        while pages(&device) < before + 2 {
            device.step(&server).unwrap();
        }
        device.faults.push_back(Fault::RequestLost);
        let lost = device.pass(&server).unwrap_err();
        assert!(pages(&device) > before + 2, "{lost}");
        let sql = "CREATE TABLE arenas(id TEXT PRIMARY KEY, event TEXT, name TEXT);
            INSERT INTO arenas VALUES ('a1', 'e1', 'North'), ('a2', 'e1', 'South')";
        server.add(sql, TableConfig::log("arenas", "event", "event:"));
        device.sync(&server);
        assert_eq!(device.see("SELECT id, name FROM arenas ORDER BY id"), "a1|North a2|South");
        settle(&server, &mut [device]);
    }
}

/// A trigger of the app runs for what happens to the app's rows: a later snapshot creates none.
#[apply(each_store)]
fn snapshot_that_changes_a_row_fires_no_insert_trigger(store: Store) {
    let server = server(store);
    let [mut phone, mut tablet] = [1, 2].map(|seed| new_device(&server, seed));
    phone.write(
        "CREATE TABLE seen(id TEXT PRIMARY KEY);
         CREATE TRIGGER note BEFORE INSERT ON seats BEGIN INSERT INTO seen VALUES (NEW.id); END",
    );
    phone.sync(&server);
    tablet.sync(&server);
    tablet.write("UPDATE seats SET note = 'changed' WHERE id = 's0'");
    tablet.sync(&server);
    later(&server, &[&phone, &tablet], 400 * 24 * 3_600);
    server.compact();
    server.server().grant("ana", "event:e2").unwrap();
    let before = pages(&phone);
    phone.sync(&server);
    assert!(pages(&phone) > before, "it takes a snapshot");
    assert_eq!(phone.see("SELECT note FROM seats WHERE id = 's0'"), "changed");
    phone.write("INSERT INTO seats VALUES ('new', 'e1', NULL, '', 9)");
    assert_eq!(phone.see("SELECT count(*) FROM seen"), "9", "the trigger is there");
}

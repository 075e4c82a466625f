//! Addresses of shared pages from a hostile server: none leads to another path, and nothing is applied.

use rejoin_core::sync::session::{Phase, Response};
use rejoin_core::{Error, SyncFault};
use rejoin_protocol::wire::path;
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Device, Moment, Store};
use serde_json::json;

use crate::junk::changed;

const TABLES: &str = "
    CREATE TABLE countries (code TEXT PRIMARY KEY, name TEXT, updated_at TEXT);
    INSERT INTO countries (code, name) VALUES ('DK', 'x'), ('EE', 'x'), ('FI', 'x'), ('IS', 'x'), ('LT', 'x');
";
const SEE: &str = "SELECT group_concat(code, '') FROM (SELECT code FROM countries ORDER BY code)";

const ADDRESSES: [&str; 17] = [
    "../push",
    "..",
    ".",
    "a/../../push",
    "a/b",
    "/other",
    "//other.example/a",
    "https://other.example/a",
    "a?user=ben",
    "a#b",
    "%2e%2e/push",
    "%2E%2E%2Fpush",
    "..%2fpush",
    "a\\..\\push",
    "a b",
    "a\r\nHost: other",
    "@other.example",
];

/// A server whose countries are in shared pages, and a new device.
fn countries() -> (Backend, Device) {
    let limits = Limits { page: 2, ..Limits::default() };
    let server =
        Backend::made(Store::Sqlite, TABLES, vec![TableConfig::global("countries")], limits);
    (server, Device::with("ana", 1, None, |config| config.page_size = 2))
}

/// The response with this address of the next page, in the body and in the header's copy.
fn naming(response: &Response, address: &str) -> Response {
    changed(response, |json| {
        json["has_more"] = json!(true);
        json["rejoin"]["page"] = json!(address);
    })
}

fn requested(device: &Device) -> Vec<&str> {
    device.sent.iter().map(|one| one.path.as_str()).collect()
}

/// Whether a path is one of the protocol, with one plain segment behind `/sync/pages/`.
fn is_known(requested: &str) -> bool {
    match requested.strip_prefix(path::PAGES) {
        Some(address) => address.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
        None => [path::REGISTER, path::SCHEMA, path::SNAPSHOT, path::PULL].contains(&requested),
    }
}

#[test]
fn page_address_outside_the_pages_is_not_requested() {
    for address in ADDRESSES {
        let (server, mut device) = countries();
        device.until(&server, Phase::Snapshot).unwrap();
        let error = device.step_with(&server, |response| naming(&response, address)).unwrap_err();
        let typed = error.downcast_ref::<Error>();
        assert!(
            matches!(typed, Some(Error::Sync(SyncFault::Protocol(why))) if why.contains("address")),
            "{address:?}: {error}"
        );
        assert_eq!(device.see(SEE), "-", "{address:?}: nothing is applied");
        device.crash().sync(&server);
        assert_eq!(device.see(SEE), "DKEEFIISLT", "{address:?}");
        assert!(requested(&device).iter().all(|path| is_known(path)), "{:?}", requested(&device));
    }
}

/// A shared page that is refused leaves its rows to the server itself.
#[test]
fn page_address_in_a_shared_page_is_not_requested() {
    for address in ADDRESSES {
        let (server, mut device) = countries();
        let mut shared = 0;
        loop {
            device.until(&server, Phase::Snapshot).unwrap();
            let is_shared = device.next_path().unwrap().starts_with(path::PAGES);
            shared += usize::from(is_shared);
            if is_shared {
                break;
            }
            device.step(&server).unwrap();
        }
        let before = device.see(SEE);
        let moment = device.step_with(&server, |response| naming(&response, address)).unwrap();
        assert_eq!(moment, Moment::Leaving(Phase::Snapshot), "{address:?}");
        assert_eq!((device.see(SEE), shared), (before, 1), "{address:?}: nothing is applied");
        device.sync(&server);
        assert_eq!(device.see(SEE), "DKEEFIISLT", "{address:?}");
        assert!(requested(&device).iter().all(|path| is_known(path)), "{:?}", requested(&device));
    }
}

/// A release that did not check addresses may have stored one.
#[test]
fn stored_page_address_is_checked_before_it_is_requested() {
    let (server, mut device) = countries();
    while !device.next_path().is_some_and(|path| path.starts_with(path::PAGES)) {
        device.until(&server, Phase::Snapshot).unwrap();
        if !device.next_path().unwrap().starts_with(path::PAGES) {
            device.step(&server).unwrap();
        }
    }
    let snapshot = device.engine().meta("snapshot").unwrap().unwrap();
    let mut snapshot: serde_json::Value = serde_json::from_str(&snapshot).unwrap();
    snapshot["shared"]["address"] = json!("../push");
    device.engine().set_meta("snapshot", Some(&snapshot.to_string())).unwrap();
    device.crash();
    let _ = device.pass(&server);
    device.sync(&server);
    assert_eq!(device.see(SEE), "DKEEFIISLT");
    assert!(requested(&device).iter().all(|path| is_known(path)), "{:?}", requested(&device));
}

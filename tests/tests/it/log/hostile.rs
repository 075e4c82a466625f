//! Pages and verdicts of a broken or hostile server: nothing is applied in part, no own entry is lost, and
//! with a correct server the device goes on.

use fastrand::Rng;
use rejoin_core::sync::session::Phase;
use rejoin_tests::{Backend, Device, Store, cases};
use serde_json::{Value, json};

use super::{SEATS, devices, server};
use crate::junk::{bent, twisted};

const PATHS: [&str; 3] = ["/log/snapshot", "/log/fetch", "/log/publish"];

fn junk_values() -> Vec<Value> {
    let far = json!({"millis": i64::MAX, "counter": u64::MAX});
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("seats"),
        json!("halls"),
        json!("\u{0}"),
        json!("e2"),
        json!("6f1f3f0e-6d0c-4c33-9a0e-0b9f6d4f2a11"),
        json!([]),
        json!({}),
        json!([[[]]]),
        far,
    ]
}

/// The rows and entries of a device, which a refused response must not change.
fn state_of(device: &Device) -> Vec<String> {
    let tables =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'
        AND (name LIKE 'rejoin_log%' OR name IN ('seats', 'halls')) ORDER BY name";
    let tables = device.raw(tables);
    let content = |table: &str| device.raw(&format!("SELECT * FROM {table} ORDER BY 1, 2"));
    tables.split_whitespace().map(|table| format!("{table}: {}", content(table))).collect()
}

/// A device whose next request has this path, with an own entry that the server lacks, and a row that the
/// server has changed.
fn device_before(server: &Backend, path: &str) -> Device {
    let [mut other] = devices(server, ["ben"]);
    other.write(
        "INSERT INTO seats VALUES ('s1', 'e1', NULL, 'one', 1), ('s2', 'e1', NULL, 'two', 2)",
    );
    other.sync(server);
    let mut device = Device::with("ana", 7, Some(server.manifest()), |_| {});
    if path != "/log/snapshot" {
        device.sync(server);
    }
    device.write("INSERT INTO seats VALUES ('mine', 'e1', NULL, 'mine', 3)");
    other.write("UPDATE seats SET note = 'three' WHERE id = 's1'");
    other.sync(server);
    let phase = match path {
        "/log/snapshot" => Phase::Snapshot,
        "/log/fetch" => Phase::Pulling,
        _ => Phase::Pushing,
    };
    loop {
        device.until(server, phase).unwrap();
        if device.next_path() == Some(path) {
            return device;
        }
        device.step(server).unwrap();
    }
}

fn harm(seed: u64) {
    let (mut rng, junk) = (Rng::with_seed(seed), junk_values());
    let path = PATHS[rng.usize(..PATHS.len())];
    let (value, place) = (junk[rng.usize(..junk.len())].clone(), rng.usize(..));
    let how = if rng.u8(..4) == 0 { Some(rng.u8(..)) } else { None };
    let name = format!("seed {seed} {path} {value} {how:?}");
    let server = server(Store::Sqlite);
    let mut device = device_before(&server, path);
    let before = state_of(&device);
    let stepped = device.step_with(&server, |response| match how {
        Some(how) => bent(&response, place, how),
        None => twisted(&response, place, value.clone()),
    });
    if stepped.is_err() {
        assert_eq!(state_of(&device), before, "{name}: applied in part");
    }
    let passes = (0..4).filter(|_| device.pass(&server).is_ok()).count();
    if passes < 2 {
        let error = device.pass(&server).unwrap_err().to_string();
        let is_named = error.contains("call resync") || error.contains("without agreeing");
        assert!(is_named, "{name}: {error}");
        assert!(device.sent.len() < 200, "{name}: {} requests", device.sent.len());
        device.resync().sync(&server);
    }
    let is_there =
        |id: &str| server.see(&format!("SELECT count(*) FROM seats WHERE id = '{id}'")) == "1";
    assert!(
        is_there("mine") || device.waiting().contains("Parked"),
        "{name}: {}",
        device.waiting()
    );
    // The app goes on.
    device.crash().resync().sync(&server);
    device.write("INSERT INTO seats VALUES ('later', 'e1', NULL, 'later', 4)");
    device.sync(&server);
    let waiting = device.waiting();
    assert!(is_there("later") || waiting.contains("Parked"), "{name}: {waiting}");
    assert!(!waiting.contains("Pending"), "{name}: {waiting}");
    if waiting.is_empty() {
        assert_eq!(device.see(SEATS), server.see(SEATS), "{name}: after the resync");
    }
}

#[test]
fn junk_values_in_responses_lose_no_entry() {
    for seed in 0..cases(30) {
        harm(seed);
    }
}

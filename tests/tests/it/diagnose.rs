//! The counters of `diagnose`: what they count, and what they survive.

use rejoin_core::{Client, Config};
use rejoin_tests::{Door, Loss, PlainBackend, Store};
use serde_json::Value as Json;

use crate::client::{PATIENCE, Phone, served_phone};

/// The counters, in the order of a mutation's way: queued, in flight, acknowledged, parked, retries.
#[track_caller]
fn counters(client: &Client) -> [u64; 5] {
    let bundle = client.diagnose().wait().unwrap();
    ["queued", "in_flight", "acknowledged", "parked", "retries"]
        .map(|name| bundle["counters"][name].as_u64().unwrap())
}

#[track_caller]
fn written(client: &Client, sql: &str) {
    client.execute(sql, ()).wait().unwrap();
}

#[test]
fn what_waits_is_counted_by_the_file_and_what_happened_since_the_client_was_opened() {
    let (_backend, _served, phone) = served_phone(Store::Sqlite);
    let client = &phone.client;
    phone.sync();
    client.stop().wait().unwrap();
    written(client, "INSERT INTO places (id, name) VALUES ('p1', 'fine')");
    written(client, "INSERT INTO places (id, name, score) VALUES ('p2', 'refused', 9)");
    assert_eq!(counters(client), [2, 0, 0, 0, 0]);
    phone.sync();
    assert_eq!(counters(client), [0, 0, 1, 1, 0]);
    // Suspending closes the file, and is no new beginning.
    client.suspend().wait().unwrap();
    client.resume().wait().unwrap();
    assert_eq!(counters(client), [0, 0, 1, 1, 0]);
    let bundle = client.diagnose().wait().unwrap();
    let states: Vec<&str> = bundle["transitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|transition| transition["state"].as_str())
        .collect();
    assert!(states.contains(&"pushing") && states.contains(&"up_to_date"), "{states:?}");
    let file = client.path().to_owned();
    client.shutdown().wait().unwrap();
    let client = Client::open(Config::new(file)).wait().unwrap();
    assert_eq!(counters(&client), [0, 0, 0, 1, 0], "what is parked stands in the file");
    assert_eq!(client.diagnose().wait().unwrap()["transitions"], Json::Array(Vec::new()));
}

#[test]
fn what_is_sent_without_an_answer_is_in_flight_and_counts_as_a_retry_when_it_leaves_again() {
    let door = Door::before(PlainBackend::new());
    let phone = Phone::new("ana", Some(&door.url));
    let client = &phone.client;
    phone.sync();
    client.stop().wait().unwrap();
    written(client, "INSERT INTO places (id, name) VALUES ('p1', 'first'), ('p2', 'second')");
    written(client, "INSERT INTO places (id, name) VALUES ('p3', 'third')");
    door.lose(Loss::Answer, "/sync/push");
    assert!(client.sync_and_wait(Some(PATIENCE)).wait().is_err());
    client.stop().wait().unwrap();
    assert!(door.has_lost());
    let now = counters(client);
    // The driver may have tried again before it was stopped.
    assert!(now == [0, 2, 0, 0, 0] || now == [0, 0, 2, 0, 2], "{now:?}");
    phone.sync();
    assert_eq!(counters(client), [0, 0, 2, 0, 2]);
}

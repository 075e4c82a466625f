//! The counters of `diagnose`: what they count, and when they are reset.

use rejoin_core::{Client, Config, Policy};
use rejoin_tests::{Backend, Door, Loss, PlainBackend, Store};
use serde_json::Value as Json;

use crate::client::{PATIENCE, Phone, Served, served_phone};

/// The counters, in the order of a mutation's states: queued, in flight, acknowledged, parked,
/// retries.
#[track_caller]
fn counters(client: &Client) -> [u64; 5] {
    let bundle = client.storage().diagnose().wait().unwrap();
    ["queued", "in_flight", "acknowledged", "parked", "retries"]
        .map(|name| bundle["counters"][name].as_u64().unwrap())
}

#[track_caller]
fn written(client: &Client, sql: &str) {
    client.execute(sql, ()).wait().unwrap();
}

#[test]
fn counters_read_the_file_and_events_since_open() {
    let (_backend, _served, phone) = served_phone(Store::Sqlite);
    let client = &phone.client;
    phone.sync();
    client.stop().wait().unwrap();
    written(client, "INSERT INTO places (id, name) VALUES ('p1', 'fine')");
    written(client, "INSERT INTO places (id, name, score) VALUES ('p2', 'refused', 9)");
    assert_eq!(counters(client), [2, 0, 0, 0, 0]);
    phone.sync();
    assert_eq!(counters(client), [0, 0, 1, 1, 0]);
    // Suspend closes the file, and does not reset the counters.
    client.sync().suspend().wait().unwrap();
    client.sync().resume().wait().unwrap();
    assert_eq!(counters(client), [0, 0, 1, 1, 0]);
    let bundle = client.storage().diagnose().wait().unwrap();
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
    assert_eq!(counters(&client), [0, 0, 0, 1, 0], "parked mutations are counted from the file");
    assert_eq!(client.storage().diagnose().wait().unwrap()["transitions"], Json::Array(Vec::new()));
}

/// Parked mutations keep the user's and the server's values; the bundle contains only their reasons
/// and codes.
#[test]
fn bundle_contains_no_values_of_parked_mutations() {
    let mut backend = Backend::new();
    backend.govern("places", |table| table.policy = Policy::Manual);
    backend.outside("INSERT INTO places (id, name, user_id) VALUES ('secret-1', 'A', 'ana')");
    let served = Served::new(&backend);
    let phone = Phone::new("ana", Some(&served.url));
    phone.sync();
    phone.client.stop().wait().unwrap();
    backend
        .outside("UPDATE places SET name = 'secret theirs', note = 'secret' WHERE id = 'secret-1'");
    phone.run("UPDATE places SET name = 'secret mine' WHERE id = 'secret-1'");
    let bad = "INSERT INTO places (id, name, score) VALUES ('secret-2', 'secret refused', 9)";
    phone.run(bad);
    phone.run(
        "INSERT INTO visits (id, place_id, day) VALUES ('secret-3', 'secret-2', 'secret day')",
    );
    assert_eq!(phone.sync().parked, 3);
    let parked = phone.client.queue().all().wait().unwrap();
    assert!(format!("{parked:?}").contains("secret theirs"), "the app can see it");
    let bundle = phone.client.storage().diagnose().wait().unwrap();
    let reasons = bundle["parked"].as_object().unwrap();
    assert_eq!(reasons.values().filter_map(Json::as_u64).sum::<u64>(), 3, "{reasons:?}");
    let text = bundle.to_string();
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn unanswered_push_is_in_flight_and_its_resend_is_a_retry() {
    let door = Door::before(PlainBackend::new());
    let phone = Phone::new("ana", Some(&door.url));
    let client = &phone.client;
    phone.sync();
    client.stop().wait().unwrap();
    written(client, "INSERT INTO places (id, name) VALUES ('p1', 'first'), ('p2', 'second')");
    written(client, "INSERT INTO places (id, name) VALUES ('p3', 'third')");
    door.lose(Loss::Answer, "/sync/push");
    assert!(client.sync().run(Some(PATIENCE)).wait().is_err());
    client.stop().wait().unwrap();
    assert!(door.has_lost());
    let now = counters(client);
    // The driver may have retried before it was stopped.
    assert!(now == [0, 2, 0, 0, 0] || now == [0, 0, 2, 0, 2], "{now:?}");
    phone.sync();
    assert_eq!(counters(client), [0, 0, 2, 0, 2]);
}

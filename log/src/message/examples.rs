//! The examples of docs/protocol.md are messages of this crate.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rows::{RowsAnswer, RowsRequest};
use super::snapshot::{SnapshotAnswer, SnapshotRequest};
use super::{Correct, Corrected, Fetch, Fetched, Publish, Published, Request, read};

const BOOK: &str = include_str!("../../../docs/protocol.md");

const NAMES: [&str; 10] = [
    "log-publish",
    "log-published",
    "log-fetch",
    "log-fetched",
    "log-snapshot",
    "log-snapshot-page",
    "log-rows",
    "log-named-rows",
    "log-correct",
    "log-corrected",
];

fn again<M: Serialize + DeserializeOwned>(json: &str) -> serde_json::Value {
    let message: M = read(json.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{json}"));
    serde_json::to_value(&message).unwrap()
}

#[test]
fn documented_example_of_the_log_round_trips_through_its_type() {
    let mut shown = BTreeSet::new();
    for block in BOOK.split("```json log-").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let (json, _) = rest.split_once("\n```").unwrap();
        let name = format!("log-{name}");
        let written = match name.as_str() {
            "log-publish" => again::<Request<Publish>>(json),
            "log-published" => again::<Published>(json),
            "log-fetch" => again::<Request<Fetch>>(json),
            "log-fetched" => again::<Fetched>(json),
            "log-snapshot" => again::<Request<SnapshotRequest>>(json),
            "log-snapshot-page" => again::<SnapshotAnswer>(json),
            "log-rows" => again::<Request<RowsRequest>>(json),
            "log-named-rows" => again::<RowsAnswer>(json),
            "log-correct" => again::<Request<Correct>>(json),
            "log-corrected" => again::<Corrected>(json),
            _ => panic!("no message is called {name}"),
        };
        let expected: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(written, expected, "{name}");
        shown.insert(name);
    }
    assert_eq!(shown, NAMES.map(String::from).into(), "each message has an example");
}

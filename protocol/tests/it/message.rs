//! Decoding and encoding a message by the name of its type.

use rejoin_protocol::{
    Manifest,
    wire::{
        ErrorBody, RowImage, RowSet,
        digest::DigestAnswer,
        pull::{PullRequest, PullResponse},
        push::{Change, Group, PushRequest, PushResponse, Verdict},
        register::{RegisterRequest, RegisterResponse},
        snapshot::{KeyRange, PageEnd, SnapshotRequest, SnapshotResponse},
        subscription::Subscription,
        tables::TablesResponse,
    },
};
use serde::{Serialize, de::DeserializeOwned};

fn through<T: Serialize + DeserializeOwned>(json: &str) -> Result<String, serde_json::Error> {
    serde_json::to_string(&serde_json::from_str::<T>(json)?)
}

/// The types that have a name in docs/protocol.md and in the fixtures.
pub(crate) const TYPES: [&str; 20] = [
    "register-request",
    "register-response",
    "push-request",
    "push-response",
    "pull-request",
    "pull-response",
    "subscription",
    "snapshot-request",
    "snapshot-response",
    "page-end",
    "schema",
    "tables",
    "digest",
    "error",
    "row-image",
    "row-set",
    "key-range",
    "verdict",
    "group",
    "change",
];

/// Decodes `json` as this type and encodes it again.
pub(crate) fn read_and_write(name: &str, json: &str) -> Result<String, serde_json::Error> {
    match name {
        "register-request" => through::<RegisterRequest>(json),
        "register-response" => through::<RegisterResponse>(json),
        "push-request" => through::<PushRequest>(json),
        "push-response" => through::<PushResponse>(json),
        "pull-request" => through::<PullRequest>(json),
        "pull-response" => through::<PullResponse>(json),
        "subscription" => through::<Subscription>(json),
        "snapshot-request" => through::<SnapshotRequest>(json),
        "snapshot-response" => through::<SnapshotResponse>(json),
        "page-end" => through::<PageEnd>(json),
        "schema" => through::<Manifest>(json),
        "tables" => through::<TablesResponse>(json),
        "digest" => through::<DigestAnswer>(json),
        "error" => through::<ErrorBody>(json),
        "row-image" => through::<RowImage>(json),
        "verdict" => through::<Verdict>(json),
        "row-set" => through::<RowSet>(json),
        "key-range" => through::<KeyRange>(json),
        "group" => through::<Group>(json),
        "change" => through::<Change>(json),
        _ => panic!("no type is called {name}"),
    }
}

/// Asserts that a message decodes and encodes to equal JSON.
pub(crate) fn must_survive(name: &str, json: &str, source: &str) {
    let written = match read_and_write(name, json) {
        Ok(written) => written,
        Err(error) => panic!("{source}: {name} does not decode it: {error}\n{json}"),
    };
    let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
    assert_eq!(value(&written), value(json), "{source}: {name} encodes something else");
}

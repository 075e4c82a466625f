//! Tests with exchanges recorded from a v0.1.2 server: each one decodes and encodes unchanged.

use std::{fs, path::Path};

use rejoin_protocol::{
    ColumnKind, Manifest, Value, codec, equal,
    wire::{pull::PullResponse, tables::TablesResponse},
};
use serde_json::{Value as Json, json};

use crate::message::must_survive;

/// A recorded exchange.
struct Exchange {
    name: String,
    path: String,
    status: u64,
    request: Json,
    response: Json,
}

fn exchanges() -> Vec<Exchange> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire");
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let mut json: Json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            Exchange {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                path: json["path"].as_str().unwrap().to_owned(),
                status: json["status"].as_u64().unwrap(),
                request: json["request"].take(),
                response: json["response"].take(),
            }
        })
        .collect();
    found.sort_by(|left, right| left.name.cmp(&right.name));
    found
}

fn recorded(name: &str) -> Json {
    exchanges().into_iter().find(|exchange| exchange.name == name).unwrap().response
}

/// Adds the defaults that the recorded request omits.
fn with_defaults(path: &str, mut request: Json) -> Json {
    let defaults = match path {
        "/sync/register" => json!({"client_id": "", "platform": "", "app_version": ""}),
        "/sync/push" => json!({"changes": []}),
        "/sync/pull" => json!({"checkpoint": 0}),
        _ => json!({}),
    };
    if let (Json::Object(members), Json::Object(defaults)) = (&mut request, defaults) {
        for (name, default) in defaults {
            members.entry(name).or_insert(default);
        }
    }
    request
}

#[test]
fn recorded_requests_round_trip() {
    let mut read = 0;
    for exchange in exchanges() {
        // A GET has no body, and a 400 means that the request is invalid.
        if exchange.request.is_null() || exchange.status == 400 {
            continue;
        }
        let name = exchange.path.replace("/sync/", "") + "-request";
        let request = with_defaults(&exchange.path, exchange.request);
        must_survive(&name, &request.to_string(), &exchange.name);
        read += 1;
    }
    assert!(read > 100, "{read}");
}

#[test]
fn recorded_responses_round_trip() {
    let mut read = 0;
    for exchange in exchanges() {
        let endpoint = exchange.path.replace("/sync/", "");
        let name = match (exchange.status, endpoint.as_str()) {
            (200, "schema" | "tables") => endpoint,
            (200, _) => endpoint + "-response",
            _ => String::from("error"),
        };
        must_survive(&name, &exchange.response.to_string(), &exchange.name);
        read += 1;
    }
    assert!(read > 130, "{read}");
}

#[test]
fn manifest_hash_equals_v0_1_2() {
    for name in ["01-schema", "111-schema-v2", "112-schema-reverted", "215-schema-generated"] {
        let manifest: Manifest = serde_json::from_value(recorded(name)).unwrap();
        assert_eq!(manifest.hash(), manifest.schema_hash, "{name}");
        let made = Manifest::new(manifest.schema_version, manifest.tables.clone());
        assert_eq!(made.schema_hash, manifest.schema_hash, "{name}: extensions changed the hash");
        let mut changed = manifest.clone();
        changed.tables[0].columns[0].nullable ^= true;
        assert_ne!(changed.hash(), manifest.schema_hash, "{name}");
    }
}

#[test]
fn manifest_hash_uses_the_escapes_of_go() {
    let mut manifest: Manifest = serde_json::from_value(recorded("01-schema")).unwrap();
    manifest.tables.truncate(1);
    manifest.tables[0].columns.truncate(1);
    manifest.tables[0].columns[0].default_sql = Some("'<&>\u{2028}\u{2029}\"\\\u{e4}'".to_owned());
    // Computed by another program over Go's output.
    assert_eq!(manifest.hash(), "c065064912d3336781a716322ec6c9eb4f46b2aaf70217e988237f186caa4666");
}

#[test]
fn table_list_is_derived_from_the_manifest() {
    let manifest: Manifest = serde_json::from_value(recorded("01-schema")).unwrap();
    let theirs: TablesResponse = serde_json::from_value(recorded("02-tables")).unwrap();
    let ours = TablesResponse {
        server_time: theirs.server_time.clone(),
        ..TablesResponse::from(&manifest)
    };
    assert_eq!(ours, theirs);
}

#[test]
fn recorded_row_of_every_type_is_decoded_exactly() {
    let manifest: Manifest = serde_json::from_value(recorded("01-schema")).unwrap();
    let page: PullResponse = serde_json::from_value(recorded("196-pull-typed-row")).unwrap();
    let row = &page.changes[0];
    let table = manifest.tables.iter().find(|table| table.table_name == row.table_name).unwrap();
    let added = |name: &str| match name {
        "blob" => ColumnKind::Bytes,
        "price" => ColumnKind::Numeric,
        "flag" => ColumnKind::Boolean,
        "tstz" => ColumnKind::Datetime,
        "tm" => ColumnKind::Time,
        "iv" => ColumnKind::String,
        _ => panic!("{name} is in neither manifest"),
    };
    let mut cells = Vec::new();
    for (name, raw) in codec::members(&row.data).unwrap() {
        let column = table.columns.iter().find(|column| column.name == name);
        let kind = column.map_or_else(|| added(&name), |column| column.kind().unwrap());
        cells.push((name.into_owned(), kind, codec::decode(raw.get(), kind).unwrap()));
    }
    let expected: [(&str, Value); 7] = [
        ("metadata", "{}".into()),
        ("total_cents", 0.into()),
        ("updated_at", "2026-11-20T06:46:05.625852Z".into()),
        ("blob", b"AP8Q".to_vec().into()),
        ("price", "12345678901234.123".into()),
        ("flag", true.into()),
        ("tstz", "2026-11-20 10:00:00".into()),
    ];
    for (name, value) in expected {
        let (_, kind, cell) = cells.iter().find(|(column, ..)| column == name).unwrap();
        assert!(equal::equal(cell, &value, *kind), "{name}: {cell:?}");
    }
}

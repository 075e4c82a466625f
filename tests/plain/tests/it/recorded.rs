//! The recorded exchanges of the protocol crate, and the comparison of responses.
//!
//! The comparison covers the status and the body as JSON. Two values that vary on the real server
//! are normalized: `server_time` is truncated to microseconds, and `changes`, which have a random
//! order, are sorted by table and key. Decimal numbers were recorded as doubles, and are compared
//! as doubles. Everything else must be equal, including ids, hashes, versions and all other times.

use std::path::Path;

use serde_json::Value as Json;

/// A recorded exchange.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) request: Json,
    pub(crate) status: u64,
    pub(crate) response: Json,
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol/tests/fixtures/wire")
}

/// The names of all exchanges.
pub(crate) fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap();
    let stem = |file: std::io::Result<std::fs::DirEntry>| {
        file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()
    };
    let mut names: Vec<_> = files.map(stem).collect();
    names.sort();
    names
}

/// The exchange whose name begins with this number and a hyphen.
pub(crate) fn recorded(number: &str) -> (String, Recorded) {
    let begin = format!("{number}-");
    let mut found = names().into_iter().filter(|name| name.starts_with(&begin));
    let name = found.next().unwrap_or_else(|| panic!("{number} is not recorded"));
    assert_eq!(found.next(), None, "{number} must match one exchange");
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    let mut json: Json = serde_json::from_str(&text).unwrap();
    let recorded = Recorded {
        method: json["method"].as_str().unwrap().to_owned(),
        path: json["path"].as_str().unwrap().to_owned(),
        request: json["request"].take(),
        status: json["status"].as_u64().unwrap(),
        response: json["response"].take(),
    };
    (name, recorded)
}

/// Normalizes a body for comparison.
pub(crate) fn comparable(mut body: Json) -> Json {
    if let Some(Json::String(time)) = body.get_mut("server_time") {
        *time = to_the_microsecond(time);
    }
    if let Some(Json::Array(changes)) = body.get_mut("changes") {
        changes.sort_by_key(|change| format!("{} {}", change["table_name"], change["id"]));
    }
    body
}

/// `06:41:50.785540358Z` as `06:41:50.78554Z`.
pub(crate) fn to_the_microsecond(time: &str) -> String {
    let (whole, fraction) = time.trim_end_matches('Z').split_once('.').unwrap_or((time, ""));
    let fraction = fraction.get(..6).unwrap_or(fraction).trim_end_matches('0');
    format!("{whole}.{fraction}Z")
}

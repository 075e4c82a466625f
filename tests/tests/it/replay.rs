//! Replays every exchange recorded with a v0.1.2 server on the companion server, and compares
//! status, shape and meaning.
//!
//! `docs/protocol.md` lists each difference with its reason, and the list is exact.

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

mod compare;
mod run;
mod sessions;
mod tables;

/// A token with these claims; claims that are no JSON are signed with another secret.
fn token(claims: &str, secret: &str) -> String {
    let (claims, secret) = match serde_json::from_str::<serde_json::Value>(claims) {
        Ok(claims) => (claims, secret),
        Err(_) => {
            (serde_json::json!({"uid": "user-7"}), "a secret that is another than the server's")
        }
    };
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes()))
        .unwrap()
}

/// The differences, by fixture.
fn played() -> BTreeMap<String, Vec<String>> {
    let mut runs = vec![
        sessions::stock(),
        sessions::server_only(),
        sessions::library(),
        sessions::types(),
        sessions::settings(),
        sessions::filter(),
    ];
    runs.extend(sessions::doors());
    let mut found = BTreeMap::new();
    for run in runs {
        for (name, differences) in run.over() {
            assert!(found.insert(name.clone(), differences).is_none(), "{name} is played twice");
        }
    }
    found
}

/// The differences that `docs/protocol.md` lists, by the number of the fixture.
fn listed() -> BTreeMap<String, Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
    let book = std::fs::read_to_string(path).unwrap();
    let (_, after) = book.split_once("| Exchange | Ours | Why |\n|---|---|---|\n").unwrap();
    let mut listed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in after.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [numbers, differences, why] = cells.as_slice() else { panic!("{line}") };
        assert!(!why.is_empty(), "{line}");
        for number in numbers.split(", ") {
            listed.entry(number.to_owned()).or_default().push((*differences).to_owned());
        }
    }
    listed
}

/// One difference in the format of the table: members and results in backticks, a status without.
fn format_difference(difference: &str) -> String {
    let is_written = difference.starts_with(char::is_numeric) || difference.contains('`');
    if is_written { difference.to_owned() } else { format!("`{difference}`") }
}

/// Members are a set; results of a push keep their order.
fn is_as_listed(found: &[String], listed: &[String]) -> bool {
    let parts = |texts: &[String]| {
        let mut parts: Vec<String> =
            texts.iter().flat_map(|text| text.split(", ").map(str::to_owned)).collect();
        parts.sort();
        parts
    };
    if let ([found], [listed]) = (found, listed) {
        return found == listed;
    }
    parts(found) == parts(listed)
}

#[test]
fn recorded_exchanges_differ_as_protocol_page_lists() {
    let found = played();
    let forgotten: Vec<_> =
        run::names().into_iter().filter(|name| !found.contains_key(name)).collect();
    assert!(forgotten.is_empty(), "recorded and not played: {forgotten:?}");
    let mut expected = listed();
    let mut wrong = Vec::new();
    for (name, differences) in &found {
        let found: Vec<String> = differences.iter().map(|one| format_difference(one)).collect();
        let listed = expected.remove(run::number(name)).unwrap_or_default();
        if !is_as_listed(&found, &listed) {
            wrong.push(format!("{name}: differs in {found:?}, listed are {listed:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(expected.is_empty(), "listed and never played: {expected:?}");
}

//! Every exchange recorded with a v0.1.2 server, played against ours: an answer of the same status, shape and meaning.
//!
//! Where it differs, it differs on purpose: the exceptions are a list, the list is exact, and the book has the same one.

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

mod compare;
mod exceptions;
mod run;
mod sessions;
mod tables;

use exceptions::EXCEPTIONS;

/// A token with these claims; claims that are no JSON are signed with another secret.
fn token(claims: &str, secret: &str) -> String {
    let (claims, secret) = match serde_json::from_str::<serde_json::Value>(claims) {
        Ok(claims) => (claims, secret),
        Err(_) => {
            (serde_json::json!({"uid": "somebody"}), "a secret that is another than the server's")
        }
    };
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes()))
        .unwrap()
}

/// What differs, by fixture.
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

#[test]
fn every_recorded_exchange_is_answered_as_recorded_but_for_the_exceptions() {
    let found = played();
    let names: BTreeSet<String> = std::fs::read_dir(run::folder())
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let forgotten: Vec<_> = names.iter().filter(|name| !found.contains_key(*name)).collect();
    assert!(forgotten.is_empty(), "recorded and not played: {forgotten:?}");
    let mut expected: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for exception in EXCEPTIONS {
        for fixture in exception.fixtures {
            expected.entry(fixture).or_default().extend(exception.differs);
        }
    }
    let mut wrong = Vec::new();
    for (name, differences) in &found {
        let differences: BTreeSet<&str> = differences.iter().map(String::as_str).collect();
        let listed = expected.remove(name.as_str()).unwrap_or_default();
        if differences != listed {
            wrong.push(format!("{name}: differs in {differences:?}, listed are {listed:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(expected.is_empty(), "listed and never played: {expected:?}");
}

/// The exceptions as the book's table has them.
fn rows() -> String {
    let row = |exception: &exceptions::Exception| {
        let number = |name: &&str| name.split('-').next().unwrap_or_default().to_owned();
        let numbers: Vec<String> = exception.fixtures.iter().map(number).collect();
        let ours = exception.differs.iter().map(|text| match text.starts_with(char::is_numeric) {
            true => (*text).to_owned(),
            false if text.contains('`') => (*text).to_owned(),
            false => format!("`{text}`"),
        });
        let ours: Vec<String> = ours.collect();
        format!("| {} | {} | {} |\n", numbers.join(", "), ours.join(", "), exception.why)
    };
    EXCEPTIONS.iter().map(row).collect()
}

#[test]
fn the_book_lists_the_same_exceptions() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
    let book = std::fs::read_to_string(path).unwrap();
    let (_, after) = book.split_once("| Exchange | Ours | Why |\n|---|---|---|\n").unwrap();
    let listed: Vec<&str> = after.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(listed == rows().lines().collect::<Vec<_>>(), "the book's table should be\n{}", rows());
}

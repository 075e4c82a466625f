//! Tests of docs/protocol.md: its examples, codes and capabilities match the code.

use std::collections::BTreeSet;

use rejoin_protocol::{
    ColumnKind, Value, capability, codec, limits,
    wire::{
        event::{Event, EventReader},
        path,
        push::{Ending, PushResponse},
    },
};

use crate::message::{TYPES, must_survive};

pub(crate) const BOOK: &str = include_str!("../../../docs/protocol.md");

/// The code blocks of docs/protocol.md with this fence language, with the rest of the fence line.
pub(crate) fn blocks(language: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = BOOK.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else { continue };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        let (fence_language, rest) = fence.split_once(' ').unwrap_or((fence, ""));
        if fence_language == language {
            found.push((rest.to_owned(), block.join("\n")));
        }
    }
    found
}

/// The first cells of the table under this heading, without backticks.
fn first_cells(heading: &str) -> Vec<String> {
    let (_, section) = BOOK.split_once(&format!("\n{heading}\n")).unwrap();
    section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.split('|').nth(1).unwrap().trim().trim_matches('`').to_owned())
        .collect()
}

#[test]
fn length_table_matches_the_limits() {
    let (_, section) = BOOK.split_once("\n### Lengths\n").unwrap();
    let (table, _) = section.split_once("\n## ").unwrap();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let limit = match cells[1] {
            "`client_name`" => limits::CLIENT_NAME,
            "`rejoin.cursor`, `rejoin.witness`" => limits::CURSOR,
            _ => limits::NAME,
        };
        assert_eq!(cells[2].replace(',', ""), limit.to_string(), "{row}");
    }
}

#[test]
fn documented_example_round_trips_through_its_type() {
    // Messages of the log are types of rejoin-log, which tests their examples.
    let mut examples = blocks("json");
    examples.retain(|(name, _)| !name.starts_with("log-"));
    for (name, json) in &examples {
        must_survive(name, json, "docs/protocol.md");
    }
    let shown: BTreeSet<&str> = examples.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(shown, TYPES.into_iter().collect(), "each type has an example");
}

#[test]
fn code_table_matches_the_codes() {
    let source = include_str!("../../src/wire/error.rs");
    let (_, codes) = source.split_once("pub mod code {").unwrap();
    let codes: Vec<&str> = codes.split('"').skip(1).step_by(2).collect();
    let mut documented = first_cells("## Codes");
    assert_eq!(codes.len(), documented.len(), "one row per code");
    documented.sort_unstable();
    let mut codes: Vec<_> = codes.into_iter().map(str::to_owned).collect();
    codes.sort_unstable();
    assert_eq!(documented, codes);
}

#[test]
fn capability_table_matches_the_capabilities() {
    assert_eq!(first_cells("### Capabilities"), capability::ALL);
}

#[test]
fn ending_table_matches_the_endings() {
    for ending in first_cells("### Endings") {
        let read: Result<Ending, _> = serde_json::from_str(&format!("\"{ending}\""));
        assert_eq!(serde_json::to_string(&read.unwrap()).unwrap(), format!("\"{ending}\""));
    }
    assert_eq!(first_cells("### Endings").len(), 7);
}

#[test]
fn every_path_is_documented() {
    let paths = [
        path::REGISTER,
        path::PUSH,
        path::PULL,
        path::SNAPSHOT,
        path::PAGES,
        path::SCHEMA,
        path::TABLES,
        path::EVENTS,
        path::DIGEST,
        path::HEALTH,
        path::LOG_PUBLISH,
        path::LOG_FETCH,
        path::LOG_SNAPSHOT,
        path::LOG_ROWS,
        path::LOG_CORRECT,
    ];
    for path in paths {
        assert!(BOOK.contains(&format!("`{path}`")), "{path}");
    }
}

#[test]
fn documented_event_stream_is_parsed() {
    let streams = blocks("event-stream");
    assert_eq!(streams.len(), 1);
    let text = format!("{}\n\n", streams[0].1);
    let events = EventReader::default().push(text.as_bytes()).unwrap();
    let names: Vec<_> = events.iter().map(Event::to_text).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.iter().all(|event| text.contains(event)), "{names:?}");
}

#[test]
fn documented_values_match_the_encoding() {
    // The expected text "on the wire" by the value "in SQLite", from the table of kinds.
    let kinds = [
        ("string", "text"),
        ("int", "integer"),
        ("int64", "bigint"),
        ("float", "double"),
        ("float", "numeric"),
        ("boolean", "boolean"),
        ("datetime", "timestamptz"),
        ("date", "date"),
        ("time", "time"),
        ("json", "jsonb"),
        ("json", "text[]"),
        ("bytes", "bytea"),
    ];
    let (_, section) = BOOK.split_once("\n## Values\n").unwrap();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), kinds.len());
    for (row, (logical, database)) in rows.iter().zip(kinds) {
        let kind = ColumnKind::of(logical, database).unwrap();
        let json = row[4].split('`').nth(1).unwrap();
        let value = codec::decode(json, kind).unwrap();
        let mut written = String::new();
        codec::encode(&value, kind, &mut written).unwrap();
        assert_eq!(written, json, "{kind:?}");
        assert_eq!(row[3], kind.sqlite_type(), "{kind:?}");
        assert_ne!(value, Value::Null, "{kind:?}");
    }
}

#[test]
fn unknown_members_of_an_answer_are_ignored() {
    let (_, json) =
        blocks("json").into_iter().find(|(_, json)| json.contains("\"verdicts\"")).unwrap();
    let mut later: serde_json::Value = serde_json::from_str(&json).unwrap();
    later["tomorrow"] = 1.into();
    later["rejoin"]["sealed"] = "opaque".into();
    later["rejoin"]["verdicts"][0]["tomorrow"] = 1.into();
    let read: PushResponse = serde_json::from_str(&later.to_string()).unwrap();
    let again: serde_json::Value = serde_json::to_value(&read).unwrap();
    assert_eq!(again, serde_json::from_str::<serde_json::Value>(&json).unwrap());
}

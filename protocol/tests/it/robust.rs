//! Broken input: whatever the bytes, a decoder answers; it never panics.

use std::fs;

use rejoin_protocol::{
    ColumnKind, Manifest, codec, equal, time,
    wire::{RowSet, event::EventReader, pull::PullResponse, push::PushRequest},
};
use serde_json::value::RawValue;

use crate::{
    book::blocks,
    message::{TYPES, read_and_write},
};

const KINDS: [ColumnKind; 8] = [
    ColumnKind::String,
    ColumnKind::Int64,
    ColumnKind::Float,
    ColumnKind::Numeric,
    ColumnKind::Boolean,
    ColumnKind::Datetime,
    ColumnKind::Json,
    ColumnKind::Bytes,
];

/// Cuts, flips, doubles or replaces a few bytes.
fn broken(message: &str, random: &mut fastrand::Rng) -> Vec<u8> {
    const SPLINTERS: [&[u8]; 9] =
        [b"\"", b"\\", b"[", b"{", b"null", b"1e999", b"\\ud800", &[0xff], &[0xf0, 0x9f]];
    let mut bytes = message.as_bytes().to_vec();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
            2 => {
                let end = random.usize(at..=bytes.len().min(at + 40));
                bytes.splice(at..end, []);
            }
            3 => {
                let copied = bytes[at..bytes.len().min(at + 20)].to_vec();
                bytes.splice(at..at, copied);
            }
            _ => {
                let splinter = SPLINTERS[random.usize(0..SPLINTERS.len())];
                bytes.splice(at..at, splinter.iter().copied());
            }
        }
    }
    bytes
}

/// Reads what a peer would go on to read in a message that could be read.
fn read_on(json: &str, random: &mut fastrand::Rng) -> usize {
    let kind = KINDS[random.usize(0..KINDS.len())];
    let mut seen = 0;
    let mut object = |data: &RawValue| {
        for (_, raw) in codec::members(data).unwrap_or_default() {
            seen += usize::from(codec::decode(raw.get(), kind).is_ok());
        }
    };
    if let Ok(push) = serde_json::from_str::<PushRequest>(json) {
        push.changes.iter().filter_map(|change| change.data.as_deref()).for_each(&mut object);
        let groups = push.rejoin.unwrap_or_default().groups;
        groups.iter().flat_map(|group| &group.changes).for_each(|change| {
            change.data.as_deref().into_iter().chain(change.old.as_deref()).for_each(&mut object);
        });
    }
    if let Ok(page) = serde_json::from_str::<PullResponse>(json) {
        page.changes.iter().for_each(|record| object(&record.data));
        page.rejoin.unwrap_or_default().sets.iter().for_each(|set| seen += rows(set, random));
    }
    if let Ok(manifest) = serde_json::from_str::<Manifest>(json) {
        seen += manifest.hash().len() + manifest.rules_hash().len();
    }
    seen
}

fn rows(set: &RowSet, random: &mut fastrand::Rng) -> usize {
    let kinds: Vec<_> = set.columns.iter().map(|_| KINDS[random.usize(0..KINDS.len())]).collect();
    codec::each_row(&set.rows, &kinds, |_| Ok::<(), ()>(())).unwrap_or_default()
}

#[test]
fn twenty_thousand_broken_messages_panic_no_decoder() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wire");
    let mut messages: Vec<String> = blocks("json").into_iter().map(|(_, json)| json).collect();
    for file in fs::read_dir(folder).unwrap() {
        let json: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
        messages.extend([json["request"].to_string(), json["response"].to_string()]);
    }
    messages.sort_unstable();
    let mut random = fastrand::Rng::with_seed(5);
    let (mut read, mut refused, mut cells) = (0, 0, 0);
    for _ in 0..20_000 {
        let bytes = broken(&messages[random.usize(0..messages.len())], &mut random);
        let text = String::from_utf8_lossy(&bytes);
        match read_and_write(TYPES[random.usize(0..TYPES.len())], &text) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
        cells += read_on(&text, &mut random);
    }
    // The breakage must not be so rough that nothing behind the first reader is reached.
    assert!(read > 100 && refused > 10_000 && cells > 1_000, "{read} {refused} {cells}");
}

#[test]
fn twenty_thousand_broken_cells_rows_and_streams_panic_no_decoder() {
    let whole = [
        "[[\"a\\u00e4\",1,{\"b\":[1,\"]\"]},null],[\"b\",-2.5e3,[],\"AP8Q\"]]",
        "{\"a\":[1.50,{\"b\":\"2026-11-20T06:41:50.896045+05:30\"}],\"c\":true}",
        "\"2026-11-20T06:41:50.896045Z\"",
        "\"\\\\x41503851\"",
        "-9223372036854775808",
        "12345678901234567890.5e-7",
        "event: hello\ndata: {\"epoch\":\"e\"}\n\n: ping\n\nevent: changed\r\ndata: {}\r\n\r\n",
    ];
    let mut random = fastrand::Rng::with_seed(6);
    let mut read = 0;
    for _ in 0..20_000 {
        let bytes = broken(whole[random.usize(0..whole.len())], &mut random);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for kind in KINDS {
            if let Ok(value) = codec::decode(&text, kind) {
                read += 1;
                assert!(equal::equal(&value, &value.clone(), kind), "{text}");
            }
        }
        if let Ok(raw) = RawValue::from_string(text.clone()) {
            let set =
                RowSet { table_name: String::new(), columns: vec![String::new(); 4], rows: raw };
            read += rows(&set, &mut random);
        }
        let _ = time::parse(text.trim_matches('"'));
        let _ = EventReader::default().push(&bytes);
    }
    assert!(read > 10_000, "{read}");
}

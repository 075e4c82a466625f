//! Known inputs: the recorded exchanges, the test vectors of the repository, and kept inputs of
//! fuzzing.
//!
//! The kept inputs of a target are one text file, an input a line, with bytes beyond ASCII escaped:
//! small, and with readable diffs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rejoin_core::decoders;
use serde_json::Value as Json;

/// A longer input is not kept.
const LONGEST: usize = 300;

/// Bytes of text that are kept for a target, the shortest inputs first: a search finds the longer
/// ones again quickly.
const MOST: usize = 16 * 1024;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn kept_file(target: &str) -> PathBuf {
    root().join("corpus").join(format!("{target}.txt"))
}

/// All known inputs of a target.
///
/// # Errors
/// If a file cannot be read.
pub fn of(target: &str) -> Result<Vec<Vec<u8>>> {
    let mut inputs = kept(target)?;
    match target {
        "requests" => inputs.extend(recorded("request")?),
        "answers" => inputs.extend(recorded("response")?),
        "rows" => inputs.extend(ROWS.iter().map(|text| text.as_bytes().to_vec())),
        "cells" => inputs.extend(cells()),
        "log" => inputs.extend(LOG.iter().map(|text| text.as_bytes().to_vec())),
        "events" => inputs.extend(EVENTS.iter().map(|text| text.as_bytes().to_vec())),
        "queue" => inputs.extend(decoders::samples()),
        "manifests" => inputs.extend(MANIFESTS.iter().map(|text| text.as_bytes().to_vec())),
        "row-buffer" => inputs.extend(buffers()?),
        _ => {}
    }
    Ok(inputs)
}

/// The kept inputs of a target.
///
/// # Errors
/// If the file cannot be read.
pub fn kept(target: &str) -> Result<Vec<Vec<u8>>> {
    let file = kept_file(target);
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    text.lines().map(|line| unescaped(line).with_context(|| format!("{target}: {line}"))).collect()
}

/// Replaces the kept inputs by those of a folder.
///
/// # Errors
/// If it cannot be read, or the file cannot be written.
pub fn keep(target: &str, folder: &Path) -> Result<usize> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let input = std::fs::read(entry?.path())?;
        if input.len() <= LONGEST {
            lines.push(format!("{}\n", input.escape_ascii()));
        }
    }
    lines.sort_by_key(|line| (line.len(), line.clone()));
    let mut size = 0;
    lines.retain(|line| {
        size += line.len();
        size <= MOST
    });
    std::fs::create_dir_all(root().join("corpus"))?;
    std::fs::write(kept_file(target), lines.concat())?;
    Ok(lines.len())
}

/// The inverse of [`slice::escape_ascii`]; `None` for a line that it does not write.
pub fn unescaped(line: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chars = line.chars();
    while let Some(next) = chars.next() {
        let byte = if next == '\\' {
            match chars.next()? {
                'n' => b'\n',
                'r' => b'\r',
                't' => b'\t',
                'x' => {
                    let (high, low) = (chars.next()?.to_digit(16)?, chars.next()?.to_digit(16)?);
                    u8::try_from(high << 4 | low).ok()?
                }
                other => u8::try_from(other).ok()?,
            }
        } else {
            u8::try_from(next).ok()?
        };
        bytes.push(byte);
    }
    Some(bytes)
}

/// The bodies of the wire's fixtures, each after the byte that selects its message.
fn recorded(member: &str) -> Result<Vec<Vec<u8>>> {
    let folder = root().join("../../protocol/tests/fixtures/wire");
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let fixture: Json = serde_json::from_slice(&std::fs::read(entry?.path())?)?;
        let path = fixture["path"].as_str().unwrap_or_default();
        let good = fixture["status"] == 200;
        let which = match (path.trim_start_matches("/sync/"), member) {
            (_, "response") if !good => 6,
            ("register", _) => 0,
            ("push", "request") | ("schema", "response") => 1,
            ("pull", "request") | ("push", _) => 2,
            ("snapshot", "request") | ("pull", _) => 3,
            ("snapshot", _) => 4,
            ("tables", "response") => 5,
            _ => continue,
        };
        let mut input = vec![which];
        input.extend_from_slice(fixture[member].to_string().as_bytes());
        inputs.push(input);
    }
    inputs.extend(EXTENDED.iter().map(|text| text.as_bytes().to_vec()));
    Ok(inputs)
}

/// Messages that a plain server never sends. Digits select messages as the bytes do: '1' is 49,
/// which is 1 modulo four and 0 modulo seven.
const EXTENDED: [&str; 5] = [
    r#"1{"client_id":"c","changes":[],"schema_version":1,"schema_hash":"h","rejoin":{"request":7,"epoch":"e","acked_below":1,"groups":[{"id":"m","seq":1,"attempt":1,"hash":"h","after":["k"],"time":"t","changes":[{"operation":"update","table_name":"t","id":"p","data":{"a":1},"old":{"a":null},"version":"v"}]}]}}"#,
    r#"2{"client_id":"c","checkpoint":0,"limit":10,"schema_version":1,"schema_hash":"h","rejoin":{"request":7,"cursor":"c","witness":"w","recheck":[{"table_name":"t","id":"p"}]}}"#,
    r#"4{"changes":[],"deletes":[{"id":"p","table_name":"t"}],"checkpoint":0,"has_more":true,"schema_version":1,"schema_hash":"h","rejoin":{"request":7,"epoch":"e","cursor":"c","held":["b"],"remaining":3,"partial":true,"sets":[{"table_name":"t","columns":["id","a"],"rows":[["p","1"],["q",null]]}]}}"#,
    r#"3{"accepted":[],"rejected":[],"checkpoint":0,"server_time":"t","schema_version":1,"schema_hash":"h","rejoin":{"request":7,"epoch":"e","witness":"w","held":[],"verdicts":[{"id":"m","attempt":1,"verdict":"accepted"}],"rows":[{"table_name":"t","id":"p","data":{"a":1},"updated_at":"v"}]}}"#,
    r#"5{"records":[],"checkpoint":0,"has_more":true,"cursor":{"table_idx":0,"after_id":"p"},"schema_version":1,"schema_hash":"h","rejoin":{"request":7,"epoch":"e","pull_cursor":"c","total":3,"restart":false,"ranges":[{"table_name":"t","after":"a","through":"p"}],"sets":[]}}"#,
];

/// Requests of the log, each after the digit that selects its message: '0' is 48, which is 0 modulo
/// four.
const LOG: [&str; 4] = [
    r#"0{"client_id":"6f1f3f0e-6d0c-4c33-9a0e-0b9f6d4f2a11","log":{"stamp":{"epoch":"5d0c9a52-4f7e-4c19-9a63-58a3f1f0a001","membership":2},"number":7,"offers":[{"key":{"millis":1,"counter":2,"author":"6f1f3f0e-6d0c-4c33-9a0e-0b9f6d4f2a11","id":"0b7e5a34-9c1d-4d6a-8f27-3a1e5c9b7d10"},"time":1,"intent":{"action":"a","version":1,"arguments":{"b":{"bytes":"AP8="}}},"revision":0,"effects":{"t":{"r":{"update":{"c":0.5}},"s":"delete"}}}]}}"#,
    r#"1{"client_id":"6f1f3f0e-6d0c-4c33-9a0e-0b9f6d4f2a11","log":{"stamp":{"epoch":"5d0c9a52-4f7e-4c19-9a63-58a3f1f0a001","membership":2},"cursor":41,"limit":500}}"#,
    r#"2{"client_id":"6f1f3f0e-6d0c-4c33-9a0e-0b9f6d4f2a11","log":{"after":{"stamp":{"epoch":"5d0c9a52-4f7e-4c19-9a63-58a3f1f0a001","membership":2},"horizon":{"millis":1,"counter":2,"author":"6f1f3f0e-6d0c-4c33-9a0e-0b9f6d4f2a11","id":"0b7e5a34-9c1d-4d6a-8f27-3a1e5c9b7d10"},"at":{"row":{"table":"t","id":"r"}}},"limit":500}}"#,
    r#"3{"client_id":"6f1f3f0e-6d0c-4c33-9a0e-0b9f6d4f2a11","log":{"stamp":{"epoch":"5d0c9a52-4f7e-4c19-9a63-58a3f1f0a001","membership":2},"corrections":[{"id":"0b7e5a34-9c1d-4d6a-8f27-3a1e5c9b7d10","version":4,"effects":{"t":{"r":{"insert":{"c":{"real":"-inf"}}}}}}]}}"#,
];

/// Texts of manifests, a line each ([`crate::manifest`]): harmless ones, and ones of a hostile
/// server.
const MANIFESTS: [&str; 9] = [
    "'x'\nVARCHAR(9)\nupper(body)\nlength(body) < 9\n7\nby_body",
    "1); DELETE FROM rejoin_mutation; --",
    "1, evil TEXT DEFAULT (1",
    "\nTEXT); ATTACH 'other.db' AS other; --\nbody",
    "\nTEXT REFERENCES kept ON DELETE CASCADE\nbody",
    "\nTEXT\nbody) STORED, evil AS (1",
    "\n\n\n1) THEN 1 END; DELETE FROM kept; SELECT (1",
    "\n\n\n(SELECT count(*) FROM rejoin_mutation) = 1",
    "\n\n\n\n1); DROP TABLE mine; --\nrejoin_x",
];

/// Two columns each, whose kinds are letters.
const ROWS: [&str; 5] = [
    "\u{2}HL[[\"a\",1],[null,-2]]",
    "\u{2}HL[ [ \"a\\n\\u00e9\" , 9223372036854775807 ] ]",
    "\u{2}QS[[{\"a\":[1,2]},\"AAEC\"],[\"{}\",\"\\\\x00ff\"]]",
    "\u{2}KN[[1.5e3,\"2026-11-20T08:00:00.5+01:00\"],[-0.0,null]]",
    "\u{0}[[],[]]",
];

fn cells() -> Vec<Vec<u8>> {
    let texts = [
        "null",
        "true",
        "\"true\"",
        "0",
        "-1",
        "1.0",
        "1e3",
        "9223372036854775807",
        "-0.0",
        "\"12.50\"",
        "1e-400",
        "\"2026-11-20T08:00:00.123456Z\"",
        "\"2026-11-20 08:00:00+01\"",
        "\"08:00:00\"",
        "\"a\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "{\"a\": [1, 2]}",
        "[]",
        "\"AAEC\"",
        "\"\\\\x00ff\"",
    ];
    let kinds = 0..12_u8;
    kinds.flat_map(|kind| texts.map(|text| [&[kind][..], text.as_bytes()].concat())).collect()
}

const EVENTS: [&str; 3] = [
    "\u{3}event: hello\ndata: {\"epoch\":\"e\"}\n\nevent: changed\ndata: {}\n\n",
    "\u{1}: ping\r\n\r\nevent: hello\r\ndata: {\"epoch\":\r\ndata: \"e\"}\r\n\r\n",
    "\u{7}data\n\nid: 4\nretry: 5\nevent: other\ndata: x\n\n",
];

fn buffers() -> Result<Vec<Vec<u8>>> {
    let file = root().join("../../core/vectors/row-buffer.json");
    let vectors: Json = serde_json::from_slice(&std::fs::read(file)?)?;
    let all = vectors.as_object().into_iter().flat_map(|groups| groups.values());
    let hex = all.filter_map(Json::as_array).flatten().filter_map(|vector| vector["hex"].as_str());
    let bytes = |hex: &str| -> Option<Vec<u8>> {
        let pairs =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok());
        pairs.collect()
    };
    Ok(hex.filter_map(bytes).collect())
}

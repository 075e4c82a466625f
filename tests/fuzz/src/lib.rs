//! Every parser of Rejoin for untrusted bytes, as a target of a fuzzer. Each accepts any bytes,
//! never panics, and what it has parsed it serializes so that it parses to an equal value.
//!
//! Each test run passes every target its kept corpus (`corpus/`), the recorded exchanges, and a
//! bounded number of inputs derived from these by a seed. `cargo xtask fuzz TARGET` runs libFuzzer,
//! guided by coverage, on the pinned toolchain; it keeps new inputs.

#![allow(clippy::missing_panics_doc)] // A target reports a finding by a panic.

pub mod corpus;
mod log;
mod manifest;
pub mod mutate;
mod rows;
mod wire;

use rejoin_core::{RowBuffer, decoders};
use rejoin_protocol::wire::event::{EventReader, EventTooLong};

/// A parser of untrusted bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Parses an input; panics on misbehaviour.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    Target { name: "requests", run: wire::request },
    Target { name: "answers", run: wire::answer },
    Target { name: "log", run: log::request },
    Target { name: "cells", run: rows::cell },
    Target { name: "rows", run: rows::rows },
    Target { name: "events", run: events },
    Target { name: "queue", run: queue },
    Target { name: "row-buffer", run: row_buffer },
    Target { name: "manifests", run: manifest::manifest },
];

/// The target of this name.
///
/// # Errors
/// If there is none; the error lists the targets.
pub fn target(name: &str) -> anyhow::Result<Target> {
    let names = || TARGETS.map(|target| target.name).join(", ");
    let found = TARGETS.into_iter().find(|target| target.name == name);
    found.ok_or_else(|| anyhow::anyhow!("{name} is no target; there are {}", names()))
}

/// The first byte selects how the others are split into chunks: the events must be the same.
fn events(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let whole = EventReader::default().push(bytes);
    let mut reader = EventReader::default();
    let mut pieces = Vec::new();
    let cut =
        bytes.chunks(usize::from(*size).max(1)).try_for_each(|piece| -> Result<(), EventTooLong> {
            pieces.extend(reader.push(piece)?);
            Ok(())
        });
    match whole {
        Ok(whole) => assert_eq!((cut, pieces), (Ok(()), whole)),
        Err(error) => assert_eq!(cut, Err(error)),
    }
}

/// The queue format of the file; the first byte selects the form.
fn queue(bytes: &[u8]) {
    let Some((form, bytes)) = bytes.split_first() else { return };
    if let Some((once, twice)) = decoders::queue(*form, bytes) {
        assert_eq!(once, twice, "what was read is not what was written");
    }
}

fn row_buffer(bytes: &[u8]) {
    let Ok(buffer) = RowBuffer::from_bytes(bytes.to_vec()) else { return };
    assert_eq!(buffer.iter().count(), buffer.len());
    let mut cells = 0;
    for row in &buffer {
        for cell in row.cells() {
            cells += cell.map_or(0, |cell| usize::from(!cell.to_value().is_null()));
        }
        for name in buffer.columns() {
            let _ = row.get::<String>(name.as_str());
            let _ = row.get::<i64>(name.as_str());
        }
    }
    assert!(cells <= bytes.len(), "more cells than bytes");
}

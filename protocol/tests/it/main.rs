//! What the wire promises, seen from outside the crate: values, recorded exchanges, the book's examples, broken input.

// clippy.toml lets tests unwrap; their helpers here are no functions under `#[test]`.
#![allow(clippy::unwrap_used)]

mod book;
mod codec;
mod message;
mod robust;
mod rows;
mod wire;

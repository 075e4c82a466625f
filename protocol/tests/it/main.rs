//! What the wire promises, seen from outside the crate: values, recorded exchanges and the book's examples.

// clippy.toml lets tests unwrap; their helpers here are no functions under `#[test]`.
#![allow(clippy::unwrap_used)]

mod book;
mod codec;
mod message;
mod rows;
mod wire;

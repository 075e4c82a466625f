//! Tests of the wire format: values, recorded exchanges and documented examples.

// clippy.toml allows `unwrap` only in functions with `#[test]`.
#![allow(clippy::unwrap_used)]

mod book;
mod codec;
mod message;
mod rows;
mod wire;

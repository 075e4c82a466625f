//! Verifies the simulation: replays the exchanges recorded from the real server, and tests rules
//! that they do not cover.

// clippy.toml lets tests unwrap; helper functions here are not under `#[test]`.
#![allow(clippy::unwrap_used)]

mod ask;
mod recorded;
mod replay;
mod rules;
mod session;

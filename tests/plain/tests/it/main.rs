//! Whether the script is right: the exchanges recorded from the real server, and what a recording does not show.

// clippy.toml lets tests unwrap; their helpers here are no functions under `#[test]`.
#![allow(clippy::unwrap_used)]

mod ask;
mod recorded;
mod replay;
mod rules;
mod session;

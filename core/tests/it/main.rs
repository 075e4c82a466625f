//! Integration tests of the client API.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests, with watchdogs.

mod acting;
mod callbacks;
mod client;
mod held;
mod lifecycle;
mod log;
mod read_only;
mod shared;
mod slow;
mod streams;
mod typed;
mod watch;
mod world;

//! Stories of the client: what an app may rely on, told by using it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests, with watchdogs.

mod acting;
mod callbacks;
mod client;
mod held;
mod lifecycle;
mod log;
mod slow;
mod watch;
mod world;

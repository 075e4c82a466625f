//! Test devices and servers: engines and sessions without a network or a driver, in one thread,
//! step by step.
//!
//! A [`Device`] is an engine with its session. A [`Backend`] is the companion server in this
//! process, over its own SQLite file or a PostgreSQL database that outside writers may open too. A
//! [`PlainBackend`] is a server that implements plain v0.1.2 only. A queue of [`Fault`]s between
//! them decides which request is lost, doubled or late, so a test runs the same every time.

#![allow(clippy::disallowed_methods)] // Outside writers open the server's file directly.
#![allow(clippy::missing_panics_doc)] // A scenario that cannot be set up fails its test.

pub mod backend;
pub mod crash_device;
pub mod device;
pub mod door;
pub mod fault;
pub mod nginx;
pub mod peer;
pub mod plain;
pub mod plain_client;
pub mod plain_shape;
pub mod proxy;
mod rate;
pub mod simulate;
pub mod synchro;
pub mod tables;

/// The example of the page about tests, which needs the client and the server.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../docs/testing.md")]
    struct TestingPage;
}

pub use backend::{Backend, Backup, Store};
pub use device::{Device, Moment, undecided};
pub use door::{Door, Loss};
pub use fault::Fault;
pub use nginx::Nginx;
pub use peer::Peer;
pub use plain::PlainBackend;
pub use plain_client::PlainClient;
pub use proxy::{Flow, Proxy};
pub use synchro::OldApp;

/// Returns `count` generated cases, times the environment variable `REJOIN_CASES`.
pub fn cases(count: u64) -> u64 {
    let times = std::env::var("REJOIN_CASES").ok().and_then(|text| text.parse().ok());
    count * times.unwrap_or(1).max(1)
}

//! A simulated plain Synchro v0.1.2 server, for tests of a client whose server does not support
//! Rejoin.
//!
//! [`PlainServer`] responds like the real server, including its defects: conflicts decided by
//! clocks, one transaction for a whole push, 500 for one record that the database rejects, no
//! memory of earlier pushes, changes read at pull and deletes from history, a retention check that
//! is off by one. It works in memory, without network and real time, and is deterministic.
//!
//! Rows, write-ahead log, changelog and clients are kept here, like in the database of the real
//! server; there is no SQL. The crate shares no code with our protocol crate, so that a mistake
//! there is not repeated here. The tests in `tests/it` replay the recorded exchanges to verify the
//! simulation.

mod access;
mod answer;
mod cell;
mod changelog;
mod clients;
mod clock;
mod control;
mod database;
pub mod demo;
mod handle;
mod kind;
mod pull;
mod push;
mod request;
mod resolve;
mod schema;
mod server;
mod snapshot;
mod table;
mod time;

pub use answer::Response;
pub use changelog::{Compaction, Entry, Operation};
pub use clients::Client;
pub use clock::Clock;
pub use control::{Fault, Outage, Written};
pub use database::Refusal;
pub use handle::Request;
pub use server::{Config, Identity, PlainServer};
pub use table::{Column, Table, Trigger};
pub use time::in_row as text_of;

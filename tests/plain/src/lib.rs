//! A plain Synchro v0.1.2 server, scripted: what our client meets when the other side knows nothing of Rejoin.
//!
//! [`PlainServer`] answers requests as the real server does, its defects included: conflicts decided by clocks, one
//! transaction for a whole push, 500 for one record that the database refuses, no memory of what was pushed before,
//! changes read at pull and deletes from history, a retention test that is one too strict. It works in memory, without a
//! network and without time of its own, and does the same every time.
//!
//! Border: rows, a write-ahead log, a changelog and clients live here, as in the database behind the real server; there
//! is no SQL. It shares no code with our protocol crate, so that a mistake there is not made twice. That the script is
//! right is shown by replaying the recorded exchanges (`tests/it`).

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

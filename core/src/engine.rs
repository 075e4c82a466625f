//! The engine: synchronous, on one thread, over one SQLite file; it knows no network.

pub mod capture;
pub mod change;
pub mod queue;
pub mod schema;

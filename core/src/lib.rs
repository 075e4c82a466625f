//! Rejoin, for apps: a local SQLite database that keeps itself in step with a server.

pub mod engine;
pub mod error;
pub mod host;
pub mod ids;
pub mod mutant;
pub mod value;

pub use error::{Error, Result};

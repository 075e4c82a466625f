//! Rejoin, for apps: a local SQLite database that keeps itself in step with a server.

mod block_on;
pub mod config;
pub mod engine;
pub mod error;
pub mod host;
pub mod ids;
pub mod mutant;
pub mod row_buffer;
pub mod runtime;
pub mod sync;
pub mod transport;
pub mod value;
pub mod writer;

pub use block_on::block_on;
pub use config::{Config, Metered};
pub use error::{Error, Result};

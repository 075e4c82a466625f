//! Transports: a trait, HTTP over reqwest, and an in-memory transport for tests.
//!
//! A transport moves bytes, limits the size of responses and reports errors. It never interprets a
//! body and never retries, because only the session can decide that. Platforms may provide their
//! own.

pub mod error;
pub mod events;
pub mod exchange;
pub mod http;
pub mod memory;

pub use error::TransportError;
pub use events::EventStream;
pub(crate) use exchange::value_of;
pub use exchange::{HttpRequest, HttpResponse, OnHeaders, Transport};
pub use http::HttpTransport;
pub use memory::{Fault, MemoryTransport};

//! How bytes reach the server and come back (D17): a trait, HTTP by reqwest, and one in memory for tests.
//!
//! Promise: a transport moves bytes, limits what it takes in (D19) and says how it failed; it never interprets a body and
//! never tries again, because only the session knows what a repetition means. Platforms may hand in their own stack.

pub mod error;
pub mod events;
pub mod exchange;
pub mod http;
pub mod memory;

pub use error::TransportError;
pub use events::EventStream;
pub use exchange::{HttpRequest, HttpResponse, Transport};
pub use http::HttpTransport;
pub use memory::{Fault, MemoryTransport};

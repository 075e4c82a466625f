//! Requests and answers, one file per exchange.
//!
//! Each message is a v0.1.2 message with one optional member, `rejoin`, that holds every extension. It is there in an
//! answer if and only if it was in the request, so that a plain peer never sees it. Unknown members are ignored.

pub mod digest;
pub mod error;
pub mod pull;
pub mod push;
pub mod register;
pub mod row;
pub mod snapshot;

pub use error::{ErrorBody, code};
pub use row::{Record, RowImage, RowName, RowSet};

//! What to exchange with the server, and when.

pub mod backoff;
pub mod rows;
pub mod session;

//! What to exchange with the server, and when.

pub mod backoff;

//! Sync with a plain Synchro v0.1.2 server: requests and the meaning of its responses.
//!
//! Such a server has no mutations, no opaque cursors and no memory of its responses. The client
//! replaces Rejoin's extensions here and sends none of them except at register.

pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod register;
pub(crate) mod schema;
pub(crate) mod snapshot;

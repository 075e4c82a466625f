//! A plain Synchro v0.1.2 peer: what to ask it, and what its answers mean to the engine (P1 to P10).
//!
//! It knows no mutations, no cursors but a number, and nothing of what it answered before. What the other peer's extensions
//! give is made up for here; nothing of them is sent but the greeting at register.

pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod register;
pub(crate) mod schema;
pub(crate) mod snapshot;

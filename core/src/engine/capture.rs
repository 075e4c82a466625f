//! Recording what local writes do to synced tables.
//!
//! Triggers call a function, the function fills a buffer, the transaction flushes it as one mutation before it commits.

pub(crate) mod buffer;
pub(crate) mod check;
pub mod compose;
pub(crate) mod function;
pub(crate) mod guard;
pub(crate) mod rule;
pub(crate) mod trigger;

//! Captures local writes to synced tables.
//!
//! Triggers call a function, the function fills a buffer, and the transaction writes the buffer as
//! one mutation before it commits.

pub(crate) mod buffer;
pub(crate) mod check;
pub mod compose;
pub(crate) mod function;
pub(crate) mod guard;
pub(crate) mod replace;
pub(crate) mod rule;
pub(crate) mod trigger;

//! The exchanges of the row model, one file each: requests and the meaning of responses.
//!
//! No network and no clock: requests and responses are bytes, and every decision is stored in the
//! engine's file before it takes effect.

pub(crate) mod answer;
pub(crate) mod cell;
pub mod digest;
pub(crate) mod fact;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod register;
pub(crate) mod schema;
pub(crate) mod snapshot;

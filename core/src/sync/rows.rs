//! The row model's exchanges, one file each: what to ask, and what an answer means to the engine.
//!
//! No network and no clock: requests are bytes, answers are bytes, and every decision is durable in the engine's file
//! before it is acted upon.

pub(crate) mod answer;
pub(crate) mod cell;
pub mod digest;
pub(crate) mod fact;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod register;
pub(crate) mod schema;
pub(crate) mod snapshot;

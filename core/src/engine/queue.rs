//! The queue of mutations.

pub mod mutation;

//! Public types for values and rows.

pub use rejoin_protocol::Value;

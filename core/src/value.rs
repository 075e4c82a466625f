//! Values and rows as apps see them.

pub use rejoin_protocol::Value;

//! Rows of synced tables: their keys, their changes as data, and the statements that read and write
//! them.
//!
//! Depends on the schema and SQLite only. The source of a change is the concern of capture, queue
//! and rebase.

pub(crate) mod apply;
pub mod binary;
#[cfg(test)]
pub(crate) mod cost;
pub mod encode;
pub(crate) mod image;
pub(crate) mod key_order;
pub mod patch;
pub(crate) mod removed;
pub(crate) mod row_index;
pub(crate) mod undo;

pub use image::ServerRow;

//! Rows of synced tables: their names, their changes as data, and the statements that read and write them.
//!
//! It knows the schema and SQLite. Who changed a row and why is not known here: capture, queue and rebase stand above.

pub(crate) mod apply;
pub mod binary;
pub mod encode;
pub(crate) mod image;
pub(crate) mod key_order;
pub mod patch;
pub(crate) mod removed;
pub(crate) mod undo;

pub use image::Image;

//! Synced tables: from a manifest to SQLite and back.

pub(crate) mod adopt;
pub(crate) mod build;
mod change;
mod expression;
pub(crate) mod guarded;
mod local;
pub mod model;
pub(crate) mod removed;
pub(crate) mod sql;
pub(crate) mod store;

pub use adopt::Adopted;

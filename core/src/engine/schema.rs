//! Synced tables: from a manifest to SQLite and back.

pub(crate) mod app_trigger;
pub(crate) mod build;
pub(crate) mod change;
pub(crate) mod full_text;
pub(crate) mod guarded;
pub(crate) mod left_out;
pub(crate) mod local;
pub mod model;
pub(crate) mod sql;
pub(crate) mod store;
pub(crate) mod trial;

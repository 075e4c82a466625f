//! Synced tables: from a manifest to SQLite and back.

pub mod model;

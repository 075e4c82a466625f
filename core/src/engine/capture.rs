//! Recording what local writes do to synced tables.

pub mod patch;

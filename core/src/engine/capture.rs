//! Recording what local writes do to synced tables.

pub mod binary;
pub mod compose;
pub mod encode;
pub mod patch;

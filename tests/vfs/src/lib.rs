//! A virtual file system for SQLite with power cuts, I/O errors and a full disk at the n-th call,
//! and an allocator that fails.
//!
//! It wraps SQLite's file system and becomes the default one of the process, so that the code under
//! test uses it without changes. Only files below a folder watched by a [`Disk`] are affected, so
//! tests on several threads are independent. Nothing is synced to the real disk: the state after a
//! power cut is computed.
//!
//! `disk` decides which calls fail and tracks the files, `image` computes states after a power cut,
//! `shim` contains the C functions around them, and `memory` is SQLite's allocator. Files written
//! without SQLite are not affected.

mod disk;
mod image;
mod memory;
mod shim;

pub use disk::{Disk, Fault};
pub use image::Style;
pub use memory::{allocations, fail_allocations};
pub use shim::install;

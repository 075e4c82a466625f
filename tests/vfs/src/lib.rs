//! A virtual file system for SQLite that loses power, fails and runs full at the n-th call; and an allocator that fails.
//!
//! It wraps SQLite's own file system and becomes the default one of the process, so that a product opens its files through
//! it without any change. Only files below a folder that a [`Disk`] watches are concerned, so tests on several threads do
//! not disturb each other. Nothing is synced to the real disk: what a power cut leaves is computed, not caused.
//!
//! `disk` decides and remembers, `image` computes what a power cut leaves, `shim` is the table of C functions around them,
//! `memory` is SQLite's allocator. Files that a product writes without SQLite are not seen.

mod disk;
mod image;
mod memory;
mod shim;

pub use disk::{Disk, Fault};
pub use image::Style;
pub use memory::{allocations, fail_allocations};
pub use shim::install;

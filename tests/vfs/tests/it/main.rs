//! Devices and servers on disks with power cuts, I/O errors and a full disk at the n-th call, and
//! with a failing allocator.
//!
//! Each scenario first runs without a fault to count its calls, then once for each chosen call. The
//! gate chooses some calls by a printed seed. With `REJOIN_CASES` above 1, every call is chosen,
//! with several images each.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // Test scenarios panic on failure.

mod device;
mod disk;
mod lost_tail;
mod memory;
mod opening;
mod points;

mod server;
mod world;

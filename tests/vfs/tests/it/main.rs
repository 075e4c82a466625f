//! Devices and servers on disks that lose power, fail and run full at the n-th call, and with an allocator that fails.
//!
//! Each story is run without a fault first, which counts its calls; then once for each of the chosen calls. In the gate these
//! are some, from a start that a printed seed draws; with `REJOIN_CASES` above 1 it is each call, and several images.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // A story says by failing that something is wrong.

mod device;
mod disk;
mod lost_tail;
mod memory;
mod opening;
mod points;

mod server;
mod world;

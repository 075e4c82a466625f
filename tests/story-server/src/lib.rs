//! Shared by the test programs with a line protocol: cells that no language rounds. The server is
//! the binary.

pub mod cell;

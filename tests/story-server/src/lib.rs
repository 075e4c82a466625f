//! What the programs that speak by lines share: cells that no language rounds. The server itself is the binary.

pub mod cell;

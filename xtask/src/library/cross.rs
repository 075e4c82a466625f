//! Checks that the tree compiles for iOS, on a machine without Apple's SDK.
//!
//! rustup provides the Rust target; zig compiles C with its own headers. Nothing is linked: this
//! shows that no code depends on one system, and produces no library. If a part is not available,
//! the target is skipped by name. Android's targets are linked by `cargo xtask package android`.

use super::{rust_std, zig};
use crate::process::{cargo, succeeds};
use crate::report::Count;
use crate::workspace::root;
use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The Rust target, and the zig target with similar headers.
const RUST: &str = "aarch64-apple-ios";
const ZIG: &str = "aarch64-macos";

/// Checks the target if it is available.
pub(super) fn check() -> Result<Count> {
    let zig = match zig::ensure() {
        Ok(zig) => zig,
        Err(error) => return Ok(Count::skipped(&format!("{RUST}: {error:#}"))),
    };
    match rust_std::missing(RUST)? {
        Some(missing) => Ok(Count::skipped(&format!("{RUST}: {missing}"))),
        None => Ok(Count::one(succeeds(command(&zig)?)?)),
    }
}

/// `cargo check` of everything that runs on a phone.
fn command(zig: &Path) -> Result<Command> {
    let folder = root().join("target/cross");
    fs::create_dir_all(&folder)?;
    let mut check = cargo(&["check", "--package", "rejoin-bindings", "--target", RUST], &[]);
    check.env("CC_aarch64_apple_ios", zig::script(zig, "cc", ZIG, &folder)?);
    // Otherwise Xcode would be queried.
    check.env("SDKROOT", zig);
    Ok(check)
}

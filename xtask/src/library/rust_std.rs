//! Rust's standard library for other targets, by rustup.

use crate::process::{output, succeeds};
use anyhow::Result;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Why it is missing for this target and cannot be installed; `None` if it is present.
pub(crate) fn missing(target: &str) -> Result<Option<String>> {
    if is_present(target)? {
        return Ok(None);
    }
    let mut add = Command::new("rustup");
    add.args(["target", "add", target]);
    Ok(match succeeds(add) {
        Ok(true) if is_present(target)? => None,
        Ok(_) => Some(format!("rustup has no standard library for it: rustup target add {target}")),
        Err(_) => Some("no standard library for it, and no rustup to get it by".to_owned()),
    })
}

/// Whether it is installed for this target.
pub(crate) fn is_present(target: &str) -> Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    let folder = PathBuf::from(output(rustc)?.trim());
    let Ok(files) = fs::read_dir(folder) else { return Ok(false) };
    let is_core = |name: &str| name.starts_with("libcore-");
    Ok(files.filter_map(Result::ok).any(|file| file.file_name().to_str().is_some_and(is_core)))
}

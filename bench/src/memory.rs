//! The peak memory of work in a process of its own, from Linux' `/proc`.
//!
//! The resident memory counts every allocator of the process, also that of a loaded extension.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Runs this program with these arguments; returns the number that it prints.
pub(crate) fn of_process(arguments: &[&OsStr]) -> Result<f64> {
    let child = Command::new(std::env::current_exe()?).args(arguments).output()?;
    let text = String::from_utf8_lossy(&child.stdout);
    ensure!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    Ok(text.trim().parse()?)
}

/// The bytes by which the peak during `work` exceeds the resident memory before it. No other work
/// may run in this process: the system keeps one peak.
pub(crate) fn growth<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    // Forgets the peak of what was prepared.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = kib("VmRSS")?;
    let done = work()?;
    Ok((kib("VmHWM")?.saturating_sub(before) as f64 * 1_024.0, done))
}

/// A size of this process.
fn kib(name: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("no {name}"))?.parse()?)
}

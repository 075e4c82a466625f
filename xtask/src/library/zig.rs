//! zig as the C compiler and archiver of targets whose SDK is missing (PyPI's `ziglang`, kept in the
//! cache).

use crate::process::succeeds;
use crate::toolchain::Cached;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const ZIG: Cached = Cached { name: "zig", version: "0.17.0" };
const SCRIPT: &str = include_str!("zig.sh");

/// Its folder, installed now if it is missing.
pub(crate) fn ensure() -> Result<PathBuf> {
    ZIG.ensure(install)
}

/// Writes a script that runs a zig command, `cc` or `ar`, for one of zig's targets.
pub(crate) fn script(zig: &Path, command: &str, target: &str, folder: &Path) -> Result<PathBuf> {
    let script = folder.join(command);
    let set = format!("ZIG='{}'\nCOMMAND={command}\nTARGET={target}\n", zig.display());
    fs::write(&script, SCRIPT.replace("# set\n", &set))
        .with_context(|| format!("cannot write {}", script.display()))?;
    executable(&script)?;
    Ok(script)
}

fn install(folder: &Path) -> Result<()> {
    let mut download = Command::new("python3");
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]);
    download.arg("--dest").arg(folder).arg(format!("ziglang=={}", ZIG.version));
    if !succeeds(download)? {
        bail!("pip has no ziglang {}", ZIG.version);
    }
    let files = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let wheel = files.first().context("pip has downloaded nothing")?.path();
    let mut unpack = Command::new("python3");
    unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder);
    if !succeeds(unpack)? {
        bail!("{} cannot be unpacked", wheel.display());
    }
    fs::remove_file(wheel)?;
    executable(&folder.join("ziglang/zig"))
}

fn executable(file: &Path) -> Result<()> {
    let all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(file, all)
        .with_context(|| format!("cannot make {} executable", file.display()))
}

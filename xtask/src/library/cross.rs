//! Checks that the tree compiles for phones, on a machine without the vendors' SDKs.
//!
//! rustup provides the Rust targets; zig compiles C with its own headers (PyPI's `ziglang`, kept in
//! the cache). Nothing is linked: this shows that no code depends on one system, and produces no
//! library. If a part is not available, the target is skipped by name.

use crate::process::{cargo, output, succeeds};
use crate::report::Count;
use crate::toolchain::Cached;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A phone: its Rust target, and the zig target with similar headers.
struct Phone {
    rust: &'static str,
    zig: &'static str,
}

const PHONES: [Phone; 2] = [
    Phone { rust: "aarch64-linux-android", zig: "aarch64-linux-musl" },
    Phone { rust: "aarch64-apple-ios", zig: "aarch64-macos" },
];

const ZIG: Cached = Cached { name: "zig", version: "0.17.0" };
const COMPILER: &str = include_str!("cc.sh");

/// Checks each available target.
pub(super) fn check() -> Result<Count> {
    let zig = ZIG.ensure(install_zig);
    let mut count = Count::default();
    for phone in &PHONES {
        let missing = match &zig {
            Ok(_) => missing_std(phone)?,
            Err(error) => Some(format!("{error:#}")),
        };
        match (&zig, missing) {
            (Ok(zig), None) => count += Count::one(succeeds(command(phone, zig))?),
            (_, missing) => {
                println!("skipped: {}: {}", phone.rust, missing.unwrap_or_default());
                count.skipped += 1;
            }
        }
    }
    Ok(count)
}

/// Why the standard library for this target is missing and cannot be installed; `None` if it is
/// present.
fn missing_std(phone: &Phone) -> Result<Option<String>> {
    if has_std(phone.rust)? {
        return Ok(None);
    }
    let mut add = Command::new("rustup");
    add.args(["target", "add", phone.rust]);
    Ok(match succeeds(add) {
        Ok(true) if has_std(phone.rust)? => None,
        Ok(_) => {
            Some(format!("rustup has no standard library for it: rustup target add {}", phone.rust))
        }
        Err(_) => Some("no standard library for it, and no rustup to get it by".to_owned()),
    })
}

fn has_std(target: &str) -> Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    let folder = PathBuf::from(output(rustc)?.trim());
    let Ok(files) = fs::read_dir(folder) else { return Ok(false) };
    let is_core = |name: &str| name.starts_with("libcore-");
    Ok(files.filter_map(Result::ok).any(|file| file.file_name().to_str().is_some_and(is_core)))
}

/// `cargo check` of everything that runs on a phone.
fn command(phone: &Phone, zig: &Path) -> Command {
    let target = phone.rust.replace('-', "_");
    let mut check = cargo(&["check", "--package", "rejoin-bindings", "--target", phone.rust], &[]);
    check.env(format!("CC_{target}"), zig.join("cc"));
    check.env("ZIG_TARGET", phone.zig);
    check.env("ZIG_GLOBAL_CACHE_DIR", zig.join("cache"));
    // Otherwise Xcode would be queried.
    check.env("SDKROOT", zig);
    check
}

fn install_zig(folder: &Path) -> Result<()> {
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
    fs::write(folder.join("cc"), COMPILER)?;
    for program in ["cc", "ziglang/zig"] {
        fs::set_permissions(folder.join(program), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

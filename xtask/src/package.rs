//! `cargo xtask package`: what a platform's package contains besides generated code, and the package.
//!
//! Android: writes into `target/package/android` the native library of each ABI, the licences of all
//! code in it, and its bill of materials. Then Maven writes all packages into a repository there.
//!
//! JVM: writes into `target/package/jvm` a repository with the packages that need no NDK.
//!
//! Swift: writes into `target/package/swift` the same licences and materials; on a Mac,
//! `swift/package.sh` adds the frameworks and what a release consists of.
//!
//! npm: writes into `target/npm` all packages for TypeScript, with the libraries of the other two.

mod android;
mod inventory;
mod maven;
mod npm;

use crate::library::has_std;
use crate::process::{cargo, succeeds};
use crate::report::{self, Count};
use crate::workspace::{self, root};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Arguments of `cargo xtask package`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    platform: Platform,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Platform {
    /// The native libraries for Android, and all packages for Kotlin in a Maven repository
    Android,
    /// The packages for Kotlin on the JVM in a Maven repository, with the engine for this machine
    Jvm,
    /// The frameworks for Apple's systems, and what a release is made of
    Swift,
    /// The npm packages, with the libraries and frameworks of earlier runs
    Npm,
}

/// The Rust targets of Apple's systems.
const APPLE: [&str; 5] = [
    "aarch64-apple-ios",
    "aarch64-apple-ios-sim",
    "x86_64-apple-ios",
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
];

/// The Rust targets of all phones.
fn targets() -> impl Iterator<Item = &'static str> {
    android::targets().into_iter().chain(APPLE)
}

/// Builds the package, and what is in it.
pub(crate) fn run(options: &Options) -> ExitCode {
    let (name, build): (_, fn() -> Result<Count>) = match options.platform {
        Platform::Android => ("android", libraries),
        Platform::Jvm => ("jvm", maven::jvm),
        Platform::Swift => ("swift", frameworks),
        Platform::Npm => ("npm", npm::tarballs),
    };
    report::alone(name, build)
}

/// Checks the engine's code for each phone, and writes the licences and bills of materials.
pub(crate) fn checked() -> Result<Count> {
    let mut count = inventory()?;
    count += inventory::write(&emptied("swift")?)?;
    for target in targets() {
        count += type_checked(target)?;
    }
    Ok(count)
}

/// Type-checks the engine for a target; skipped by name if rustup has not installed it.
fn type_checked(target: &str) -> Result<Count> {
    if !has_std(target)? {
        return Ok(Count::skipped(&format!("{target}: rustup target add {target}")));
    }
    let mut check = cargo(&["check", "--package", "rejoin-bindings", "--target", target], &[]);
    // Nothing is linked, so C code needs no compiler for the target, and any folder is an SDK.
    let variable = target.replace('-', "_");
    check.env(format!("CC_{variable}"), "true").env(format!("AR_{variable}"), "true");
    check.env("SDKROOT", root());
    Ok(Count::one(succeeds(check)?))
}

/// Android's libraries, what accompanies them, and the archive of all of it.
fn libraries() -> Result<Count> {
    let ndk = android::ndk()?;
    let folder = emptied("android")?;
    let mut count = inventory()?;
    count += android::libraries(&ndk, &folder)?;
    ensure!(count.failed == 0, "no package is made, because a library failed its checks");
    count += maven::android()?;
    Ok(count)
}

/// Apple's frameworks, and what accompanies them.
fn frameworks() -> Result<Count> {
    let mut count = inventory::write(&emptied("swift")?)?;
    if !cfg!(target_os = "macos") {
        count += Count::skipped("the frameworks need a Mac with Xcode");
        return Ok(count);
    }
    let mut package = Command::new("swift/package.sh");
    package.arg(env!("CARGO_PKG_VERSION"));
    count += Count::one(succeeds(package)?);
    Ok(count)
}

/// Licences and bill of materials, which the archive contains also in the tests.
pub(crate) fn inventory() -> Result<Count> {
    let folder = folder("android");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    inventory::write(&folder)
}

/// An empty folder: a library of an earlier run must never end up in a package.
fn emptied(platform: &str) -> Result<PathBuf> {
    workspace::emptied(folder(platform))
}

fn folder(platform: &str) -> PathBuf {
    root().join("target/package").join(platform)
}

//! The npm packages with the native libraries that `package android` and `package swift` have built.
//!
//! `package-tests/build.mjs` makes the folders; here the libraries are added to the one of the
//! client, as `package-tests/files/react-native.txt` names them. Nothing is published.

use super::folder;
use crate::built::Built;
use crate::language::javascript;
use crate::process::{run, succeeds};
use crate::report::Count;
use crate::workspace::root;
use anyhow::{Context as _, Result};
use std::env::consts::{ARCH, OS};
use std::fs;
use std::path::Path;
use std::process::Command;

const XCFRAMEWORK: &str = "CRejoinFFI.xcframework";

/// Builds all packages and packs the client again, with its libraries.
pub(super) fn tarballs() -> Result<Count> {
    let runtime = javascript::prepare()?;
    let mut build = Command::new("node");
    build.arg("package-tests/build.mjs").current_dir(javascript::folder());
    run(build)?;
    let out = root().join("target/npm");
    let package = out.join("react-native");

    node(&package, &runtime)?;
    let mut count = Count::one(true);
    count += placed("android", &folder("android").join("jni"), |from| {
        let libraries = package.join("android/src/main/jniLibs");
        fs::create_dir_all(&libraries)?;
        let mut copy = Command::new("cp");
        copy.arg("-R").arg(from.join(".")).arg(libraries);
        run(copy)
    })?;
    count += placed("ios", &folder("swift").join(XCFRAMEWORK), |from| {
        only_ios(from, &package.join("ios").join(XCFRAMEWORK))
    })?;
    let mut pack = Command::new("npm");
    pack.args(["pack", "--ignore-scripts", "--pack-destination"]).arg(&out).current_dir(&package);
    count += Count::one(succeeds(pack)?);
    Ok(count)
}

/// The library for this system, as it is shipped, and what loads it into Node: for tests of apps.
fn node(package: &Path, runtime: &Path) -> Result<()> {
    let built =
        Built::by("shipping", &["build", "--profile", "shipping", "--package", "rejoin-bindings"])?;
    let os = if OS == "macos" { "darwin" } else { OS };
    let processor = if ARCH == "aarch64" { "arm64" } else { "x64" };
    let place = package.join(format!("prebuilt/node/{os}-{processor}"));
    fs::create_dir_all(&place)?;
    for file in [&*built.library()?, runtime] {
        let name = file.file_name().context("a library has a name")?;
        fs::copy(file, place.join(name))?;
    }
    Ok(())
}

/// Adds what an earlier run has built; skipped by name if it has not.
fn placed(name: &str, from: &Path, place: impl Fn(&Path) -> Result<()>) -> Result<Count> {
    if !from.is_dir() {
        return Ok(Count::skipped(&format!("{name}: there is no {}", from.display())));
    }
    place(from)?;
    Ok(Count::one(true))
}

/// Makes a framework of the slices for iOS: an npm package has no symbolic links, and those for
/// macOS have some.
fn only_ios(from: &Path, to: &Path) -> Result<()> {
    let mut create = Command::new("xcodebuild");
    create.arg("-create-xcframework");
    for slice in ["ios-arm64", "ios-arm64_x86_64-simulator"] {
        create.arg("-framework").arg(from.join(slice).join("CRejoinFFI.framework"));
    }
    create.arg("-output").arg(to);
    run(create)
}

//! `cargo xtask package android`: what the Android archive contains besides Kotlin.
//!
//! Writes into `target/package/android`: the native library of each ABI, the licences of all code in
//! it, and its bill of materials. Then Maven writes all packages into a repository there.

mod android;
mod inventory;
mod linker;

use crate::language::kotlin::maven;
use crate::process::succeeds;
use crate::report::{Count, Report, Row, skips_allowed};
use crate::workspace::root;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `cargo xtask package`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The platform to package for
    #[arg(value_name = "PLATFORM", value_parser = ["android"])]
    platform: String,
}

/// Builds the parts, then the archive.
pub(crate) fn run(_: &Options) -> ExitCode {
    let mut report = Report::default();
    report.add(Row::of("parts", parts));
    report.add(Row::of("archive", archive));
    report.close(skips_allowed())
}

/// The parts of the archive: native libraries, licences, bill of materials.
pub(crate) fn parts() -> Result<Count> {
    let folder = folder();
    if folder.exists() {
        // A library of an earlier run must never end up in the archive.
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let mut count = inventory()?;
    count += android::libraries(&folder)?;
    Ok(count)
}

/// Licences and bill of materials, which the archive contains also in the tests.
pub(crate) fn inventory() -> Result<Count> {
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    inventory::write(&folder, &android::targets())
}

/// A Maven repository with all packages. The archive has the native libraries if there are any;
/// otherwise it is called `no-native`.
fn archive() -> Result<Count> {
    let repository = format!("file://{}", folder().join("maven").display());
    let mut maven = maven();
    maven.args(["-DskipTests", "-Prelease", "deploy"]);
    maven.arg(format!("-DaltDeploymentRepository=package::{repository}"));
    maven.arg(format!("-Drejoin.repository={repository}"));
    let jni = folder().join("jni");
    if jni.is_dir() {
        maven.arg(format!("-Drejoin.jni={}", jni.display()));
    }
    Ok(Count::one(succeeds(maven)?))
}

fn folder() -> PathBuf {
    root().join("target/package/android")
}

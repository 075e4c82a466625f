//! `cargo xtask package android`: what the Android archive contains besides Kotlin.
//!
//! Writes into `target/package/android`: the native library of each ABI, the licences of all code in
//! it, and its bill of materials. Maven builds the archive itself (`kotlin/rejoin-android`).

mod android;
mod inventory;
mod linker;

use crate::process::succeeds;
use crate::report::{Count, Report, Row, skips_allowed};
use crate::workspace::root;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

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
    report.add(Row::of("archive", || archive(&folder().join("jni"))));
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
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut count = inventory::write(&folder, &android::targets())?;
    count += android::libraries(&folder)?;
    Ok(count)
}

/// Maven's archive, with native libraries if there are any; Maven calls it `no-native` otherwise.
fn archive(jni: &Path) -> Result<Count> {
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--no-transfer-progress", "--file", "kotlin/pom.xml"]);
    maven.args(["-DskipTests", "package"]);
    if jni.is_dir() {
        maven.arg(format!("-Drejoin.jni={}", jni.display()));
    }
    Ok(Count::one(succeeds(maven)?))
}

fn folder() -> PathBuf {
    root().join("target/package/android")
}

//! `cargo xtask package`: what a platform's package contains besides generated code, and the package.
//!
//! Android: writes into `target/package/android` the native library of each ABI, the licences of all
//! code in it, and its bill of materials. Then Maven writes all packages into a repository there.
//!
//! Swift: writes into `target/package/swift` the frameworks, the same licences and materials, and
//! what a release consists of.
//!
//! npm: writes into `target/npm` all packages for TypeScript, with the libraries of the other two.

mod android;
mod apple;
mod inventory;
mod linker;
mod npm;

use crate::language::kotlin::maven;
use crate::process::succeeds;
use crate::report::{Count, Report, Row, skips_allowed};
use crate::workspace::root;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `cargo xtask package`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    platform: Platform,
}

#[derive(Debug, clap::Subcommand)]
enum Platform {
    /// The native libraries for Android, and all packages for Kotlin in a Maven repository
    Android {
        /// Build and check the libraries; make no archive
        #[arg(long)]
        check: bool,
    },
    /// The frameworks for Apple's systems, and what a release is made of
    Swift {
        /// Build and check the frameworks; do not sign, zip or write the distribution repository
        #[arg(long)]
        check: bool,
        /// On a Mac: run swift/Consumer here and in the booted simulator, with the frameworks of an
        /// earlier run
        #[arg(long, conflicts_with = "check")]
        smoke: bool,
    },
    /// The npm packages, with the libraries and frameworks of earlier runs
    Npm,
}

/// Builds the parts, then the package.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut report = Report::default();
    match options.platform {
        Platform::Swift { smoke: true, .. } => {
            report.add(Row::of("smoke", || apple::smoke::run(&folder("swift"))));
        }
        Platform::Swift { check, .. } => {
            let frameworks = Row::of("frameworks", frameworks);
            let built = frameworks.count.failed == 0;
            report.add(frameworks);
            if built && !check {
                report.add(Row::of("release", || apple::release::make(&folder("swift"))));
            }
        }
        Platform::Npm => report.add(Row::of("npm", npm::tarballs)),
        Platform::Android { check } => {
            report.add(Row::of("parts", libraries));
            if !check {
                report.add(Row::of("archive", archive));
            }
        }
    }
    report.close(skips_allowed())
}

/// The parts of all packages: native libraries, licences, bills of materials.
pub(crate) fn parts() -> Result<Count> {
    let mut count = libraries()?;
    count += frameworks()?;
    Ok(count)
}

/// Android's libraries, and what accompanies them.
fn libraries() -> Result<Count> {
    let folder = folder("android");
    empty(&folder)?;
    let mut count = inventory()?;
    count += android::libraries(&folder)?;
    Ok(count)
}

/// Apple's frameworks, and what accompanies them.
fn frameworks() -> Result<Count> {
    let folder = folder("swift");
    empty(&folder)?;
    let mut count = inventory::write(&folder, &apple::targets())?;
    count += apple::frameworks(&folder)?;
    Ok(count)
}

/// Licences and bill of materials, which the archive contains also in the tests.
pub(crate) fn inventory() -> Result<Count> {
    let folder = folder("android");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    inventory::write(&folder, &android::targets())
}

/// A Maven repository with all packages. The archive has the native libraries if there are any;
/// otherwise it is called `no-native`.
fn archive() -> Result<Count> {
    let repository = format!("file://{}", folder("android").join("maven").display());
    let mut maven = maven();
    maven.args(["-DskipTests", "-Prelease", "deploy"]);
    maven.arg(format!("-DaltDeploymentRepository=package::{repository}"));
    maven.arg(format!("-Drejoin.repository={repository}"));
    let jni = folder("android").join("jni");
    if jni.is_dir() {
        maven.arg(format!("-Drejoin.jni={}", jni.display()));
    }
    Ok(Count::one(succeeds(maven)?))
}

/// An empty folder: a library of an earlier run must never end up in a package.
fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn folder(platform: &str) -> PathBuf {
    root().join("target/package").join(platform)
}

//! `cargo xtask package`: what a platform's package contains besides generated code, and the package.
//!
//! Android: writes into `target/package/android` the native library of each ABI, the licences of all
//! code in it, and its bill of materials. Then Maven writes all packages into a repository there.
//!
//! JVM: writes into `target/package/jvm` a repository with the packages that need no NDK.
//!
//! Swift: writes into `target/package/swift` the frameworks, the same licences and materials, and
//! what a release consists of.
//!
//! npm: writes into `target/npm` all packages for TypeScript, with the libraries of the other two.

mod android;
mod apple;
mod inventory;
mod linker;
mod maven;
mod npm;

use crate::library::Oversize;
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
    /// The packages for Kotlin on the JVM in a Maven repository, with the engine for this machine
    Jvm,
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

/// Builds the parts, then the package. A failed step is the last one.
pub(crate) fn run(options: &Options) -> ExitCode {
    let mut steps: Vec<Step> = Vec::new();
    match options.platform {
        Platform::Swift { smoke: true, .. } => {
            steps.push(("smoke", || apple::smoke::run(&folder("swift"))));
        }
        Platform::Swift { check, .. } => {
            steps.push(("frameworks", || frameworks(Oversize::Warns)));
            if !check {
                steps.push(("release", || apple::release::make(&folder("swift"))));
            }
        }
        Platform::Npm => steps.push(("npm", npm::tarballs)),
        Platform::Jvm => steps.push(("archive", maven::jvm)),
        Platform::Android { check: true } => steps.push(("parts", || libraries(Oversize::Warns))),
        Platform::Android { check: false } => {
            steps.push(("ndk", || linker::require_ndk().map(|()| Count::one(true))));
            steps.push(("parts", || libraries(Oversize::Warns)));
            steps.push(("archive", maven::android));
        }
    }
    run_until_failure(steps).close(skips_allowed())
}

/// A step of packaging, by its name.
type Step = (&'static str, fn() -> Result<Count>);

/// Runs the steps up to the first one that fails.
fn run_until_failure(steps: Vec<Step>) -> Report {
    let mut report = Report::default();
    for (name, step) in steps {
        if report.rows.iter().any(|row| row.count.failed > 0) {
            println!("\n== {name}: not run, because the step before it failed. No package is made");
            break;
        }
        report.add(Row::of(name, step));
    }
    report
}

/// The parts of all packages: native libraries, licences, bills of materials.
pub(crate) fn parts() -> Result<Count> {
    let mut count = libraries(Oversize::Fails)?;
    count += frameworks(Oversize::Fails)?;
    Ok(count)
}

/// Android's libraries, and what accompanies them.
fn libraries(oversize: Oversize) -> Result<Count> {
    let folder = folder("android");
    empty(&folder)?;
    let mut count = inventory()?;
    count += android::libraries(&folder, oversize)?;
    Ok(count)
}

/// Apple's frameworks, and what accompanies them.
fn frameworks(oversize: Oversize) -> Result<Count> {
    let folder = folder("swift");
    empty(&folder)?;
    let mut count = inventory::write(&folder, &apple::targets())?;
    count += apple::frameworks(&folder, oversize)?;
    Ok(count)
}

/// Licences and bill of materials, which the archive contains also in the tests.
pub(crate) fn inventory() -> Result<Count> {
    let folder = folder("android");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    inventory::write(&folder, &android::targets())
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

#[cfg(test)]
mod tests {
    use super::{Count, run_until_failure};
    use anyhow::bail;

    #[test]
    fn failed_step_is_the_last_one() {
        let names = |steps| {
            let report = run_until_failure(steps);
            report.rows.iter().map(|row| row.stage.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            names(vec![("a", || Ok(Count::one(true))), ("b", || Ok(Count::one(true)))]),
            ["a", "b"]
        );
        assert_eq!(
            names(vec![("a", || Ok(Count::one(false))), ("b", || Ok(Count::one(true)))]),
            ["a"]
        );
        assert_eq!(names(vec![("a", || bail!("no tool")), ("b", || Ok(Count::one(true)))]), ["a"]);
    }
}

//! The packages for Kotlin in a Maven repository, by Maven: for the JVM, or all of them.
//!
//! `rejoin-host` has the engine for this machine, for the JVM and for the tests of an Android app.

use super::{emptied, folder};
use crate::built::Built;
use crate::language::kotlin::{JVM_PACKAGES, maven};
use crate::process::succeeds;
use crate::report::Count;
use anyhow::{Context as _, Result, ensure};
use std::env::consts::{ARCH, OS};
use std::fs;
use std::path::{Path, PathBuf};

/// All packages, with the native libraries for Android that an earlier step has built.
pub(super) fn android() -> Result<Count> {
    let jni = folder("android").join("jni");
    ensure!(jni.is_dir(), "there is no {}", jni.display());
    deploy(&folder("android"), &[format!("-Drejoin.jni={}", jni.display())])
}

/// The packages for the JVM.
pub(super) fn jvm() -> Result<Count> {
    let folder = emptied("jvm")?;
    deploy(&folder, &["--projects".to_owned(), JVM_PACKAGES.to_owned(), "--also-make".to_owned()])
}

/// Runs Maven's deployment into `maven` in this folder.
fn deploy(folder: &Path, further: &[String]) -> Result<Count> {
    let repository = format!("file://{}", folder.join("maven").display());
    let mut maven = maven();
    // An app must not find another build in the user's own repository.
    maven.args(["-DskipTests", "-Dmaven.install.skip=true", "-Prelease", "deploy"]).args(further);
    maven.arg(format!("-DaltDeploymentRepository=package::{repository}"));
    maven.arg(format!("-Drejoin.repository={repository}"));
    maven.arg(format!("-Drejoin.host={}", host(folder)?.display()));
    Ok(Count::one(succeeds(maven)?))
}

/// The engine for this machine, in the folder where JNA looks for it on the class path.
fn host(folder: &Path) -> Result<PathBuf> {
    let built =
        Built::by("shipping", &["build", "--profile", "shipping", "--package", "rejoin-bindings"])?;
    let library = built.library()?;
    let host = folder.join("host");
    // JNA's name of a system: `Platform.RESOURCE_PREFIX`.
    let place = host.join(format!("{OS}-{ARCH}").replace("macos", "darwin").replace('_', "-"));
    fs::create_dir_all(&place)?;
    fs::copy(&library, place.join(library.file_name().context("a library has a name")?))?;
    Ok(host)
}

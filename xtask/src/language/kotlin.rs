//! Kotlin on the JVM and for Android: Maven compiles and runs, surefire reports.

use super::variables;
use crate::built::Built;
use crate::process::{self, output, succeeds};
use crate::workspace::root;
use anyhow::{Context as _, Result};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// The modules that are published as code.
const PACKAGES: [&str; 5] =
    ["rejoin", "rejoin-android", "rejoin-compose", "rejoin-sqldelight", "rejoin-test"];

const JVM: &str = "rejoin,rejoin-test,rejoin-sqldelight";

/// The packages that need no NDK.
pub(crate) const JVM_PACKAGES: &str = "rejoin,rejoin-test,rejoin-sqldelight,rejoin-host,rejoin-bom";

const ANDROID: &str = "rejoin-compose,rejoin-android,example-android,android-checks";

const CLASS_PATH: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.9.0:build-classpath";

/// A JDK and Maven; Maven downloads the rest.
pub(super) fn missing() -> Option<String> {
    process::missing(&["java", "mvn"])
}

pub(super) fn prepare() -> Result<()> {
    let mut compile = maven();
    compile.args(["--quiet", "test-compile"]);
    let _one = one_build()?;
    process::run(compile)
}

/// The modules without Android.
pub(super) fn run(built: &Built, reports: &Path) -> Result<bool> {
    tested(built, reports, &["--projects", JVM, "test"])
}

/// The modules for Android, with the archive that is built from them.
pub(super) fn android(built: &Built, reports: &Path) -> Result<bool> {
    tested(
        built,
        reports,
        &["--projects", ANDROID, "--also-make", "-Drejoin.jvm.skip=true", "package"],
    )
}

fn tested(built: &Built, reports: &Path, words: &[&str]) -> Result<bool> {
    let mut test = maven();
    test.arg("--fail-at-end").args(words).envs(variables(built)?);
    test.arg(format!("-Drejoin.reports={}", reports.display()));
    let _one = one_build()?;
    succeeds(test)
}

/// A class among the tests.
pub(super) fn device(built: &Built) -> Result<Command> {
    let mut device = java()?;
    device.arg(format!("-Djna.library.path={}", built.folder().display()));
    device.arg("dev.rejoin.interop.DeviceKt");
    Ok(device)
}

/// The public API of the packages, from their compiled classes.
pub(crate) fn api() -> Result<String> {
    prepare()?;
    let mut list = java()?;
    list.arg("dev.rejoin.api.ListKt");
    for package in PACKAGES {
        list.arg(root().join("kotlin").join(package).join("target/classes"));
    }
    output(list)
}

/// Java with the tests on Maven's class path.
fn java() -> Result<Command> {
    let printed = "target/test-classpath";
    let mut goals = maven();
    goals.args([
        "--quiet",
        "--projects",
        "rejoin",
        "test-compile",
        CLASS_PATH,
        "-Dmdep.includeScope=test",
    ]);
    goals.arg(format!("-Dmdep.outputFile={printed}"));
    let one = one_build()?;
    process::run(goals)?;
    drop(one);
    let module = root().join("kotlin/rejoin");
    let libraries =
        fs::read_to_string(module.join(printed)).context("Maven printed no class path")?;
    let own = [module.join("target/test-classes"), module.join("target/classes")];
    let class_path = own.into_iter().chain(std::env::split_paths(libraries.trim()));
    let mut java = Command::new("java");
    java.arg("-cp").arg(std::env::join_paths(class_path)?);
    Ok(java)
}

/// Waits for another build of these modules: two must not write the same classes. The lock ends with its value, or the
/// process.
fn one_build() -> Result<File> {
    let lock = root().join("target/kotlin.lock");
    fs::create_dir_all(root().join("target"))?;
    let lock = File::create(lock)?;
    lock.lock().context("cannot lock the build of Kotlin")?;
    Ok(lock)
}

/// Maven over all modules, without colours, progress bars and prompts.
pub(crate) fn maven() -> Command {
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--no-transfer-progress", "--file", "kotlin/pom.xml"]);
    maven
}

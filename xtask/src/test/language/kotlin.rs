//! Kotlin on the JVM: Maven compiles and runs, surefire reports.

use super::{Ran, shown, variables};
use crate::bindings::Built;
use crate::process::version;
use crate::test::results;
use crate::workspace::root;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const CLASS_PATH: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.9.0:build-classpath";

/// A JDK and Maven; the rest is Maven's to fetch.
pub(super) fn missing() -> Option<String> {
    let no = |program: &str| Some(format!("there is no {program} on the PATH"));
    match (version("java", "-version"), version("mvn", "-version")) {
        (Some(_), Some(_)) => None,
        (None, _) => no("java"),
        (_, None) => no("mvn"),
    }
}

pub(super) fn run(built: &Built) -> Result<Ran> {
    // What an earlier run left is no result of this one.
    for report in reports()? {
        fs::remove_file(report)?;
    }
    let well = shown(maven(built, &["--fail-at-end", "test"]))?;
    let mut cases = Vec::new();
    for report in reports()? {
        let text = fs::read_to_string(&report).with_context(|| report.display().to_string())?;
        cases.extend(results::junit(&text));
    }
    Ok(Ran { well, cases })
}

/// A class among the tests, on the class path that Maven tells.
pub(super) fn device(built: &Built) -> Result<Command> {
    let told = "target/test-classpath";
    let file = format!("-Dmdep.outputFile={told}");
    let goals = ["--quiet", "test-compile", CLASS_PATH, "-Dmdep.includeScope=test", &file];
    if !shown(maven(built, &goals))? {
        bail!("the device in Kotlin does not compile");
    }
    let module = root().join("kotlin/rejoin");
    let libraries = fs::read_to_string(module.join(told)).context("Maven told no class path")?;
    let own = [module.join("target/test-classes"), module.join("target/classes")];
    let class_path = own.into_iter().chain(std::env::split_paths(libraries.trim()));
    let mut java = Command::new("java");
    let folder = built.library.parent().context("the library has a folder")?;
    java.arg(format!("-Djna.library.path={}", folder.display()));
    java.arg("-cp").arg(std::env::join_paths(class_path)?).arg("dev.rejoin.interop.DeviceKt");
    Ok(java)
}

/// Maven over all modules, without colours, bars and questions.
pub(super) fn maven(built: &Built, arguments: &[&str]) -> Command {
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--no-transfer-progress", "--file", "kotlin/pom.xml"]);
    maven.args(arguments).envs(variables(built));
    maven
}

/// The reports of all modules.
fn reports() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for module in fs::read_dir(root().join("kotlin"))? {
        let Ok(reports) = fs::read_dir(module?.path().join("target/surefire-reports")) else {
            continue;
        };
        for report in reports {
            let path = report?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_report = path.extension().is_some_and(|extension| extension == "xml");
            if is_report && name.starts_with("TEST-") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

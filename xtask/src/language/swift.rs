//! Swift: its package manager compiles, runs, and reports.

use super::variables;
use crate::built::Built;
use crate::process::{self, output, succeeds};
use crate::report::skips_allowed;
use crate::toolchain::swift::{self, Swift};
use crate::workspace::root;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Swift on the PATH or in the cache. It is installed here only with `CI=true`: it is a large
/// download.
pub(super) fn missing() -> Result<Option<String>> {
    if swift::found()?.is_none() {
        if skips_allowed() {
            let remedy = "there is no swift on the PATH; `cargo xtask toolchain swift` installs one (Linux, as root)";
            return Ok(Some(remedy.to_owned()));
        }
        swift::install()?;
    }
    Ok(None)
}

pub(super) fn run(built: &Built, reports: &Path) -> Result<bool> {
    let mut test = present()?.command("swift");
    // Sequentially: some tests inspect the state of the whole process.
    test.args(["test", "--no-parallel", "--scratch-path"]).arg(scratch(BUILD));
    test.arg("--xunit-output").arg(reports.join("tests.xml")).envs(variables(built)?);
    succeeds(test)
}

/// A command that builds the modules.
pub(super) fn modules(built: &Built) -> Result<Command> {
    let mut command = present()?.command("swift");
    command.args(["build", "--scratch-path"]).arg(scratch(BUILD)).envs(variables(built)?);
    Ok(command)
}

/// The package's product, run where its Swift is installed.
pub(super) fn device(built: &Built) -> Result<Command> {
    let mut compile = modules(built)?;
    compile.args(["--product", "rejoin-interop-device"]);
    process::run(compile)?;
    Ok(present()?.command(scratch(BUILD).join("debug/rejoin-interop-device")))
}

/// A command that writes the symbols of a built module into the folder.
pub(crate) fn symbol_graph(module: &str, folder: &Path) -> Result<Command> {
    let swift = present()?;
    let mut graph = swift.command("swift");
    graph.args(["symbolgraph-extract", "-module-name", module, "-minimum-access-level", "public"]);
    graph.arg("-target").arg(triple(&swift)?);
    for modules in ["debug/Modules", "debug"] {
        graph.arg("-I").arg(scratch(BUILD).join(modules));
    }
    graph.arg("-I").arg(root().join("swift/Sources/CRejoinFFI"));
    graph.args(["-skip-synthesized-members", "-output-dir"]).arg(folder);
    Ok(graph)
}

/// The triple for which this Swift compiles.
fn triple(swift: &Swift) -> Result<String> {
    let mut info = swift.command("swift");
    info.args(["-print-target-info"]);
    let info: serde_json::Value = serde_json::from_str(&output(info)?)?;
    Ok(info["target"]["triple"].as_str().context("swift names no target")?.to_owned())
}

/// The build folder of the package.
const BUILD: &str = "swift";

/// A build folder of Swift: next to cargo's, outside the tree.
pub(super) fn scratch(name: &str) -> PathBuf {
    root().join("target").join(name)
}

pub(super) fn present() -> Result<Swift> {
    swift::found()?.context("swift is not there")
}

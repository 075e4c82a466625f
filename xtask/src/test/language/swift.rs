//! Swift: its package manager compiles, runs, and reports.

use super::{Ran, reports, shown, variables};
use crate::bindings::Built;
use crate::report::skips_allowed;
use crate::test::results;
use crate::toolchain::swift::{self, Swift};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Swift on the PATH or in the cache. One is made here only where nothing may be skipped: it is a large download, for which
/// a person is asked first.
pub(super) fn missing() -> Result<Option<String>> {
    if swift::found()?.is_none() {
        if skips_allowed() {
            let why = "there is none on the PATH; `cargo xtask toolchain swift` makes one (on Linux, as root)";
            return Ok(Some(why.to_owned()));
        }
        swift::install()?;
    }
    Ok(None)
}

pub(super) fn run(built: &Built) -> Result<Ran> {
    let reports = reports(built, "swift")?;
    let mut test = present()?.command("swift");
    // One at a time: some look at what the whole process holds.
    test.args(["test", "--no-parallel", "--scratch-path"]).arg(scratch(built)?);
    test.arg("--xunit-output").arg(reports.join("tests.xml")).envs(variables(built));
    let well = shown(test)?;
    let mut cases = Vec::new();
    // One file for each of the two kinds of tests that Swift has.
    for report in fs::read_dir(reports)? {
        cases.extend(results::junit(&fs::read_to_string(report?.path())?));
    }
    Ok(Ran { well, cases })
}

/// The product of the package, run where its library of Swift is.
pub(super) fn device(built: &Built) -> Result<Command> {
    let (swift, scratch) = (present()?, scratch(built)?);
    let mut compile = swift.command("swift");
    compile.args(["build", "--product", "rejoin-interop-device", "--scratch-path"]).arg(&scratch);
    compile.envs(variables(built));
    if !shown(compile)? {
        bail!("the device in Swift does not compile");
    }
    Ok(swift.command(scratch.join("debug/rejoin-interop-device")))
}

/// Where Swift keeps what it builds: beside what cargo does, not in the tree.
fn scratch(built: &Built) -> Result<PathBuf> {
    let target = built.library.parent().and_then(Path::parent).context("no target folder")?;
    Ok(target.join("swift"))
}

fn present() -> Result<Swift> {
    swift::found()?.context("swift is not there")
}

//! Runs `swift/Consumer`, a package that depends on this one as an app does, with the frameworks
//! that `cargo xtask package swift` has made: on the Mac, and in the simulator that is booted.

use super::{SLICES, System, XCFRAMEWORK};
use crate::process::{output, succeeds};
use crate::report::Count;
use crate::workspace::root;
use anyhow::{Result, ensure};
use std::path::Path;
use std::process::Command;

const PACKAGE: &str = "swift/Consumer";

/// Runs it in both places.
pub(crate) fn run(folder: &Path) -> Result<Count> {
    let frameworks = folder.join(XCFRAMEWORK);
    if !frameworks.is_dir() {
        return Ok(Count::skipped(
            "there are no frameworks by Xcode: run `cargo xtask package swift`",
        ));
    }
    let mut here = Command::new("swift");
    here.args(["run", "--package-path", PACKAGE, "--scratch-path", "target/swift-consumer"]);
    let mut count = Count::one(succeeds(here)?);
    let [_, simulator, _] = &SLICES;
    let slice = frameworks.join(simulator.name);
    count += Count::one(succeeds(in_simulator(&simulator.system, &slice)?)?);
    Ok(count)
}

/// Compiles it for the simulator; returns the command that runs it there.
fn in_simulator(system: &System, slice: &Path) -> Result<Command> {
    let mut sdk = Command::new("xcrun");
    sdk.args(["--sdk", "iphonesimulator", "--show-sdk-path"]);
    let sdk = output(sdk)?;
    let triple = format!("arm64-apple-ios{}-simulator", system.minimum());
    let scratch = root().join("target/swift-consumer-simulator");
    let mut build = Command::new("swift");
    build.args(["build", "--package-path", PACKAGE, "--triple", &triple, "--sdk", sdk.trim()]);
    build.arg("--scratch-path").arg(&scratch);
    ensure!(succeeds(build)?, "{PACKAGE} does not compile for the simulator");
    let mut spawn = Command::new("xcrun");
    spawn.args(["simctl", "spawn", "booted"]).arg(scratch.join("debug/Consumer"));
    // simctl passes the rest of the name to the program.
    spawn.env("SIMCTL_CHILD_DYLD_FRAMEWORK_PATH", slice);
    Ok(spawn)
}

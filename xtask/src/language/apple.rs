//! What apps see of the Swift package besides its behaviour: the documentation is complete, the files for Apple's
//! systems compile against stub modules, a package that depends on ours builds and runs, and the layout is
//! swift-format's.
//!
//! Nothing here runs on an Apple system; `package swift` has the framework.

use super::swift::{self, scratch, symbol_graph};
use super::variables;
use crate::built::Built;
use crate::library::claim;
use crate::process::run;
use crate::report::Count;
use crate::workspace::{self, root};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// The modules that apps import.
pub(crate) const MODULES: [&str; 2] = ["Rejoin", "RejoinUI"];

/// Runs the checks. The tests have built the modules already, in the gate.
pub(crate) fn checked() -> Result<Count> {
    if !cfg!(target_os = "linux") {
        return Ok(Count::skipped(
            "apple: the stubs have the names of modules that this system has",
        ));
    }
    if let Some(missing) = swift::missing()? {
        return Ok(Count::skipped(&format!("apple: {missing}")));
    }
    let built = Built::now()?;
    run(swift::modules(&built)?)?;
    let mut count = Count::default();
    for module in MODULES {
        count += claim(
            &format!("the documentation of {module} converts without a warning"),
            &documented(module),
        );
    }
    count += claim(
        "the files for Apple's systems compile against the stubs",
        &package("build", "Stubs", &built),
    );
    count += claim(
        "a package that depends on this one builds and runs",
        &package("run", "Consumer", &built),
    );
    count += claim("swift-format finds nothing", &formatted());
    Ok(count)
}

/// Converts the catalogue and the comments of a module.
fn documented(module: &str) -> Result<()> {
    let folder = root().join("target/swift-documentation").join(module);
    std::fs::create_dir_all(&folder)?;
    run(symbol_graph(module, &folder)?)?;
    let mut docc = program("docc")?;
    docc.arg("convert").arg(root().join(format!("swift/Sources/{module}/{module}.docc")));
    docc.arg("--additional-symbol-graph-dir").arg(&folder);
    docc.arg("--output-dir").arg(folder.join(format!("{module}.doccarchive")));
    docc.args(["--warnings-as-errors", "--fallback-display-name", module]);
    docc.args(["--fallback-bundle-identifier", &format!("dev.rejoin.{module}")]);
    run(docc)
}

fn formatted() -> Result<()> {
    let mut format = swift::present()?.command("swift");
    format.args(["format", "lint", "--strict", "--parallel"]);
    let files = workspace::files()?;
    let written = files.iter().filter(|file| file.is_written() && file.has_extension("swift"));
    format.args(written.map(|file| &file.path));
    run(format)
}

/// Runs Swift's package manager on a package below `swift`.
fn package(verb: &str, name: &str, built: &Built) -> Result<()> {
    let mut command = swift::present()?.command("swift");
    command.arg(verb).arg("--package-path").arg(root().join("swift").join(name));
    command.arg("--scratch-path").arg(scratch(&format!("swift-{}", name.to_lowercase())));
    command.envs(variables(built)?);
    run(command)
}

/// A program of the toolchain that may not be on the PATH.
fn program(name: &str) -> Result<Command> {
    let beside = r#"exec "$(dirname "$(readlink -f "$(command -v swift)")")/$0" "$@""#;
    let mut command = swift::present()?.command(Path::new("sh"));
    command.args(["-c", beside, name]);
    Ok(command)
}

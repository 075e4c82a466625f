//! TypeScript on Node: the compiler checks the types, vitest runs and reports.

use super::variables;
use crate::built::Built;
use crate::process::{self, succeeds, version};
use crate::toolchain::ubrn::Ubrn;
use crate::workspace::root;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The minimum for vitest.
const OLDEST_NODE: (u32, u32) = (20, 19);

/// Node and npm; what npm does not provide is built (`cargo xtask toolchain ubrn`).
pub(super) fn missing() -> Option<String> {
    process::missing(&["node", "npm"]).or_else(|| too_old(&version("node")?))
}

/// A message if this version (`v20.20.2`) is too old for vitest.
fn too_old(node: &str) -> Option<String> {
    let mut parts = node.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().ok());
    let found = parts.next().flatten().zip(parts.next().flatten());
    let (major, minor) = OLDEST_NODE;
    (found < Some(OLDEST_NODE)).then(|| format!("node {node} is older than {major}.{minor}"))
}

pub(super) fn run(built: &Built, reports: &Path) -> Result<bool> {
    let runtime = prepare()?;
    process::run(npm(&["run", "--silent", "types"]))?;
    let mut vitest =
        npm(&["exec", "--", "vitest", "run", "--reporter=default", "--reporter=junit"]);
    vitest.arg(format!("--outputFile.junit={}", reports.join("vitest.xml").display()));
    vitest.envs(variables(built)?).env("REJOIN_NODE_RUNTIME", runtime);
    succeeds(vitest)
}

/// TypeScript run by Node, which strips the types.
pub(super) fn device(_: &Built) -> Result<Command> {
    let runtime = prepare()?;
    let mut node = Command::new("node");
    node.args(["--import", "tsx", "interop/device.ts"]).current_dir(folder());
    node.env("REJOIN_NODE_RUNTIME", runtime);
    Ok(node)
}

/// Installs the packages of the lockfile unless they are present, and builds the runtime with which
/// Node loads the library.
pub(crate) fn prepare() -> Result<PathBuf> {
    let changed = |path: &str| -> Option<SystemTime> {
        fs::metadata(folder().join(path)).ok()?.modified().ok()
    };
    let lock = changed("package-lock.json").context("react-native has no package-lock.json")?;
    // npm writes it last. Not `npm ci`: it refuses a lockfile that lacks a package's builds for
    // other systems.
    let is_fresh = changed("node_modules/.package-lock.json").is_some_and(|there| there >= lock);
    if !is_fresh {
        process::run(npm(&["install", "--no-save", "--no-audit", "--no-fund"]))?;
    }
    Ok(Ubrn::ensure()?.runtime())
}

pub(crate) fn folder() -> PathBuf {
    root().join("react-native")
}

pub(super) fn npm(arguments: &[&str]) -> Command {
    let mut npm = Command::new("npm");
    npm.args(arguments).current_dir(folder());
    npm
}

#[cfg(test)]
mod tests {
    use super::too_old;

    #[test]
    fn node_that_is_too_old_is_named() {
        let versions =
            [("v20.19.0", true), ("v22.1.0", true), ("v20.18.9", false), ("what", false)];
        for (version, good) in versions {
            assert_eq!(too_old(version).is_none(), good, "{version}");
        }
    }
}

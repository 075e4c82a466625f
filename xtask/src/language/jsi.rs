//! The npm package on JavaScriptCore: the tests of the package with the C++ that React Native
//! compiles, and reloads of JavaScript under AddressSanitizer (`react-native/jsi`).
//!
//! Not Hermes, and nothing of React Native runs: its JSI, and an event loop.

use super::react_native::counted;
use super::{javascript, variables};
use crate::built::Built;
use crate::process;
use crate::report::Count;
use anyhow::Result;
use std::process::Command;

/// The package with the headers of the JavaScript engine.
const ENGINE: &str = "javascriptcoregtk-4.1";

/// Node, a compiler and the engine; only Linux has this build of the engine.
pub(super) fn missing() -> Option<String> {
    let has_engine = || {
        Command::new("pkg-config").args(["--exists", ENGINE]).status().is_ok_and(|it| it.success())
    };
    let no_engine = || (!has_engine()).then(|| format!("there is no lib{ENGINE}-dev"));
    javascript::missing().or_else(|| process::missing(&["g++", "pkg-config"])).or_else(no_engine)
}

/// Compiles the host and runs the tests.
pub(crate) fn checked() -> Result<Count> {
    if let Some(missing) = missing() {
        return Ok(Count::skipped(&format!("jsi: {missing}")));
    }
    javascript::prepare()?;
    let mut node = Command::new("node");
    node.arg("jsi/run.mjs").current_dir(javascript::folder()).envs(variables(&Built::now()?)?);
    counted(node)
}

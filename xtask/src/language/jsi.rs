//! The npm package on JavaScriptCore: the tests of the package with the C++ that React Native
//! compiles, and reloads of JavaScript under AddressSanitizer (`react-native/jsi`).
//!
//! Not Hermes, and nothing of React Native runs: its JSI, and an event loop.

use super::react_native::counted;
use super::{javascript, variables};
use crate::built::Built;
use crate::process::version;
use crate::report::Count;
use anyhow::Result;
use std::process::Command;

/// The package with the headers of the JavaScript engine.
const ENGINE: &str = "javascriptcoregtk-4.1";

/// Node, a compiler and the engine; only Linux has this build of the engine.
pub(super) fn missing() -> Option<String> {
    let no = |what: &str| {
        Some(format!("there is no {what} (Debian: apt-get install g++ pkg-config lib{ENGINE}-dev)"))
    };
    let has_engine = || {
        Command::new("pkg-config").args(["--exists", ENGINE]).status().is_ok_and(|it| it.success())
    };
    javascript::missing().or_else(|| match version("g++", "--version") {
        None => no("g++ on the PATH"),
        Some(_) if !has_engine() => no(ENGINE),
        Some(_) => None,
    })
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

//! The other languages: each runs its own tests with its own tools over the shared library, and
//! writes JUnit reports.
//!
//! A language whose tools are missing is skipped by name; with `CI=true` that is a failure at the
//! end.

pub(crate) mod apple;
pub(crate) mod javascript;
pub(crate) mod jsi;
pub(crate) mod kotlin;
pub(crate) mod react_native;
pub(crate) mod swift;

use crate::built::Built;
use crate::junit;
use crate::report::Count;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One language besides Rust.
pub(crate) struct Language {
    /// Its name in stages, reports and documents.
    pub(crate) name: &'static str,
    /// The missing tool on this machine, if there is one.
    pub(crate) missing: fn() -> Result<Option<String>>,
    /// Compiles what does not need our library, in parallel with cargo.
    prepare: fn() -> Result<()>,
    /// Runs the tests, which write their reports into the folder; returns whether the runner
    /// succeeded.
    run: fn(&Built, &Path) -> Result<bool>,
    /// Builds its device for `tests/interop` and returns the start command.
    pub(crate) device: fn(&Built) -> Result<Command>,
}

/// Kotlin on the JVM, by Maven.
pub(crate) const KOTLIN: Language = Language {
    name: "kotlin",
    missing: || Ok(kotlin::missing()),
    prepare: kotlin::prepare,
    run: kotlin::run,
    device: kotlin::device,
};

/// The packages for Android: the same tools, after the modules that they depend on.
pub(crate) const ANDROID: Language = Language { name: "android", run: kotlin::android, ..KOTLIN };

/// Swift, by its package manager.
pub(crate) const SWIFT: Language = Language {
    name: "swift",
    missing: swift::missing,
    prepare: || Ok(()),
    run: swift::run,
    device: swift::device,
};

/// TypeScript on Node, by vitest.
pub(crate) const JAVASCRIPT: Language = Language {
    name: "javascript",
    missing: || Ok(javascript::missing()),
    prepare: || javascript::prepare().map(drop),
    run: javascript::run,
    device: javascript::device,
};

impl Language {
    /// Compiles what does not need our library.
    pub(crate) fn prepared(&self) -> Result<Count> {
        if let Some(missing) = (self.missing)()? {
            return Ok(Count::skipped(&format!("{}: {missing}", self.name)));
        }
        (self.prepare)()?;
        Ok(Count::one(true))
    }

    /// Runs the tests and counts their reports.
    pub(crate) fn tests(&self) -> Result<Count> {
        if let Some(missing) = (self.missing)()? {
            return Ok(Count::skipped(&format!("{}: {missing}", self.name)));
        }
        let reports = junit::emptied(self.name)?;
        let well = (self.run)(&Built::now()?, &reports)?;
        let cases = junit::read(&reports)?;
        ensure!(!cases.is_empty(), "no test was reported");
        Ok(junit::count(&cases).failed_unless(well))
    }
}

/// The variables with the paths of the library, the test server and the report folder.
pub(crate) fn variables(built: &Built) -> Result<Vec<(&'static str, PathBuf)>> {
    Ok(vec![
        ("REJOIN_LIBRARY_DIR", built.folder().to_owned()),
        ("REJOIN_STORY_SERVER", built.path("rejoin-story-server")?),
    ])
}

/// The start command of a device, for a program that starts it.
pub(crate) fn start_of(device: &Command) -> Result<serde_json::Value> {
    let text = |word: &std::ffi::OsStr| word.to_str().map(str::to_owned);
    let parts: Option<Vec<String>> =
        [device.get_program()].into_iter().chain(device.get_args()).map(text).collect();
    let parts = parts.context("a path that is not Unicode")?;
    Ok(serde_json::json!({"folder": device.get_current_dir(), "words": parts}))
}

//! The stages of the other languages: each runs its own tests with its own tools over the one dynamic library, and is counted
//! by the reports that its runner writes.
//!
//! A language whose tools are missing is skipped by name; `CI=true` makes that a failure at the end.

pub(crate) mod javascript;
mod kotlin;
mod swift;

use super::results::{self, Case, Ending};
use crate::bindings::Built;
use crate::ledger::Spoken;
use crate::process::for_each_line;
use crate::report::Count;
use anyhow::{Context as _, Result, bail};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One language besides Rust.
pub(crate) struct Language {
    /// Its name as stages and ledger write it.
    pub(super) name: &'static str,
    /// What stands between class and test in the names that the ledger writes.
    separator: &'static str,
    /// What is missing to run it; None if nothing is.
    pub(crate) missing: fn() -> Result<Option<String>>,
    /// Runs the tests.
    run: fn(&Built) -> Result<Ran>,
    /// Builds its device for `tests/interop`, and says how it is started.
    pub(crate) device: fn(&Built) -> Result<Command>,
}

/// What became of the tests of a language.
struct Ran {
    /// Whether the runner ended well.
    well: bool,
    /// What it reported.
    cases: Vec<Case>,
}

/// Kotlin on the JVM, by Maven.
pub(crate) const KOTLIN: Language = Language {
    name: "kotlin",
    separator: ".",
    missing: || Ok(kotlin::missing()),
    run: kotlin::run,
    device: kotlin::device,
};

/// Swift, by its package manager.
pub(super) const SWIFT: Language = Language {
    name: "swift",
    separator: "/",
    missing: swift::missing,
    run: swift::run,
    device: swift::device,
};

/// TypeScript on Node, by vitest.
pub(super) const JAVASCRIPT: Language = Language {
    name: "javascript",
    separator: " > ",
    missing: || Ok(javascript::missing()),
    run: javascript::run,
    device: javascript::device,
};

impl Language {
    /// Builds what it needs, runs its tests, and notes their names for the ledger.
    pub(super) fn stage(&self, spoken: &RefCell<Spoken>) -> Result<Count> {
        if let Some(missing) = (self.missing)()? {
            println!("{} is skipped: {missing}", self.name);
            return Ok(Count { skipped: 1, ..Count::default() });
        }
        let Ran { well, cases } = (self.run)(&Built::now()?)?;
        if cases.is_empty() {
            bail!("no test was reported");
        }
        let (mut count, listed) = results::summed(&cases, self.separator);
        for Case { class, name, .. } in cases.iter().filter(|case| case.ending != Ending::Passed) {
            println!("not passed: {class}{}{name}", self.separator);
        }
        if !well && count.failed == 0 {
            println!("the runner ended badly, although no test failed");
            count.failed = 1;
        }
        spoken.borrow_mut().heard(self.name, listed);
        Ok(count)
    }
}

/// The variables by which tests of any language find the library and the story server.
pub(super) fn variables(built: &Built) -> [(&'static str, &Path); 2] {
    let folder = built.library.parent().unwrap_or(Path::new("."));
    [("REJOIN_LIBRARY_DIR", folder), ("REJOIN_STORY_SERVER", &built.story_server)]
}

/// How a device is started, for a program that starts it.
pub(crate) fn how(device: &Command) -> Result<serde_json::Value> {
    let text = |word: &std::ffi::OsStr| word.to_str().map(str::to_owned);
    let words: Option<Vec<String>> =
        [device.get_program()].into_iter().chain(device.get_args()).map(text).collect();
    let words = words.context("a path that is no Unicode")?;
    Ok(serde_json::json!({"folder": device.get_current_dir(), "words": words}))
}

/// A folder for reports, emptied of what an earlier run left.
fn reports(built: &Built, language: &str) -> Result<PathBuf> {
    let target = built.library.parent().and_then(Path::parent).context("no target folder")?;
    let folder = target.join("reports").join(language);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Runs a command with its output shown; true if it ended well.
fn shown(command: Command) -> Result<bool> {
    for_each_line(command, |line| println!("{line}"))
}

#[cfg(test)]
mod tests {
    use super::Language;
    use crate::ledger::Spoken;
    use std::cell::RefCell;

    #[test]
    fn a_language_without_its_tools_is_skipped_and_counted() {
        let silent = Language {
            name: "kotlin",
            separator: ".",
            missing: || Ok(Some("no java".into())),
            run: |_| unreachable!("nothing is run"),
            device: |_| unreachable!("nothing is built"),
        };
        let count = silent.stage(&RefCell::new(Spoken::default())).unwrap();
        assert_eq!((count.passed, count.failed, count.skipped), (0, 0, 1));
    }
}

//! The stages of the other languages: each runs its own tests with its own tools over the one dynamic library, and is counted
//! by the reports that its runner writes.
//!
//! A language whose tools are missing is skipped by name; `CI=true` makes that a failure at the end.

mod javascript;
mod kotlin;
mod swift;

use super::results::{self, Case, Ending};
use crate::ledger::Spoken;
use crate::process::{cargo, for_each_line};
use crate::report::Count;
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One language besides Rust.
pub(super) struct Language {
    /// Its name as stages and ledger write it.
    pub(super) name: &'static str,
    /// What stands between class and test in the names that the ledger writes.
    separator: &'static str,
    /// What is missing to run it; None if nothing is.
    missing: fn() -> Result<Option<String>>,
    /// Runs the tests.
    run: fn(&Built) -> Result<Ran>,
}

/// What became of the tests of a language.
struct Ran {
    /// Whether the runner ended well.
    well: bool,
    /// What it reported.
    cases: Vec<Case>,
}

/// Kotlin on the JVM, by Maven.
pub(super) const KOTLIN: Language = Language {
    name: "kotlin",
    separator: ".",
    missing: || Ok(kotlin::missing()),
    run: kotlin::run,
};

/// Swift, by its package manager.
pub(super) const SWIFT: Language =
    Language { name: "swift", separator: "/", missing: swift::missing, run: swift::run };

/// TypeScript on Node, by vitest.
pub(super) const JAVASCRIPT: Language = Language {
    name: "javascript",
    separator: " > ",
    missing: || Ok(javascript::missing()),
    run: javascript::run,
};

impl Language {
    /// Builds what it needs, runs its tests, and notes their names for the ledger.
    pub(super) fn stage(&self, spoken: &RefCell<Spoken>) -> Result<Count> {
        if let Some(missing) = (self.missing)()? {
            println!("{} is skipped: {missing}", self.name);
            return Ok(Count { skipped: 1, ..Count::default() });
        }
        let Ran { well, cases } = (self.run)(&build()?)?;
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

/// What every language loads and talks to.
#[derive(Debug)]
pub(super) struct Built {
    /// The dynamic library of the bindings.
    library: PathBuf,
    /// The program that stories start as their server.
    story_server: PathBuf,
}

impl Built {
    /// The variables by which tests of any language find both.
    fn variables(&self) -> [(&'static str, &Path); 2] {
        let folder = self.library.parent().unwrap_or(Path::new("."));
        [("REJOIN_LIBRARY_DIR", folder), ("REJOIN_STORY_SERVER", &self.story_server)]
    }

    /// A folder for reports, emptied of what an earlier run left.
    fn reports(&self, language: &str) -> Result<PathBuf> {
        let target = self.library.parent().and_then(Path::parent).context("no target folder")?;
        let folder = target.join("reports").join(language);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// Builds the dynamic library and the story server, as they are shipped: without what only our tests compile in.
pub(super) fn build() -> Result<Built> {
    let fixed = [
        "build",
        "--quiet",
        "--message-format=json-render-diagnostics",
        "--package",
        "rejoin-bindings",
        "--package",
        "rejoin-story-server",
    ];
    let (mut library, mut story_server) = (None, None);
    let built = for_each_line(cargo(&fixed, &[]), |line| {
        let Some(artifact) = artifact(line) else { return };
        match artifact.target.name.as_str() {
            "rejoin_ffi" => library = artifact.dynamic_library(),
            "rejoin-story-server" => story_server = artifact.executable.or(story_server.take()),
            _ => {}
        }
    })?;
    if !built {
        bail!("the library for the languages does not compile");
    }
    Ok(Built {
        library: library.context("cargo told of no dynamic library rejoin_ffi")?,
        story_server: story_server.context("cargo told of no rejoin-story-server")?,
    })
}

#[derive(Deserialize)]
struct Artifact {
    target: Target,
    filenames: Vec<PathBuf>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

impl Artifact {
    fn dynamic_library(&self) -> Option<PathBuf> {
        let is_dynamic = |path: &&PathBuf| {
            let extension = path.extension().unwrap_or_default();
            extension == std::env::consts::DLL_EXTENSION
        };
        self.filenames.iter().find(is_dynamic).cloned()
    }
}

/// What one line of cargo's JSON messages tells to be built.
fn artifact(line: &str) -> Option<Artifact> {
    serde_json::from_str(line).ok()
}

/// Runs a command with its output shown; true if it ended well.
fn shown(command: Command) -> Result<bool> {
    for_each_line(command, |line| println!("{line}"))
}

/// The first line in which a program of the PATH tells its version; None if it is not there or ends badly.
fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok().filter(|it| it.status.success())?;
    // Java says it on standard error.
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{Language, artifact};
    use crate::ledger::Spoken;
    use std::cell::RefCell;
    use std::path::Path;

    #[test]
    fn the_library_and_the_programs_are_taken_from_the_messages_of_cargo() {
        let suffix = std::env::consts::DLL_SUFFIX;
        let line = format!(
            r#"{{"reason":"compiler-artifact","target":{{"name":"rejoin_ffi"}},
               "filenames":["t/debug/librejoin_ffi.rlib","t/debug/librejoin_ffi{suffix}"],"executable":null}}"#
        );
        let library = artifact(&line).unwrap().dynamic_library().unwrap();
        assert_eq!(library, Path::new(&format!("t/debug/librejoin_ffi{suffix}")));
        assert!(artifact(r#"{"reason":"build-finished","success":true}"#).is_none());
    }

    #[test]
    fn a_language_without_its_tools_is_skipped_and_counted() {
        let silent = Language {
            name: "kotlin",
            separator: ".",
            missing: || Ok(Some("no java".into())),
            run: |_| unreachable!("nothing is run"),
        };
        let count = silent.stage(&RefCell::new(Spoken::default())).unwrap();
        assert_eq!((count.passed, count.failed, count.skipped), (0, 0, 1));
    }
}

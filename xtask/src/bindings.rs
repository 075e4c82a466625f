//! `cargo xtask bindings`: generates the Kotlin, Swift, TypeScript and C++ bindings from the FFI
//! library.
//!
//! The generated code is committed, so that packages can be read and built without these tools;
//! `--check` verifies that it is current.

use crate::built::Built;
use crate::generated::{Files, Options, below, update};
use crate::process::{missing, run as run_it};
use crate::report::{self, Count};
use crate::toolchain::ubrn::{Flavor, Ubrn};
use crate::workspace;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

mod bytes;
mod cpp;
mod hide;

/// The languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    /// By UniFFI itself.
    Kotlin,
    /// By UniFFI itself.
    Swift,
    /// By the tool of `cargo xtask toolchain ubrn`.
    Typescript,
    /// The functions of the library for TypeScript on Node, by the same tool.
    Node,
    /// Those for TypeScript in React Native, by the same tool.
    Cpp,
}

const LANGUAGES: [Language; 5] =
    [Language::Kotlin, Language::Swift, Language::Typescript, Language::Node, Language::Cpp];

impl Language {
    /// What the tool of `cargo xtask toolchain ubrn` generates, if it generates this language.
    const fn flavor(self) -> Option<Flavor> {
        match self {
            Self::Kotlin | Self::Swift => None,
            Self::Typescript | Self::Cpp => Some(Flavor::Jsi),
            Self::Node => Some(Flavor::Napi),
        }
    }

    /// Whether a file of the generator is used: the flavors overlap.
    fn uses(self, name: &str) -> bool {
        match (self, name.rsplit_once('.')) {
            (Self::Kotlin | Self::Swift, _)
            | (Self::Typescript, Some((_, "ts")))
            | (Self::Cpp, Some((_, "cpp" | "hpp"))) => true,
            (Self::Node, Some((stem, "ts"))) => stem.ends_with("-ffi"),
            _ => false,
        }
    }
}

/// Generates the code, and writes or compares it.
pub(crate) fn run(options: Options) -> ExitCode {
    report::alone("bindings", || update_all(options.check))
}

/// Counts the languages whose committed code is current.
pub(crate) fn compared() -> Result<Count> {
    update_all(true)
}

/// Generates each language. One whose generator cannot be installed is skipped by name.
fn update_all(check: bool) -> Result<Count> {
    let built = Built::now()?;
    let mut count = Count::default();
    for language in LANGUAGES {
        let needs_npm = language.flavor().is_some() && Ubrn::found()?.is_none();
        count += if let Some(missing) = missing(&["npm"]).filter(|_| needs_npm) {
            Count::skipped(&format!("the generator of {language:?}: {missing}"))
        } else {
            let files = written(&built, language)?;
            Count::one(update(Some(own_folder(language)), &files, check)?)
        };
    }
    Ok(count)
}

/// The generated files of a language, by the paths where they are committed.
fn written(built: &Built, language: Language) -> Result<Files> {
    // Next to the library: outside the tree, on the same disk, and overwritten by the next run.
    let name = format!("rejoin-bindings-{}", std::process::id());
    let folder = built.folder().join(name);
    fs::create_dir_all(&folder)?;
    let files = generator(built, language, &folder).and_then(|command| {
        run_it(command)?;
        collect(language, &folder)
    });
    fs::remove_dir_all(&folder)?;
    files
}

fn generator(built: &Built, language: Language, folder: &Path) -> Result<Command> {
    if let Some(flavor) = language.flavor() {
        let manifest = workspace::root().join("bindings/Cargo.toml");
        return Ok(Ubrn::ensure()?.generate(flavor, &manifest, &built.library()?, folder));
    }
    let name = if language == Language::Kotlin { "kotlin" } else { "swift" };
    let mut command = built.program("uniffi-bindgen")?;
    command.args(["--language", name, "--out-dir"]).arg(folder).arg(built.library()?);
    Ok(command)
}

/// The path where a generated file is committed.
fn place(language: Language, name: &str) -> String {
    match (language, name.rsplit_once('.')) {
        // Its files are named by their package.
        (Language::Kotlin, _) => format!("kotlin/rejoin/src/main/kotlin/{name}"),
        (Language::Swift, Some((_, "h"))) => format!("swift/Sources/CRejoinFFI/{name}"),
        _ => format!("{}/{name}", own_folder(language)),
    }
}

/// The folder that holds only generated code of a language.
fn own_folder(language: Language) -> &'static str {
    match language {
        Language::Kotlin => "kotlin/rejoin/src/main/kotlin/dev/rejoin/ffi",
        Language::Swift => "swift/Sources/RejoinFFI",
        Language::Typescript => "react-native/src/generated",
        Language::Node => "react-native/node/generated",
        Language::Cpp => "react-native/cpp/generated",
    }
}

/// The generator's output, by the paths where it is committed.
fn collect(language: Language, folder: &Path) -> Result<Files> {
    let mut files = Files::new();
    for path in below(folder)? {
        let name = path.strip_prefix(folder)?.to_string_lossy().replace('\\', "/");
        if !language.uses(&name) {
            continue;
        }
        let text = tidy(&fs::read_to_string(&path)?);
        let patched = match (language, name.rsplit_once('.')) {
            (Language::Kotlin, _) => hide::patched(&text),
            (Language::Swift, Some((_, "swift"))) => bytes::patched(&text),
            (Language::Cpp, Some((_, "hpp"))) => cpp::header(&text),
            (Language::Cpp, _) => cpp::source(&text),
            _ => Some(text),
        };
        let text = patched.with_context(|| format!("{name}: the code to patch has changed"))?;
        files.insert(place(language, &name), text);
    }
    ensure!(!files.is_empty(), "the generator wrote nothing");
    Ok(files)
}

/// Removes trailing spaces, and ends the text with one newline: generators are inconsistent there.
fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let text = lines.join("\n");
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::{Language, place, tidy};

    #[test]
    fn header_is_next_to_the_module_map() {
        assert_eq!(place(Language::Swift, "CRejoinFFI.h"), "swift/Sources/CRejoinFFI/CRejoinFFI.h");
    }

    #[test]
    fn trailing_spaces_are_removed() {
        assert_eq!(tidy("a  \n\n b\t\n\n\n"), "a\n\n b\n");
    }
}

//! `cargo xtask bindings`: generates the Kotlin, Swift, TypeScript and C++ bindings from the FFI
//! library.
//!
//! The generated code is committed, so that packages can be read and built without these tools;
//! `--check` verifies that it is current.

use crate::built::Built;
use crate::process::{missing, run as run_it};
use crate::report::{self, Count};
use crate::toolchain::ubrn::{Flavor, Ubrn};
use crate::workspace;
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

mod bytes;
mod cpp;
mod hide;

/// Arguments of `cargo xtask bindings`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Change nothing; name the committed files that are not what would be written
    #[arg(long)]
    check: bool,
}

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

/// Generated text by path from the root, with forward slashes.
type Files = BTreeMap<String, String>;

/// Generates or compares, language by language.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.check {
        return Ok(report::alone("bindings", compared));
    }
    each(|language, files| replace(workspace::root(), language, files).map(|()| true))?;
    Ok(ExitCode::SUCCESS)
}

/// Counts the languages whose committed code is current.
pub(crate) fn compared() -> Result<Count> {
    each(|language, files| {
        let problems = differences(workspace::root(), language, files)?;
        for problem in &problems {
            println!("{problem}: not what `cargo xtask bindings` writes");
        }
        Ok(problems.is_empty())
    })
}

/// Generates each language. One whose generator cannot be installed is skipped by name.
fn each(take: impl Fn(Language, &Files) -> Result<bool>) -> Result<Count> {
    let built = Built::now()?;
    let mut count = Count::default();
    for language in LANGUAGES {
        let needs_npm = language.flavor().is_some() && Ubrn::found()?.is_none();
        count += match missing(&["npm"]).filter(|_| needs_npm) {
            Some(missing) => Count::skipped(&format!("the generator of {language:?}: {missing}")),
            None => Count::one(take(language, &written(&built, language)?)?),
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
        (Language::Kotlin, _) => format!("kotlin/rejoin/src/main/kotlin/{name}"),
        (Language::Swift, Some((_, "h"))) => format!("swift/Sources/CRejoinFFI/{name}"),
        (Language::Swift, _) => format!("swift/Sources/RejoinFFI/{name}"),
        (Language::Typescript | Language::Node | Language::Cpp, _) => {
            format!("{}/{name}", own_folder(language))
        }
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
        let text = match language {
            Language::Kotlin => {
                hide::patched(&text).context("Kotlin waits for futures differently")?
            }
            Language::Swift if path.extension().is_some_and(|it| it == "swift") => {
                bytes::patched(&text).context("Swift reads bytes differently")?
            }
            Language::Cpp => {
                let is_header = path.extension().is_some_and(|it| it == "hpp");
                if is_header { cpp::header(&text) } else { cpp::source(&text) }
                    .context("C++ calls JavaScript differently")?
            }
            Language::Swift | Language::Typescript | Language::Node => text,
        };
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

/// Every file below a folder; none if there is no such folder.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// Files in a language's folder that its generator does not produce.
fn left_over(root: &Path, language: Language, files: &Files) -> Result<Vec<String>> {
    let mut left_over = Vec::new();
    for path in below(&root.join(own_folder(language)))? {
        let name = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
        if !files.contains_key(&name) {
            left_over.push(name);
        }
    }
    Ok(left_over)
}

/// The names of files that are missing, different or left over.
fn differences(root: &Path, language: Language, files: &Files) -> Result<Vec<String>> {
    let differs = |name: &str, text: &str| {
        // A checkout may have different line endings.
        fs::read_to_string(root.join(name))
            .map_or(true, |committed| committed.replace("\r\n", "\n") != text)
    };
    let wrong = files.iter().filter(|(name, text)| differs(name, text)).map(|(name, _)| name);
    let mut wrong: Vec<String> = wrong.cloned().collect();
    wrong.extend(left_over(root, language, files)?);
    Ok(wrong)
}

/// Writes changed files and removes leftover ones.
fn replace(root: &Path, language: Language, files: &Files) -> Result<()> {
    for name in differences(root, language, files)? {
        let path = root.join(&name);
        match files.get(&name) {
            Some(text) => {
                let folder = path.parent().context("a file has a folder")?;
                fs::create_dir_all(folder)?;
                fs::write(&path, text)?;
            }
            None => fs::remove_file(&path)?,
        }
        println!("{name}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Files, Language, differences, place, replace, tidy};
    use std::fs;

    #[test]
    fn missing_changed_and_leftover_files_are_named_and_fixed() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("swift/Sources/RejoinFFI");
        fs::create_dir_all(&folder).unwrap();
        let written = ["same.swift", "other.swift", "missing.swift"];
        let files: Files = written.map(|name| (place(Language::Swift, name), "a\n".into())).into();
        fs::write(folder.join("same.swift"), "a\r\n").unwrap();
        fs::write(folder.join("other.swift"), "b\n").unwrap();
        fs::write(folder.join("old.swift"), "a\n").unwrap();
        let named = differences(root.path(), Language::Swift, &files).unwrap();
        let expected = ["missing", "other", "old"];
        assert_eq!(named, expected.map(|name| format!("swift/Sources/RejoinFFI/{name}.swift")));
        replace(root.path(), Language::Swift, &files).unwrap();
        assert!(differences(root.path(), Language::Swift, &files).unwrap().is_empty());
        assert!(!folder.join("old.swift").exists());
    }

    #[test]
    fn header_is_next_to_the_module_map() {
        assert_eq!(place(Language::Swift, "CRejoinFFI.h"), "swift/Sources/CRejoinFFI/CRejoinFFI.h");
    }

    #[test]
    fn trailing_spaces_are_removed() {
        assert_eq!(tidy("a  \n\n b\t\n\n\n"), "a\n\n b\n");
    }
}
